"""Gives the probes the host's model, its lock and its turns."""
