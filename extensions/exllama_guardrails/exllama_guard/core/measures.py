"""A measured value or why there is none, and the words for how it compares with its limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]


class Reason(str, Enum):
    """Why a value could not be computed."""

    NO_QUESTION = "no question"
    NO_SNIPPETS = "no snippets"
    NO_ANCHOR = "no anchor"
    NO_CITATIONS = "the answer cites nothing"
    NO_CLAIMS = "the answer claims nothing"
    EMPTY_ANSWER = "empty answer"
    UNRELATED = "not about your documents"
    INDEXING = "the documents are still being indexed"
    ZERO_VECTOR = "text without content for the embedder"
    EMBEDDER_MISSING = "embedder missing"
    EMBEDDER_FAILED = "embedder failed"
    STOPPED = "stopped by the user"
    NO_SECOND_MODE = "no second mode"
    DETERMINISTIC_SAMPLER = "sampler is deterministic"
    NOT_ENOUGH_DATA = "not enough data"
    TOOL_CALL = "the reply is a tool call"
    NO_MODEL = "no model loaded"
    NOT_SUPPORTED = "not possible with this loader"
    SWITCHED_OFF = "switched off"
    TOO_MANY = "too many snippets"
    SHED = "dropped, too much was waiting"
    OUT_OF_TIME = "took too long"
    PROCESS_LOST = "the process that checks answers ended"
    FAILED = "failed"


# Their detail says it all: how long, how it ended, what is damaged.
SAID_BY_DETAIL = frozenset({Reason.OUT_OF_TIME, Reason.PROCESS_LOST, Reason.FAILED})


@dataclass(frozen=True, slots=True)
class NotScored:
    """A value that could not be computed; never 0.0, never NaN, never a pass."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        if self.reason in SAID_BY_DETAIL and self.detail:
            return f"not measured: {self.detail}"
        return f"not measured: {self.reason.value}" + (f" ({self.detail})" if self.detail else "")


Measure: TypeAlias = "float | NotScored"


class Zone(str, Enum):
    """Band of a cosine distance (docs/measures.md): closed below, open above."""

    SAFE = "safe"
    TRANSIT = "transit"
    RISK = "risk"
    DANGER = "danger"


class Gate(str, Enum):
    """Outcome of comparing one number with its limits, and of a whole turn."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    REVIEW = "REVIEW"
    FAIL = "FAIL"
    NOT_MEASURED = "NOT_MEASURED"
