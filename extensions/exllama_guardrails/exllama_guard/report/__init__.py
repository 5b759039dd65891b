"""A report as plain values, and as HTML, Markdown and JSON."""
