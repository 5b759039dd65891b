"""Where snippets come from."""
