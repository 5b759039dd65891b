"""What happens around a loaded model: load and unload, warm-up, canary, cache rotation, drift."""

from __future__ import annotations

from exllama_guard.lifecycle.canary import CanaryFinding, CanaryStore
from exllama_guard.lifecycle.canary_keeper import CanaryKeeper
from exllama_guard.lifecycle.drift import context_of, measure_drift, steps_up_to
from exllama_guard.lifecycle.fence import FenceReport, FenceState, run_fence
from exllama_guard.lifecycle.kv_cache import DriftReport
from exllama_guard.lifecycle.notices import Notices
from exllama_guard.lifecycle.path import BackendPath, Turnstile, alone
from exllama_guard.lifecycle.service import Lifecycle, LifecycleSnapshot
from exllama_guard.lifecycle.warmup import EX1_RATIO, Run

__all__ = [
    "BackendPath",
    "CanaryFinding",
    "CanaryKeeper",
    "CanaryStore",
    "DriftReport",
    "EX1_RATIO",
    "FenceReport",
    "FenceState",
    "Lifecycle",
    "LifecycleSnapshot",
    "Run",
    "Notices",
    "Turnstile",
    "alone",
    "context_of",
    "measure_drift",
    "run_fence",
    "steps_up_to",
]
