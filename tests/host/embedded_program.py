"""The embedded host's own modules, this extension and the small model, for a program of its own."""

from __future__ import annotations

import sys
import threading
import weakref
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "extensions" / "exllama_guardrails"
sys.path[:0] = [str(EXTENSION / "exllama_guard" / "standalone" / "webui"), str(ROOT), str(EXTENSION)]

from exllama_guard.host.session import session  # noqa: E402 - needs the path
from exllama_guard.standalone.small_model import load_small_model  # noqa: E402
from modules import chat, extensions, shared, text_generation  # noqa: E402

__all__ = ["chat", "extensions", "load", "shared", "start", "text_generation"]


def start(user_data):
    """The extension's monitor, once the host has loaded the extension."""
    shared.user_data_dir = Path(user_data)
    shared.generation_lock = threading.Lock()
    shared.args.extensions = ["exllama_guardrails"]
    extensions.available_extensions[:] = ["exllama_guardrails"]
    extensions.load_extensions()
    monitor = session().monitor
    monitor.change_settings(traces=False, warmup_limit_s=300.0)
    return monitor


def load():
    """A weak reference to the small model, which the host alone holds."""
    small = load_small_model(None)
    shared.args.loader, shared.model_name = "Transformers", "small"
    shared.model, shared.tokenizer = small.model, small.tokenizer
    return weakref.ref(small.model)
