"""What the doctor reads through: a model that tells log-probabilities, a time budget, the price of a look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from exllama_guard.core.measures import FloatArray, NotScored
from exllama_guard.probes.doctor.symptoms import Cost, Observation

__all__ = ["BUDGET_S", "Budget", "Closable", "InsideView", "Opener", "Reading", "Say", "Trace"]

BUDGET_S = 110.0  # of reading, by default
Say = Callable[[str], None]


class Trace(Protocol):
    """What flowed into each layer and out of the last, shape (layers + 1,) each."""

    norms: FloatArray
    turns: FloatArray
    bad: FloatArray


class InsideView(Protocol):
    """A model whose layers can be seen and changed for one reading; each change ends with its context."""

    @property
    def n_layers(self) -> int:
        """Layers of the stack."""
        ...

    def embeddings(self, ids: Sequence[int]) -> FloatArray:
        """Rows of the embedding, shape (ids, width)."""
        ...

    def bases(self) -> Mapping[str, float]:
        """RoPE base by kind of layer."""
        ...

    def with_base(self, kind: str, base: float) -> AbstractContextManager[None]:
        """Another base."""
        ...

    def window(self) -> int | None:
        """Tokens of a sliding window."""
        ...

    def with_window(self, tokens: int) -> AbstractContextManager[None]:
        """Another window."""
        ...

    def trace(self, read: Callable[[], object]) -> tuple[Any, list[Any]]:
        """The Trace of a reading, and the layers' inputs."""
        ...

    def without(self, layer: int, inputs: Sequence[Any]) -> AbstractContextManager[None]:
        """A layer hands on what it was given."""
        ...

    def ordered(self, order: Sequence[int]) -> AbstractContextManager[None]:
        """The layers in another order."""
        ...

    def rows_ordered(self, interleaved: bool) -> AbstractContextManager[None]:
        """The rows of q and k in the other order of rotary pairs."""
        ...


class Reading(Protocol):
    """A model that reads given tokens. Every method may raise BackendError: the model is gone or busy."""

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added."""
        ...

    def opening_ids(self) -> tuple[int, ...]:
        """What the tokenizer itself puts before a text (BOS)."""
        ...

    def logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Shape (n - 1,): natural log of P(id i | ids before), for i = 1 .. n - 1."""
        ...

    def distributions(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Shape (n - 1, vocabulary): natural logs of P(next | ids[: i + 1])."""
        ...

    def inside(self) -> InsideView | None:
        """The model seen from inside, or None."""
        ...

    def filled(self) -> tuple[str, ...]:
        """Tensors that the files lack."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else's reply runs inside; readings take place here."""
        ...


class Closable(Reading, Protocol):
    """A model that was opened for reading."""

    def close(self) -> None:
        """Lets it go."""
        ...


class Opener(Protocol):
    """A model that can be opened; `open` raises BackendError where it cannot be loaded."""

    @property
    def label(self) -> str:
        """Its name."""
        ...

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...

    @property
    def open(self) -> Callable[[], Closable]:
        """Loads it."""
        ...


@dataclass(slots=True)
class Budget:
    """Time for reading, what a token has cost so far, and the price of the look that runs."""

    seconds: float = BUDGET_S
    cancel: threading.Event = field(default_factory=threading.Event)
    started_s: float = field(default_factory=time.monotonic)
    token_s: float = 0.0  # of one forward pass, the dearest seen
    tokens: int = 0  # read since `begin`
    begun_s: float = 0.0

    def left_s(self) -> float:
        """Seconds that remain, 0 or more."""
        return max(0.0, self.started_s + self.seconds - time.monotonic())

    def begin(self) -> None:
        """A look begins."""
        self.tokens, self.begun_s = 0, time.monotonic()

    def read(self, model: Reading, ids: Sequence[int]) -> FloatArray | NotScored:
        """`model.logprobs(ids)`, its time noted."""
        started_s = time.monotonic()
        logs = model.logprobs(ids)
        took_s = time.monotonic() - started_s
        if len(ids) >= 60 and not self.token_s:
            self.token_s = took_s / len(ids)
        self.tokens += len(ids)
        return logs

    def priced(self, one: Observation, by: str, shortened: str = "") -> Observation:
        """The observation with what this look has cost."""
        seconds = time.monotonic() - self.begun_s if self.begun_s else 0.0
        return replace(one, cost=Cost(by, self.tokens, seconds, shortened))
