"""Optional verifiers, one adapter a file."""
