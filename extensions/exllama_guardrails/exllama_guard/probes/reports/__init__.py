"""Reports made from what probes and use have measured."""

from __future__ import annotations

from exllama_guard.probes.reports.environment import environment_rows
from exllama_guard.probes.reports.probe import compare_report, lambda_report
from exllama_guard.probes.reports.recorded_runs import is_recording, recorded_report
from exllama_guard.probes.reports.use import chat_report, replay_report, verify_report

__all__ = [
    "chat_report",
    "compare_report",
    "environment_rows",
    "is_recording",
    "lambda_report",
    "recorded_report",
    "replay_report",
    "verify_report",
]
