"""Follows the host's model: loads, unloads, warm-up, requests that wait."""
