"""A process of its own for whatever is done with texts: scoring, embedding, reading documents.

`worker` has work done and watches it, `process` is one process as the host sees it, `child` and `loop` are
what runs in it, `tasks` what it can do, `parts` the ports of the core over it.
"""

from __future__ import annotations

from exllama_guard.worker.here import WorkHere
from exllama_guard.worker.lanes import Lane, Need
from exllama_guard.worker.parts import (
    WorkerEmbedder,
    WorkerTurn,
    WorkerVerifier,
    collecting,
    document_reader,
)
from exllama_guard.worker.result import Result, Work
from exllama_guard.worker.worker import Worker

__all__ = [
    "Lane",
    "Need",
    "Result",
    "Work",
    "WorkHere",
    "Worker",
    "WorkerEmbedder",
    "WorkerTurn",
    "WorkerVerifier",
    "collecting",
    "document_reader",
]
