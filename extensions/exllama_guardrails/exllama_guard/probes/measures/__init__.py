"""What probes measure: plain functions from values to numbers with verdicts."""
