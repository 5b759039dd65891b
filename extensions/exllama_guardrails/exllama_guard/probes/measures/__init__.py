"""What probes measure: plain functions from values to numbers with verdicts."""

from __future__ import annotations

from exllama_guard.probes.measures.calibration import Calibration, Verdict, calibrate, pairs_in, read_pairs
from exllama_guard.probes.measures.fixed_text import PLAIN_ENGLISH
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.measures.long_run import LongRun, TurnSigns
from exllama_guard.probes.measures.paraphrase import forms_of
from exllama_guard.probes.measures.repetition import TOPIC_LOSS, Repetition
from exllama_guard.probes.measures.replay import replay_of
from exllama_guard.probes.measures.resonance import Trend, answer_side, rolling_mean
from exllama_guard.probes.measures.stability import FORMS, LambdaReport, RunState
from exllama_guard.probes.measures.verification import ItemResult

__all__ = [
    "Calibration",
    "FORMS",
    "ItemResult",
    "LambdaReport",
    "LongRun",
    "PLAIN_ENGLISH",
    "Repetition",
    "RetrievalLimits",
    "RunState",
    "TOPIC_LOSS",
    "Trend",
    "TurnSigns",
    "Verdict",
    "answer_side",
    "calibrate",
    "forms_of",
    "pairs_in",
    "read_pairs",
    "replay_of",
    "rolling_mean",
]
