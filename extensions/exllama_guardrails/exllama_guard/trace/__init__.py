"""What is kept of a turn: the record, its line of JSON, its files, its contract."""
