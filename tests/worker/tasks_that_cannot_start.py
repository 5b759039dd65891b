"""A module of tasks that cannot be imported, as where a library is broken."""

raise ImportError("made not to start")
