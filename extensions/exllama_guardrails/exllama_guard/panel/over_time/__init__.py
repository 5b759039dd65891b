"""Turns one after the other: plots and the long run."""
