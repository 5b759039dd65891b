"""What a figure depends on, for the reports."""

from __future__ import annotations

import os
import platform


def environment_rows(**more: object) -> dict[str, str]:
    """What a figure depends on, for the report; no paths, no names of people or machines."""
    from exllama_guard import __version__
    from exllama_guard.backends import library_versions

    rows = {"extension": __version__, "Python": platform.python_version(), "system": platform.system()}
    rows |= library_versions()
    rows["cores"] = str(os.cpu_count())
    return rows | {name.replace("_", " "): str(value) for name, value in more.items()}
