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
        try:
            text = json.dumps(_known(), default=str)
        except ImportError:
            text = "{}"
        part = target.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(target)
        time.sleep(0.1)


def _known() -> dict:
    from exllama_guard import lifecycle
    from exllama_guard.monitor import get_monitor

    snapshot = get_monitor().snapshot(None)
    follower = lifecycle.current()
    life = follower.snapshot() if follower else None
    return {
        "at": time.time(),
        "alive": [ref() is not None for ref in _seen],
        "loaded": shared.model is not None,
        "events": [[event.kind, event.text] for event in snapshot.events],
        "problems": list(snapshot.problems),
        "model": asdict(snapshot.model) if snapshot.model else None,
        "turns": len(snapshot.turns),
        "state": life.state.value if life else None,
        "runs": len(life.report.runs) if life and life.report else 0,
        "own_cost_s": life.report.own_cost_s if life and life.report else None,
        "cold_ttft_s": life.report.cold_ttft_s if life and life.report else None,
        "warm_ttft_s": life.report.warm_ttft_s if life and life.report else None,
        "canary": life.canary.same if life and life.canary else None,
        "last_wait_s": life.last_wait_s if life else None,
        "tokens": life.cache.tokens_since_reset if life else None,
    }
