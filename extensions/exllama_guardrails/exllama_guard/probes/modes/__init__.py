"""Models opened beside the host, one library a file, each writing and reading like the others."""
