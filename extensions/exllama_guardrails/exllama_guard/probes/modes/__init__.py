"""Models opened beside the host, one library a file, each writing and reading like the others."""

from __future__ import annotations

from exllama_guard.probes.modes.llama_cpp import open_llama_server
from exllama_guard.probes.modes.loaded import LoadedReading
from exllama_guard.probes.modes.opening import MODE_HELP, Choice, Opened, bundled, choose_mode

__all__ = ["Choice", "LoadedReading", "MODE_HELP", "Opened", "bundled", "choose_mode", "open_llama_server"]
