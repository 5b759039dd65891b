"""An extension for the test below: writes what the guardrails know, and which models are alive, to a file."""

import gc
import json
import os
import threading
import time
import weakref
from dataclasses import asdict
from pathlib import Path

import modules.shared as shared

params = {"display_name": "lifecycle probe", "is_tab": False}
_seen: list = []


def setup() -> None:
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    target = Path(os.environ["LIFECYCLE_PROBE"])
    while True:
        model = shared.model
        if model is not None and all(ref() is not model for ref in _seen):
            _seen.append(weakref.ref(model))
        del model
        if shared.model is None:
            gc.collect()
        _errand(target.with_suffix(".do"))
        try:
            text = json.dumps(_known(), default=str)
        except ImportError:
            text = "{}"
        part = target.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(target)
        time.sleep(0.1)


def _errand(file: Path) -> None:
    """Does what a test asks for once."""
    if not file.exists():
        return
    wanted = file.read_text(encoding="utf-8")
    file.unlink()
    if wanted == "idle":
        _let_it_idle()
    elif wanted == "rotate":
        from exllama_guard.host.session import session

        session().lifecycle.upkeep.rotate(asked=True)


def _let_it_idle() -> None:
    """The host's own loop finds that nothing was asked for a long time, and later that something was."""
    from modules import models

    shared.args.idle_timeout, models.last_generation_time = 1, 0.0
    threading.Thread(target=models.unload_model_if_idle, daemon=True).start()
    while shared.model is not None:
        time.sleep(0.02)
    shared.args.idle_timeout = 600


def _known() -> dict:
    from exllama_guard.host.session import session

    snapshot = session().monitor.snapshot(None)
    follower = session().lifecycle
    life = follower.snapshot() if follower else None
    return {
        "at": time.time(),
        "alive": [ref() is not None for ref in _seen],
        "loaded": shared.model is not None,
        "server_pid": getattr(getattr(shared.model, "process", None), "pid", None),
        "events": [[event.kind, event.text] for event in snapshot.events],
        "problems": list(snapshot.problems),
        "model": asdict(snapshot.model) if snapshot.model else None,
        "turns": len(snapshot.turns),
        "state": life.state.value if life else None,
        "runs": len(life.report.runs) if life and life.report else 0,
        "own_cost_s": life.report.own_cost_s if life and life.report else None,
        "cold_ttft_s": life.report.cold_ttft_s if life and life.report else None,
        "warm_ttft_s": life.report.warm_ttft_s if life and life.report else None,
        "card": asdict(life.card) if life and life.card else None,
        "canary_says": life.canary.sentence() if life and life.canary else "",
        "canary": life.canary.same if life and life.canary else None,
        "last_wait_s": life.last_wait_s if life else None,
        "can": asdict(life.capabilities) if life and life.capabilities else None,
        "used_tokens": _used(follower),
        "tokens": life.cache.tokens_since_reset if life else None,
    }


def _used(follower) -> int | None:
    """Tokens that the loader says it holds, asked only while nothing is written."""
    backend = follower._upkeep._backend if follower else None
    if backend is None or not backend.capabilities.cache_usage or shared.generation_lock.locked():
        return None
    try:
        return getattr(backend.cache_usage(), "used_tokens", None)
    except Exception as error:  # noqa: BLE001 - a killed server; the test reads what is told of it
        return -1 if error else None
