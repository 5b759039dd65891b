"""Stands between the model and its tools."""
