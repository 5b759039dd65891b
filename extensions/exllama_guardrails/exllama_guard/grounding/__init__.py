"""Whether a statement rests on the evidence."""
