"""Locks on what a model may write while it decodes: llguidance behind one adapter a loader."""
