"""Where files of this extension lie that belong to the user and not to a checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache_folder() -> Path:
    """Folder for what can be made again (vectors, de-quantised models); it may not exist yet.

    `EXLLAMA_GUARDRAILS_CACHE` names another one.
    """
    chosen = os.environ.get("EXLLAMA_GUARDRAILS_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "exllama_guardrails"
