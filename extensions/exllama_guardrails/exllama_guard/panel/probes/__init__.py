"""The Probes and Doctor tabs."""
