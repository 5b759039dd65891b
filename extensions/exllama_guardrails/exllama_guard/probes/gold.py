"""A gold set: questions with the passage that each answer must rest on, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exllama_guard.core.snippets import Snippet, make_snippet, with_unique_ids
from exllama_guard.errors import UserError
from exllama_guard.trace import read_object

__all__ = ["GoldItem", "GoldSet", "read_gold", "read_gold_file"]


@dataclass(frozen=True, slots=True)
class GoldItem:
    """One question. Without an anchor ΔS to the anchor and coverage are not measured, never passed."""

    id: str
    question: str
    anchor: Snippet | None = None
    snippets: tuple[Snippet, ...] = ()
    forms: tuple[str, ...] = ()  # other forms of the question; empty: made from it
    answer: str | None = None  # text that a right answer holds
    refusal_expected: bool = False


@dataclass(frozen=True, slots=True)
class GoldSet:
    """The usable items in order, and one sentence for each line that is not usable."""

    items: tuple[GoldItem, ...]
    problems: tuple[str, ...]


def read_gold_file(path: Path) -> GoldSet:
    """The gold set of a file of JSON lines.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        return read_gold(path.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError as error:
        raise UserError(
            f"The gold set {path} cannot be read ({error.strerror}); name another file."
        ) from error


def read_gold(lines: Iterable[str]) -> GoldSet:
    """The gold set of JSON lines; a bad line and a second use of an id are told and left out."""
    items: dict[str, GoldItem] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = _item(line, number)
        except UserError as error:
            problems.append(str(error))
            continue
        if item.id in items:
            problems.append(f"line {number}: the id {item.id!r} is used before; give each question its own.")
        else:
            items[item.id] = item
    return GoldSet(tuple(items.values()), tuple(problems))


def _item(line: str, number: int) -> GoldItem:
    data = read_object(line, number)
    question = _text(data, "question", number)
    if not question:
        raise UserError(f"line {number} has no 'question'.")
    anchor = data.get("anchor")
    return GoldItem(
        id=str(data.get("id", number)),
        question=question,
        anchor=None if anchor is None else _snippet(anchor, 0, number, "anchor"),
        snippets=with_unique_ids(
            _snippet(entry, place, number, "snippets")
            for place, entry in enumerate(_list(data, "snippets", number))
        ),
        forms=tuple(str(form) for form in _list(data, "forms", number)),
        answer=_text(data, "answer", number) or None,
        refusal_expected=data.get("refuse") is True,
    )


def _text(data: Mapping[str, Any], name: str, number: int) -> str:
    value = data.get(name) or ""
    if not isinstance(value, str):
        raise UserError(f"line {number}: '{name}' must be a string, not {type(value).__name__}.")
    return value.strip()


def _list(data: Mapping[str, Any], name: str, number: int) -> list[Any]:
    value = data.get(name) or []
    if not isinstance(value, list):
        raise UserError(f"line {number}: '{name}' must be a list, not {type(value).__name__}.")
    return value


def _snippet(entry: object, place: int, number: int, field: str) -> Snippet:
    if isinstance(entry, str) and entry.strip():
        return make_snippet(entry, position=place)
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str) or not entry["text"].strip():
        raise UserError(f"line {number}: '{field}' must be text, or an object with a 'text', and not empty.")
    names = {name: entry.get(name) for name in ("snippet_id", "section_id", "source_url")}
    if not all(value is None or isinstance(value, str) for value in names.values()):
        raise UserError(f"line {number}: the ids of '{field}' must be strings.")
    return make_snippet(
        entry["text"],
        position=place,
        snippet_id=names["snippet_id"],
        section_id=names["section_id"],
        source_url=names["source_url"],
    )
