"""The doctor's reading test: a model reads plain English, with several RoPE bases and beside a reference."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from exllama_guard.backends import weight_files_or_none
from exllama_guard.core.measures import FloatArray, Gate, NotScored
from exllama_guard.errors import BackendError
from exllama_guard.probes.doctor.causality import check_causality
from exllama_guard.probes.doctor.detectors.files import (
    DEFAULT_ROPE,
    loader_against_reference,
    plain_english,
    rope_fit,
    rope_pair,
    tokenizer_pair,
)
from exllama_guard.probes.doctor.symptoms import Observation, unobserved
from exllama_guard.probes.measures.fixed_text import LONG_ENGLISH, PLAIN_ENGLISH
from exllama_guard.probes.measures.logit_drift import logit_drift

if TYPE_CHECKING:
    import torch

__all__ = ["Reading", "check_reading", "own_precision", "read_plain_english"]

BASES = (DEFAULT_ROPE, 100_000.0, 500_000.0, 1_000_000.0)  # of SmolLM2 and most others since 2023
TOKENS = 240  # the fixed text is about as long
LONG_TOKENS = 1000  # for the RoPE base: on fewer, bases differ too little
_SLOW_S = 15.0  # a model that reads TOKENS slower than this is not asked for five times LONG_TOKENS
_BIG_BYTES = 3 << 30  # weights beyond this are read in bfloat16
_READ = ("PC1", "PC5", "V5")  # what reading shows

Say = Callable[[str], None]


class Reading(Protocol):
    """A model that reads given tokens. Every method may raise BackendError: the model is gone or busy."""

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added."""
        ...

    def logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Shape (n - 1,): natural log of P(id i | ids before), for i = 1 .. n - 1."""
        ...

    def distributions(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Shape (n - 1, vocabulary): natural logs of P(next | ids[: i + 1])."""
        ...

    def rotary(self) -> Any:  # noqa: ANN401 - a module of the architecture's own class
        """The model's one rotary embedding with plain frequencies, or None."""
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


def own_precision(path: Path) -> str:
    """`float32` for a small model, else `bfloat16`, in which it takes half the memory."""
    size = sum(file.stat().st_size for file in weight_files_or_none(path))
    return "bfloat16" if size > _BIG_BYTES else "float32"


def check_reading(
    chosen: Opener, reference: Opener | None, say: Say = lambda _: None
) -> tuple[Observation, ...]:
    """PC1, PC5 and, with a reference, V5; a model that cannot be loaded gives the reason instead."""
    say(f"loading {chosen.label}")
    try:
        mode = chosen.open()
    except BackendError as error:
        return tuple(unobserved(id_, str(error)) for id_ in _READ)
    try:
        return read_plain_english(mode, reference, say)
    finally:
        mode.close()


def read_plain_english(
    model: Reading,
    reference: Opener | None,
    say: Say = lambda _: None,
    cancel: threading.Event | None = None,
) -> tuple[Observation, ...]:
    """PC1, PC5 and, with a reference, V5 of an open model; what cannot be read gives the reason instead."""
    cancel = cancel or threading.Event()
    try:
        ids = model.token_ids(PLAIN_ENGLISH)[:TOKENS]
        say("reading plain English")
        started_s = time.monotonic()
        with model.alone():
            logs = model.logprobs(ids)
        took_s = time.monotonic() - started_s
        if isinstance(logs, NotScored):
            return tuple(unobserved(id_, logs) for id_ in _READ)
        nll = float(-logs.mean())
        found = [plain_english(nll)]
        if found[0].verdict is Gate.FAIL:
            found.append(unobserved("PC5", "the model does not read plain English with any base"))
        else:
            long = ids if took_s > _SLOW_S else model.token_ids(LONG_ENGLISH)[:LONG_TOKENS]
            found.append(_rope(model, long, say, cancel))
        with model.alone():
            ahead = check_causality(model, str(getattr(model, "loader", "")))
    except IndexError:  # an id beyond the model's vocabulary
        return (plain_english(20.0),)
    except BackendError as error:
        return tuple(unobserved(id_, str(error)) for id_ in _READ)
    if ahead.verdict is Gate.FAIL or reference is not None:  # without a reference the rest of V5 stays open
        found.append(ahead)
    if reference is None:
        return (*found, unobserved("V5", "no reference was named"))
    if cancel.is_set():
        return (*found, unobserved("V5", "stopped by the user"))
    return (*found, *_beside(reference, model, ids, say))


def _rope(model: Reading, ids: Sequence[int], say: Say, cancel: threading.Event) -> Observation:
    rotary = model.rotary()
    if rotary is None:
        return unobserved("PC5", "the loader shows no plain rotary embedding to try other bases with")
    configured = _base(rotary)
    read: dict[float, float] = {}
    for base in (configured, *BASES):
        if cancel.is_set():
            return unobserved("PC5", "stopped by the user")
        if all(abs(base / known - 1.0) > 0.05 for known in read):
            say(f"reading {len(ids)} tokens with rope_theta {base:g}")
            with model.alone(), _with_base(rotary, base):
                logs = model.logprobs(ids)
            if isinstance(logs, NotScored):
                return unobserved("PC5", logs)
            read[base] = float(-logs.mean())
    return rope_fit(configured, read, len(ids))


def _base(rotary: Any) -> float:  # noqa: ANN401 - a rotary embedding of any architecture
    """The base behind the frequencies 1 / base^(2i / d), from the last of them."""
    frequencies = rotary.inv_freq.double()
    n = len(frequencies)
    return float(round(float(frequencies[-1]) ** (-n / (n - 1))))


@contextlib.contextmanager
def _with_base(rotary: Any, base: float) -> Iterator[None]:  # noqa: ANN401
    import torch

    before: torch.Tensor = rotary.inv_freq
    n = len(before)
    powers = torch.arange(n, dtype=torch.float64) / n
    rotary.inv_freq = (1.0 / base**powers).to(before.device, before.dtype)
    try:
        yield
    finally:
        rotary.inv_freq = before


def _beside(reference: Opener, model: Reading, ids: tuple[int, ...], say: Say) -> tuple[Observation, ...]:
    """The same fixed tokens through both, twice through the model itself for its floor."""
    say(f"loading the reference {reference.label}")
    try:
        with model.alone():
            logs, again = model.distributions(ids), model.distributions(ids)
        if isinstance(logs, NotScored) or isinstance(again, NotScored):
            return (unobserved("V5", logs if isinstance(logs, NotScored) else "the second reading failed"),)
        other = reference.open()
    except BackendError as error:
        return (unobserved("V5", str(error)),)
    try:
        theirs = other.token_ids(PLAIN_ENGLISH)[:TOKENS]
        pair = tokenizer_pair("", "", (theirs, ids))
        if theirs != ids:
            return (
                pair,
                unobserved("V5", "the tokenizers differ, so there are no fixed tokens to compare on"),
            )
        say("comparing with the reference")
        wanted = other.distributions(ids)
        if isinstance(wanted, NotScored):
            return (pair, unobserved("V5", wanted))
        if wanted.shape != logs.shape:
            sentence = f"the reference has {wanted.shape[1]} tokens, this model {logs.shape[1]}"
            return (pair, unobserved("V5", sentence))
        against = loader_against_reference(logit_drift(wanted, logs, ids), logit_drift(logs, again, ids))
        return (pair, *_bases(model, other), against)
    finally:
        other.close()


def _bases(model: Reading, other: Reading) -> tuple[Observation, ...]:
    """PC5 where both show the base that they compute with, which a setting may have changed."""
    ours, theirs = model.rotary(), other.rotary()
    if ours is None or theirs is None:
        return ()
    return (rope_pair(_base(ours), _base(theirs), "as they are loaded"),)
