"""Reports made from what probes and use have measured."""
