"""The tool lock: tools as first seen, calls before they run, what a grammar can promise."""
