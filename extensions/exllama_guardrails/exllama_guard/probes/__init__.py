"""Probes: measurements that generate, through a loader or the host; each can be stopped and resumed."""
