"""Facts of a statement, each held against the evidence in its place."""
