"""The doctor's reading test: plain English, without each layer, with other bases, beside another model."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from exllama_guard.backends import weight_files_or_none
from exllama_guard.core.measures import FloatArray, Gate, NotScored
from exllama_guard.errors import BackendError
from exllama_guard.probes.doctor.causality import check_causality
from exllama_guard.probes.doctor.detectors.files import (
    filled_by_loader,
    loader_against_reference,
    not_finite,
    plain_english,
    rope_pair,
    tokenizer_pair,
    weights_unreadable,
)
from exllama_guard.probes.doctor.reading import BUDGET_S, Budget, Opener, Reading, Say
from exllama_guard.probes.doctor.reading_layers import not_finite_in, observe_layers, rows_of_pairs
from exllama_guard.probes.doctor.reading_rope import LONG_TOKENS, observe_positions
from exllama_guard.probes.doctor.symptoms import Observation, unobserved
from exllama_guard.probes.doctor.word_forms import tokenizer_belongs
from exllama_guard.probes.measures.fixed_text import LONG_ENGLISH, PLAIN_ENGLISH
from exllama_guard.probes.measures.logit_drift import logit_drift

__all__ = ["BUDGET_S", "Opener", "Reading", "check_reading", "own_precision", "read_plain_english"]

TOKENS = 240  # the fixed text is about as long
_BIG_BYTES = 3 << 30  # weights beyond this are read in bfloat16
_READ = ("PC1", "PC5", "V5", "W2")  # what reading shows
_POOR_NATS = 4.0  # from here on, q and k are tried in the other order; a small model costs 2.5 to 3


def own_precision(path: Path) -> str:
    """`float32` for a small model, else `bfloat16`, in which it takes half the memory."""
    size = sum(file.stat().st_size for file in weight_files_or_none(path))
    return "bfloat16" if size > _BIG_BYTES else "float32"


def check_reading(
    chosen: Opener, reference: Opener | None, say: Say = lambda _: None, budget_s: float = BUDGET_S
) -> tuple[Observation, ...]:
    """PC1, PC5, W1, W2 and V5; a model that cannot be loaded gives the reason instead."""
    say(f"loading {chosen.label}")
    try:
        mode = chosen.open()
    except BackendError as error:
        return tuple(Budget().priced(unobserved(id_, str(error)), "reading") for id_ in _READ)
    try:
        return read_plain_english(mode, reference, say, budget=Budget(budget_s))
    finally:
        mode.close()


def read_plain_english(
    model: Reading,
    reference: Opener | None,
    say: Say = lambda _: None,
    cancel: threading.Event | None = None,
    budget: Budget | None = None,
) -> tuple[Observation, ...]:
    """PC1, PC5, W1, W2 and V5 of an open model; what cannot be read gives the reason instead."""
    budget = budget or Budget()
    budget.cancel = cancel or budget.cancel
    found: list[Observation] = []
    try:
        found += _alone(model, budget, say)
    except IndexError:  # an id beyond the model's vocabulary
        return (*found, budget.priced(plain_english(20.0), "reading"))
    except BackendError as error:
        seen = {one.symptom.id for one in found}
        return (
            *found,
            *(budget.priced(unobserved(id_, str(error)), "reading") for id_ in _READ if id_ not in seen),
        )
    if reference is None:
        # That it does not read ahead is no proof that it computes as a reference would: V5 stays open.
        kept = [one for one in found if one.symptom.id != "V5" or one.verdict is not Gate.PASS]
        return (*kept, unobserved("V5", "no reference was named"))
    if budget.cancel.is_set():
        return (*found, unobserved("V5", "stopped by the user"))
    budget.begin()
    ids = (*model.opening_ids(), *model.token_ids(PLAIN_ENGLISH)[:TOKENS])
    return (*found, *(budget.priced(one, "reference") for one in _beside(reference, model, ids, say)))


def _alone(model: Reading, budget: Budget, say: Say) -> Iterator[Observation]:
    """What the model shows by itself, the look that explains most first.

    Raises:
        BackendError: The model is gone.
        IndexError: An id is beyond its vocabulary.
    """
    filled = model.filled()
    if filled:
        yield budget.priced(filled_by_loader(filled), "reading")
    opening = model.opening_ids()
    ids = (*opening, *model.token_ids(PLAIN_ENGLISH)[:TOKENS])
    say("reading plain English")
    budget.begin()
    with model.alone():
        logs = budget.read(model, ids)
    if isinstance(logs, NotScored):
        for id_ in _READ:
            yield budget.priced(unobserved(id_, logs), "reading")
        return
    if not np.isfinite(logs).all():
        yield from _broken(model, ids, budget)
        return
    nll = float(-logs[max(len(opening) - 1, 0) :].mean())
    verdict = plain_english(nll)
    damaged = None
    if nll > _POOR_NATS:
        with model.alone():
            damaged = rows_of_pairs(model, ids, nll, budget)
    if verdict.verdict is Gate.FAIL:
        yield from _unreadable(model, ids, nll, damaged, budget, say)
        yield _ahead(model, budget)
        return
    yield budget.priced(verdict, "reading")
    if damaged is None:
        budget.begin()
        with model.alone():
            layers, why = observe_layers(model, ids, budget, say)
        yield budget.priced(layers, "reading" if model.inside() else "", why)
        damaged = layers if layers.verdict is Gate.FAIL else None
    else:
        yield budget.priced(damaged, "reading")
    if damaged is not None or filled:
        yield unobserved("PC5", "damaged weights tell nothing of the RoPE base; repair them first")
    else:
        yield from _positions(model, opening, budget, say)
    yield _ahead(model, budget)


def _ahead(model: Reading, budget: Budget) -> Observation:
    """V5: does the model read ahead, which may also be why it reads badly."""
    budget.begin()
    with model.alone():
        ahead = check_causality(model, str(getattr(model, "loader", "")))
    return budget.priced(ahead, "reading")


def _positions(model: Reading, opening: tuple[int, ...], budget: Budget, say: Say) -> Iterator[Observation]:
    budget.begin()
    ids = (*opening, *model.token_ids(LONG_ENGLISH)[:LONG_TOKENS])
    for one, why in observe_positions(model, ids, budget, say):
        yield budget.priced(one, "reading" if model.inside() else "", why)
        budget.begin()


def _broken(model: Reading, ids: Sequence[int], budget: Budget) -> Iterator[Observation]:
    """NaN or infinite log-probabilities: nothing else can be told of such a model."""
    with model.alone():
        where, layer = not_finite_in(model, ids)
    yield budget.priced(not_finite(where, layer), "reading")
    for id_ in ("PC1", "PC5"):
        yield unobserved(id_, "what the model computes is not finite; repair the weights first")


def _unreadable(
    model: Reading,
    ids: tuple[int, ...],
    nll: float,
    damaged: Observation | None,
    budget: Budget,
    say: Say,
) -> Iterator[Observation]:
    """Plain English is not recognised: the tokenizer's fault, or the weights'."""
    if damaged is not None:
        yield budget.priced(damaged, "reading")
        yield unobserved("PC1", "the weights are damaged; repair them first")
    else:
        belongs = tokenizer_belongs(model)
        if belongs:
            with model.alone():
                layers, _ = observe_layers(model, ids, budget, say)
            named = layers.verdict is Gate.FAIL
            yield budget.priced(layers if named else weights_unreadable(nll), "reading")
            yield unobserved("PC1", "the weights are damaged; repair them first")
        else:
            yield budget.priced(plain_english(nll, belongs=belongs), "reading")
    yield unobserved("PC5", "the model does not read plain English with any base")


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
        return _compared(model, other, ids, logs, again, say)
    finally:
        other.close()


def _compared(
    model: Reading,
    other: Reading,
    ids: tuple[int, ...],
    logs: FloatArray,
    again: FloatArray,
    say: Say,
) -> tuple[Observation, ...]:
    theirs = (*other.opening_ids(), *other.token_ids(PLAIN_ENGLISH)[:TOKENS])
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


def _bases(model: Reading, other: Reading) -> tuple[Observation, ...]:
    """PC5 where both show the base that they compute with, which a setting may have changed."""
    ours, theirs = model.inside(), other.inside()
    if ours is None or theirs is None or not ours.bases() or not theirs.bases():
        return ()
    return (rope_pair(ours.bases(), theirs.bases(), "as they are loaded"),)
