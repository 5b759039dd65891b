"""The doctor: what was seen of a model and its turns, which fault to repair first."""

from __future__ import annotations

from exllama_guard.probes.doctor.baseline import BaselineStore
from exllama_guard.probes.doctor.checkup import Checkup, checkup_of, observe_turns
from exllama_guard.probes.doctor.detectors.files import tokenizer_pair
from exllama_guard.probes.doctor.diagnosis import (
    Diagnosis,
    Findings,
    ModeSummary,
    ReadMode,
    diagnosis_of,
    modes_of_report,
)
from exllama_guard.probes.doctor.model_check import BUDGET_S, check_reading, own_precision
from exllama_guard.probes.doctor.model_files import (
    observe_bases,
    observe_environment,
    observe_files,
    observe_weights_beside,
)
from exllama_guard.probes.doctor.model_signs import Fence, ModelSigns, ToolCounts, tool_counts
from exllama_guard.probes.doctor.symptoms import Observation

__all__ = [
    "BUDGET_S",
    "BaselineStore",
    "Checkup",
    "Diagnosis",
    "Fence",
    "Findings",
    "ModeSummary",
    "ModelSigns",
    "Observation",
    "ReadMode",
    "ToolCounts",
    "check_reading",
    "checkup_of",
    "diagnosis_of",
    "modes_of_report",
    "observe_bases",
    "observe_environment",
    "observe_files",
    "observe_turns",
    "observe_weights_beside",
    "own_precision",
    "tokenizer_pair",
    "tool_counts",
]
