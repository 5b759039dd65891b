"""The loaded model of the host as a second reader."""
