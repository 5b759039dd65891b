"""The loaded model as a second reader: measured on known statements first, asked only where it helps."""

from __future__ import annotations

from exllama_guard.second_reader.calibration import (
    Figure,
    KnownStatement,
    ReaderReport,
    assessed,
    known_statements,
    measure_reader,
)
from exllama_guard.second_reader.joining import Join, Signals
from exllama_guard.second_reader.measuring import Measuring, Progress
from exllama_guard.second_reader.model import LoadedReader, NextTokens, ReadingModel
from exllama_guard.second_reader.opinion import read_again, undecided
from exllama_guard.second_reader.right_of_way import ModelPath, RightOfWay
from exllama_guard.second_reader.service import ReaderView, SecondReader
from exllama_guard.second_reader.signals import Contrast, contrast_of, judge
from exllama_guard.second_reader.store import ReaderStore

__all__ = [
    "Contrast",
    "Figure",
    "Join",
    "KnownStatement",
    "LoadedReader",
    "Measuring",
    "ModelPath",
    "NextTokens",
    "Progress",
    "ReaderReport",
    "ReaderStore",
    "ReaderView",
    "ReadingModel",
    "RightOfWay",
    "SecondReader",
    "Signals",
    "assessed",
    "contrast_of",
    "judge",
    "known_statements",
    "measure_reader",
    "read_again",
    "undecided",
]
