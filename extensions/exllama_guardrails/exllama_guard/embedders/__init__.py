"""Embedding models, one adapter a file; the heavy import sits inside."""
