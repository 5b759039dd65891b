"""The hand-written ordinary answers as training text: what a reader is given of them in a chat, cut as there.

Each answer stands beside its own document and none to three others, in an order drawn by lot. Every statement of a
right answer is supported; of a wrong one, those that the change altered are not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from exllama_guard.core.snippets import Span, make_snippet
from exllama_guard.core.turns import ClaimKind
from exllama_guard.grounding.reading import Evidence
from exllama_guard.grounding.support.claims import Piece, pieces_of
from exllama_guard.grounding.support.language import language_of
from exllama_guard.grounding.support.markup import without_markup
from ordinary_answers import Answer, _answers, _rows, _text, items

SUPPORTED, ABSENT, CONTRADICTED, NOTHING = 2, 1, 0, 3
WORDS = 300  # of the snippets, as the scorer gives them


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, what the evidence says of it, and the characters of it that are wrong."""

    text: str
    label: int
    wrong: tuple[tuple[int, int], ...] = ()
    pair: int = -1  # which statement of the right answer it was before the change


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader is given at once, and what it should say."""

    source: str
    group: str  # readings of one question, the right answer first
    evidence: str
    question: str
    about: int  # 1: the evidence bears on the question, 0: it does not, -1: unknown
    statements: tuple[Statement, ...]


def readings(part: str, lots: int, seed: int = 3) -> Iterator[list[Reading]]:
    """For each question of a part `lots` groups of readings, each with other documents beside."""
    documents = {row["doc"]: row for row in _rows(f"docs-{part}.jsonl")}
    names = sorted(documents)
    for number, row in enumerate(_rows(f"items-{part}.jsonl")):
        for lot in range(lots):
            yield _group(part, number, lot, row, documents, names, seed)


def as_asked(part: str) -> Iterator[list[Reading]]:
    """The readings of a part beside the very documents of `ordinary_answers.items`: one group a question."""
    for item, row in zip(items(part), _rows(f"items-{part}.jsonl"), strict=True):
        snippets = tuple(make_snippet(text, position=i) for i, text in enumerate(item.documents))
        language = language_of(" ".join([row["q"], *(one.text[:500] for one in snippets)]))
        yield _read(part, item.identity, row, snippets, language, item.answers)


def _read(
    source: str,
    group: str,
    row: dict[str, Any],
    snippets: Sequence[Any],
    language: str,
    answers: Sequence[Answer],
) -> list[Reading]:
    read = Evidence(snippets, language)
    right = _told(answers[0].text, snippets, language)
    out = []
    for answer in answers:
        told = right if answer is answers[0] else _told(answer.text, snippets, language)
        statements = tuple(_statement(piece, answer, row, right) for piece in told)
        evidence = read.reading([*(piece.text for piece in told), row["q"]], WORDS)
        out.append(Reading(source, group, evidence, row["q"], 1, statements))
    return out


def _group(
    part: str,
    number: int,
    lot: int,
    row: dict[str, Any],
    documents: dict[str, Any],
    names: list[str],
    seed: int,
) -> list[Reading]:
    rng = random.Random(f"{seed}/{part}{number}/{lot}")
    others = [name for name in names if name != row["doc"]]
    beside = rng.sample(others, min(len(others), rng.choice((0, 1, 2, 2, 2, 3))))
    chosen = [row["doc"], *beside]
    rng.shuffle(chosen)
    snippets = tuple(make_snippet(_text(documents[name]), position=i) for i, name in enumerate(chosen))
    language = language_of(" ".join([row["q"], *(one.text[:500] for one in snippets)]))
    answers = list(_answers(row))
    out = _read(part, f"{part}{number}/{lot}", row, snippets, language, answers)
    right = _told(answers[0].text, snippets, language)
    if beside and rng.random() < 0.15:  # the same answer without its document
        far = tuple(make_snippet(_text(documents[name]), position=i) for i, name in enumerate(beside))
        evidence = Evidence(far, language).reading([*(piece.text for piece in right), row["q"]], WORDS)
        lost = tuple(
            Statement(p.text, NOTHING if _is_nothing(p, answers[0].text, row) else ABSENT) for p in right
        )
        out.append(Reading(part + "-far", f"{part}{number}/{lot}", evidence, row["q"], 0, lost))
    return out


def _told(answer: str, snippets: Sequence[Any], language: str) -> list[Piece]:
    plain = without_markup(answer, snippets)
    return [piece for piece in pieces_of(plain, language) if piece.kind is not ClaimKind.CODE]


def _is_nothing(piece: Piece, answer: str, row: dict[str, Any]) -> bool:
    if piece.kind in (ClaimKind.GREETING, ClaimKind.QUESTION, ClaimKind.HEADING):
        return True
    said = answer[piece.span.start : piece.span.end]
    return any(said and (said in one or one in said) for one in row.get("noclaim", ()))


def _statement(piece: Piece, answer: Answer, row: dict[str, Any], right: Sequence[Piece]) -> Statement:
    start, end = answer.changed
    touched = end > start and piece.span.start < end and start < piece.span.end
    before = next((i for i, one in enumerate(right) if one.text == piece.text), -1)
    if not answer.fault or not touched or before >= 0:
        nothing = _is_nothing(piece, answer.text, row)
        return Statement(piece.text, NOTHING if nothing else SUPPORTED, (), before)
    was = _replaced(answer, piece.span, right)
    change = next(c for c in row["wrong"] if c["kind"] == answer.fault and c["from"] == answer.replaced)
    label = ABSENT if change.get("is") == "absent" else CONTRADICTED
    return Statement(piece.text, label, _marks(piece, answer), was)


def _replaced(answer: Answer, span: Span, right: Sequence[Piece]) -> int:
    """The statement of the right answer that stands where this one stands (both begin alike)."""
    start = answer.changed[0]
    longer = len(answer.replaced)
    near = [i for i, one in enumerate(right) if one.span.start < start + longer and start < one.span.end]
    return near[0] if len(near) == 1 else next((i for i in near if right[i].span.start == span.start), -1)


def _marks(piece: Piece, answer: Answer) -> tuple[tuple[int, int], ...]:
    """Where the changed text stands in the statement; empty where markup moved it."""
    start, end = answer.changed
    text = answer.text[max(start, piece.span.start) : min(end, piece.span.end)].strip()
    at = piece.text.find(text) if text else -1
    return ((at, at + len(text)),) if at >= 0 else ()
