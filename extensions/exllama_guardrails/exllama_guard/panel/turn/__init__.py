"""One turn: head, marked answer, evidence, numbers, snippets."""
