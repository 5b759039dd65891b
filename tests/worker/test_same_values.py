"""What the process of its own measures is what the same work gives in this one, with the real embedder."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Finish, TurnRequest
from exllama_guard.settings import Settings
from exllama_guard.worker import Worker, WorkerEmbedder, WorkerTurn, WorkerVerifier, WorkHere

LIMIT_S = 600.0
CLOSE = 1e-6
TIMES = {"elapsed_s", "time_to_first_token_s"}
TEXTS = (
    "The cache holds 8192 tokens and is reset at noon.",
    "After a reset the model reads its prompt again, which takes about four seconds on this machine.",
    "Der Speicher fasst 8192 Zeichen.",
    "The bridge was built in 1932 by Clara Weiss; its deck carries two lanes and a tram. " * 12,
    "",
)
ANSWERS = (
    "The cache holds 8192 tokens [1]. It is reset at noon.",
    "The cache holds 9000 tokens. The bridge was built in 1932 by Clara Weiss.",
    "I do not know.",
    "Here is a poem about the sea: the waves go up, the waves go down.",
    "Der Speicher fasst 8192 Zeichen, die Brücke ist von 1932 …",
)


@pytest.fixture(scope="module")
def there():
    made = Worker()
    yield made
    made.close()


@pytest.fixture(scope="module")
def here():
    return WorkHere()


def differences(one, other, place="report"):
    """Where two reports differ by more than rounding."""
    if isinstance(one, float) and isinstance(other, float):
        return [] if abs(one - other) <= CLOSE else [(place, one, other)]
    if is_dataclass(one) and type(one) is type(other):
        names = [field.name for field in fields(one) if field.name not in TIMES]
        return [d for n in names for d in differences(getattr(one, n), getattr(other, n), f"{place}.{n}")]
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [d for n, (a, b) in pairs for d in differences(a, b, f"{place}[{n}]")]
    return [] if one == other else [(place, one, other)]


def report(work, number, answer, finish):
    snippets = tuple(make_snippet(text, position=i) for i, text in enumerate(TEXTS))
    request = TurnRequest(f"same-{number}", "How many tokens does the cache hold?", snippets)
    turn = WorkerTurn(work, request, Settings(work_limit_s=LIMIT_S), None)
    try:
        return turn.score(answer, finish)
    finally:
        turn.forget()


@pytest.mark.parametrize("finish", [Finish.STREAMING, Finish.COMPLETE])
def test_reports_are_the_same(there, here, finish):
    for number, answer in enumerate(ANSWERS):
        reports = [report(work, number, answer, finish) for work in (there, here)]
        assert differences(*reports) == []


def test_vectors_and_the_verifiers_shares_are_the_same(there, here):
    vectors = [WorkerEmbedder(work, "", LIMIT_S).embed(TEXTS) for work in (there, here)]
    assert np.abs(vectors[0] - vectors[1]).max() <= CLOSE
    asked = [WorkerEmbedder(work, "", LIMIT_S).embed_question(TEXTS[0]) for work in (there, here)]
    assert np.abs(asked[0] - asked[1]).max() <= CLOSE
    pairs = [(TEXTS[0], "The cache holds 8192 tokens."), (TEXTS[3], "It was built in 1940.")]
    shares = [WorkerVerifier(work, "built-in", LIMIT_S).entailment(pairs) for work in (there, here)]
    assert np.abs(shares[0] - shares[1]).max() <= CLOSE
