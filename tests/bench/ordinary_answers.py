"""The hand-written ordinary answers as rows: question, snippets, answer, and which statement is wrong.

The document that the question is about stands among two others of its part, in an order that the question's
text decides, so that no rule can lean on rank. A follow-up's question is read with the turn before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "ordinary"
BESIDE = 2  # other documents beside the right one


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `fault` is empty for a right one; `changed` is where in `text` the fault (or twin) stands.

    `replaced` is what the right answer has there.
    """

    text: str
    fault: str
    changed: tuple[int, int]
    replaced: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its documents and the answers to it, the right one first."""

    identity: str
    lang: str
    question: str
    documents: tuple[str, ...]
    answers: tuple[Answer, ...]


def items(part: str, *, beside: int = BESIDE) -> Iterator[Item]:
    """Every question of a part ("a", "b", "c" or "t"), in file order."""
    documents = {row["doc"]: row for row in _rows(f"docs-{part}.jsonl")}
    names = sorted(documents)
    for number, row in enumerate(_rows(f"items-{part}.jsonl")):
        seed = hashlib.sha256(f"{row['doc']}{row['q']}".encode()).digest()
        start = int.from_bytes(seed[:4], "big")
        chosen = [row["doc"]]
        step = 0
        while len(chosen) < min(beside + 1, len(names)):
            other = names[(start + 7 * step) % len(names)]
            step += 1
            if other not in chosen:
                chosen.append(other)
        turn = seed[5] % len(chosen)
        chosen = chosen[turn:] + chosen[:turn]
        texts = tuple(_text(documents[name]) for name in chosen)
        yield Item(f"{part}{number}", documents[row["doc"]]["lang"], row["q"], texts, tuple(_answers(row)))


def _answers(row: dict[str, Any]) -> Iterator[Answer]:
    right = row["right"]
    yield Answer(right, "", (0, 0))
    for change in row.get("also", ()):
        yield from _changed(right, change, "")
    for change in row["wrong"]:
        yield from _changed(right, change, change["kind"])


def _changed(right: str, change: dict[str, str], fault: str) -> Iterator[Answer]:
    at = right.find(change["from"])
    if at < 0:
        return
    text = right[:at] + change["to"] + right[at + len(change["from"]) :]
    yield Answer(text, fault, (at, at + max(1, len(change["to"]))), change["from"])


def _text(document: dict[str, str]) -> str:
    return document["text"] if document["text"].startswith("#") else f"{document['title']}\n\n{document['text']}"


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]
