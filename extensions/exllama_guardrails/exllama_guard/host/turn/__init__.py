"""One reply in the host: its question, reader and snippets, from its start to its end."""
