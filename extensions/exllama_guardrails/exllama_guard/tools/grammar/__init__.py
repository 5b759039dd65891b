"""Calls and schemas as grammars that llguidance enforces."""
