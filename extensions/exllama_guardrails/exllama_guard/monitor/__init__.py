"""The main path: a turn opens, its text grows, it closes, it is scored off the reply's path, and is kept.

`main` ties it together; `turn` is an open turn, `scoring` the queue, `measuring` one turn's measures,
`memory` what a panel shows, `parts` what is made from settings.
"""

from __future__ import annotations

from exllama_guard.monitor.main import Monitor
from exllama_guard.monitor.measuring import TurnHere
from exllama_guard.monitor.memory import Event, Snapshot
from exllama_guard.monitor.parts import Parts, ReportProblem
from exllama_guard.monitor.stopping import batches
from exllama_guard.monitor.turn import TurnHandle

__all__ = ["Event", "Monitor", "Parts", "ReportProblem", "Snapshot", "TurnHandle", "TurnHere", "batches"]
