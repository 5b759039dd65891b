"""Work on what somebody gave the page: pasted texts, a gold set."""
