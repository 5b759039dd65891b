"""Probes: measurements that generate, through a loader or the host; each can be stopped and resumed."""

from __future__ import annotations

from exllama_guard.probes.background import ReportProgress, Task, TaskState
from exllama_guard.probes.compare import CompareJob, ModeSource, run_compare
from exllama_guard.probes.compare_command import PICKED_PRECISIONS, Comparison
from exllama_guard.probes.desk import ProbeDesk
from exllama_guard.probes.desk_parts import DeskParts
from exllama_guard.probes.generation import Generation, Sampling
from exllama_guard.probes.gold import GoldSet, read_gold_file
from exllama_guard.probes.lambda_probe import LambdaProbe, run_probe
from exllama_guard.probes.long_view import MEASURING
from exllama_guard.probes.run import Progress, Runner
from exllama_guard.probes.run_cache import RunCache
from exllama_guard.probes.service import ProbeState
from exllama_guard.probes.verify import VerifyJob, run_verify

__all__ = [
    "CompareJob",
    "Comparison",
    "DeskParts",
    "GoldSet",
    "RunCache",
    "LambdaProbe",
    "MEASURING",
    "ModeSource",
    "PICKED_PRECISIONS",
    "ProbeDesk",
    "ProbeState",
    "Progress",
    "Runner",
    "Sampling",
    "Task",
    "TaskState",
    "ReportProgress",
    "VerifyJob",
    "Generation",
    "read_gold_file",
    "run_compare",
    "run_probe",
    "run_verify",
]
