"""The λ probe for a panel: runs on its own thread, one at a time, and tells how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from exllama_guard.core.ports import Embedder, Verifier
from exllama_guard.core.turns import Reader
from exllama_guard.probes.background import ReportProgress, Spawn, Task, TaskState, on_a_thread
from exllama_guard.probes.generation import TextGenerator
from exllama_guard.probes.lambda_probe import LambdaProbe, ProbeResult, run_probe
from exllama_guard.probes.run import Runner
from exllama_guard.probes.run_cache import RunCache

__all__ = ["ProbeService", "ProbeState"]

ProbeState = TaskState[LambdaProbe, ProbeResult]


class ProbeService(Task[LambdaProbe, ProbeResult]):
    """Starts, stops and remembers the last probe."""

    def __init__(
        self,
        *,
        generator: TextGenerator,
        embedder: Callable[[], Embedder],
        verifier: Callable[[], Verifier | None] = lambda: None,
        users_first: Callable[[threading.Event], None] = lambda cancel: None,
        keep: Callable[[], Path | None] = lambda: None,
        spawn: Spawn = on_a_thread,
    ) -> None:
        """Nothing runs before `start`; `keep` says where finished generations survive a crash."""
        self._generator, self._embedder, self._verifier = generator, embedder, verifier
        self._users_first, self._keep = users_first, keep
        super().__init__("probe", self._probe, spawn=spawn)

    def start(self, asked: LambdaProbe, owner: Reader | None = None) -> None:
        """Starts the probe.

        Raises:
            UserError: Its forms are not usable, or a probe is running.
        """
        asked.all_forms()
        super().start(asked, owner)

    def _probe(
        self, asked: LambdaProbe, report_progress: ReportProgress, cancel: threading.Event
    ) -> ProbeResult:
        runner = Runner(RunCache(self._keep()), report_progress, cancel, self._users_first)
        return run_probe(asked, self._generator, runner, embedder=self._embedder(), verifier=self._verifier())
