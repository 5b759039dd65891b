"""The model's way into the host: loaded on a thread, with words for the page meanwhile."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from exllama_guard.errors import UserError

__all__ = ["ModelLoading", "Stage"]

log = logging.getLogger("webui")

_MOST_AWAITED_S = 60.0  # a large folder goes on being read beside the chat


@dataclass(frozen=True, slots=True)
class Stage:
    """What the page says about the model."""

    text: str
    ready: bool = False
    failed: bool = False
    elapsed_s: float = 0.0


class ModelLoading:
    """Loads a model in the background. The lock protects what is said."""

    def __init__(self, model: str, awaited: Callable[[], str] = lambda: "") -> None:
        """Remembers which model: a path, or "" for the small one that pip brings.

        `awaited` says what else a first question needs, "" once it is there.
        """
        self._model = model
        self._awaited = awaited
        self._lock = threading.Lock()
        self._started_s = time.monotonic()
        self._stage = Stage("Starting")
        self.done = threading.Event()

    @property
    def is_small(self) -> bool:
        """True for the model that pip brings, False for one that the user named."""
        return not self._model

    @property
    def stage(self) -> Stage:
        """The newest stage; the time counts from the start."""
        with self._lock:
            stage = self._stage
        if stage.ready or stage.failed:
            return stage
        return Stage(stage.text, elapsed_s=time.monotonic() - self._started_s)

    def start(self) -> None:
        """Begins to load."""
        threading.Thread(target=self._load, name="load-model", daemon=True).start()

    def report_stage(self, text: str) -> None:
        """Takes a stage's words."""
        log.info("%s", text)
        with self._lock:
            self._stage = Stage(text)

    def _load(self) -> None:
        from modules import models, shared

        self.report_stage("Importing PyTorch")
        try:
            import torch

            # One core stays for the page and the scoring; on a busy machine a full set of spinning
            # threads makes a small model several times slower, not quicker.
            torch.set_num_threads(max(1, _cores() - 1))
            models.on_stage = self.report_stage
            shared.model, shared.tokenizer = models.load_model(self._model)
            self._await_rest()
            stage = Stage(str(shared.model_name), ready=True)
        except (UserError, ImportError) as error:
            log.error("%s", error)
            stage = Stage(str(error), failed=True)
        with self._lock:
            self._stage = stage
        self.done.set()

    def _await_rest(self) -> None:
        """Waits for what a first question needs besides the model, at most a minute."""
        deadline_s = time.monotonic() + _MOST_AWAITED_S
        while (text := self._awaited()) and time.monotonic() < deadline_s:
            if text != self.stage.text:
                self.report_stage(text)
            time.sleep(0.1)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
