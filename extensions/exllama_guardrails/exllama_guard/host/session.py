"""What the extension has made in this process: one session, which the host's loading anew leaves as it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from exllama_guard.assembly import build_monitor
from exllama_guard.host.acting.first import FirstVerdicts
from exllama_guard.host.acting.lines import VisibleLines
from exllama_guard.host.guard import report_to
from exllama_guard.host.lifecycle.model_watch import ModelWatch
from exllama_guard.host.patches import Patches
from exllama_guard.host.tools.guard import ToolGuard
from exllama_guard.host.turn.notes import TurnNotes
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.monitor import Monitor
from exllama_guard.probes import ProbeDesk
from exllama_guard.second_reader import SecondReader
from exllama_guard.settings import Settings

__all__ = ["Session", "session", "use_session"]


@dataclass(slots=True)
class Session:
    """The parts of a running extension: `host/start.py` makes and ends them, the others find them here."""

    monitor: Monitor
    observing: bool = False  # from a setup to the next uninstall: the hooks do their work
    notes: TurnNotes = field(default_factory=TurnNotes)
    lines: VisibleLines = field(default_factory=VisibleLines)
    first: FirstVerdicts = field(default_factory=FirstVerdicts)
    patches: Patches = field(default_factory=Patches)
    lifecycle: Lifecycle | None = None
    probes: ProbeDesk | None = None
    second: SecondReader | None = None
    model_watch: ModelWatch | None = None
    settings: Settings | None = None  # as the host's params gave them last
    panel_built: bool = False
    tools: ToolGuard = field(init=False)

    def __post_init__(self) -> None:
        """Makes the tool lock, which follows the monitor's settings."""
        self.tools = ToolGuard(lambda: self.monitor.settings)

    def observe(self, observing: bool) -> None:
        """Starts or ends the hooks' work; what is reported meanwhile shows in the monitor's panel."""
        self.observing = observing
        report_to(self.monitor.report_problem if observing else None)


_session: Session | None = None
_lock = threading.Lock()  # protects the name above


def session() -> Session:
    """The process's session, made on first use over the real parts; nothing heavy happens before a turn."""
    global _session  # one a process, on purpose: the host loads script.py anew, this package stays
    with _lock:
        if _session is None:
            _session = Session(build_monitor(Settings()))
        return _session


def use_session(made: Session | None) -> None:
    """Puts `made` in the place of the process's session; None: the next use makes a new one."""
    global _session  # the same one
    with _lock:
        before, _session = _session, made
    if before is not None and before.observing:
        before.observe(False)
    if made is not None and made.observing:
        made.observe(True)
