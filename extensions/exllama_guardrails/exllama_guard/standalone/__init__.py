"""The embedded host: runs the same script.py without a WebUI."""
