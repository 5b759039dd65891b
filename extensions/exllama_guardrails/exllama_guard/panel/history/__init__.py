"""Past turns."""
