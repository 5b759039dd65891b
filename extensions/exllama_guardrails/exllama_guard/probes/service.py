"""The λ probe for a panel: runs on its own thread, one at a time, and tells how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from exllama_guard.core.ports import Embedder, Verifier
from exllama_guard.errors import GuardError
from exllama_guard.probes.kept import KeptRuns
from exllama_guard.probes.lambda_probe import LambdaProbe, ProbeResult, run_probe
from exllama_guard.probes.run import Progress, Runner
from exllama_guard.probes.writer import Writer

__all__ = ["ProbeService", "ProbeState"]


@dataclass(frozen=True, slots=True)
class ProbeState:
    """What a panel shows. `version` rises with each change; `problem` is one sentence, "" without one."""

    version: int = 0
    running: bool = False
    probe: LambdaProbe | None = None
    progress: Progress | None = None
    result: ProbeResult | None = None
    problem: str = ""


def _thread(job: Callable[[], None]) -> None:
    threading.Thread(target=job, name="guardrails-probe", daemon=True).start()


class ProbeService:
    """Starts, stops and remembers the last probe. Thread-safe; the lock protects the state and the runner."""

    def __init__(
        self,
        *,
        writer: Writer,
        embedder: Callable[[], Embedder],
        verifier: Callable[[], Verifier | None] = lambda: None,
        users_first: Callable[[threading.Event], None] = lambda cancel: None,
        keep: Path | None = None,
        spawn: Callable[[Callable[[], None]], None] = _thread,
    ) -> None:
        """Nothing runs before `start`; `keep` is where finished generations survive a crash."""
        self._writer, self._embedder, self._verifier = writer, embedder, verifier
        self._users_first, self._keep, self._spawn = users_first, keep, spawn
        self._lock = threading.Lock()
        self._state = ProbeState()
        self._cancel = threading.Event()

    @property
    def state(self) -> ProbeState:
        """What is shown now."""
        with self._lock:
            return self._state

    def start(self, probe: LambdaProbe) -> str:
        """Starts `probe`; a sentence where it cannot be started, else ""."""
        try:
            probe.all_forms()
        except GuardError as error:
            return str(error)
        with self._lock:
            if self._state.running:
                return "A probe is running; stop it first."
            self._cancel = threading.Event()
            version = self._state.version + 1
            self._state = ProbeState(version, True, probe)
        self._spawn(self._run)
        return ""

    def stop(self) -> None:
        """Ends the running probe at its next token; what is finished is kept and shown."""
        self._cancel.set()

    def _run(self) -> None:
        probe = self.state.probe
        if probe is None:
            return
        try:
            runner = Runner(KeptRuns(self._keep), self._told, self._cancel, self._users_first)
            result = run_probe(
                probe, self._writer, runner, embedder=self._embedder(), verifier=self._verifier()
            )
        except GuardError as error:
            self._change(running=False, problem=str(error))
        else:
            self._change(running=False, result=result)
        finally:
            # A fault of ours goes to the thread's own handler; the panel must not wait for it for ever.
            if self.state.running:
                self._change(running=False, problem="The probe ended with a fault; the log has its lines.")

    def _told(self, progress: Progress) -> None:
        self._change(progress=progress)

    def _change(self, **values: object) -> None:
        with self._lock:
            self._state = replace(self._state, version=self._state.version + 1, **values)  # type: ignore[arg-type]
