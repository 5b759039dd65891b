"""A command's report, shown on the page."""
