"""The doctor: what was seen of a model and its turns, which fault to repair first."""
