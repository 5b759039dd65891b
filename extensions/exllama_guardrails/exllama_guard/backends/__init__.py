"""Loaders, one adapter a file, each saying what it can do."""
