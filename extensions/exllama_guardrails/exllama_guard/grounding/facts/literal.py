"""Whether the evidence writes a value letter by letter, whatever was read out of it."""

from __future__ import annotations

import re
from functools import lru_cache

from exllama_guard.grounding.facts.evidence import Evidence
from exllama_guard.grounding.facts.numerals import plain
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.values import Place

_FIRST_NUMBER = re.compile(r"\d[\d.,:' ]*\d|\d")


@lru_cache(maxsize=8)
def _plain_units(evidence: Evidence) -> tuple[str, ...]:
    return tuple(plain(unit.text) for unit in evidence.units)


@lru_cache(maxsize=8)
def _amounts(evidence: Evidence) -> dict[int, tuple[tuple[int, int], ...]]:
    out: dict[int, list[tuple[int, int]]] = {}
    for mention in evidence.mentions:
        if isinstance(mention.value, Quantity):
            out.setdefault(mention.unit, []).append((mention.start, mention.end))
    return {unit: tuple(spans) for unit, spans in out.items()}


def literal_place(evidence: Evidence, written: str, amount: bool) -> Place | None:
    """Where the evidence holds `written` as a whole token, and, of an amount, was not read as another one; or None."""
    text = plain(written).strip("`*.,;:()[]\"' ")
    if len(text) < 2 or (
        amount and not text.replace(".", "").replace(",", "").isdigit() and _FIRST_NUMBER.fullmatch(text)
    ):
        return None
    if amount and len(re.sub(r"\D", "", text)) < 2:
        return None
    for index, unit in enumerate(_plain_units(evidence)):
        at = unit.find(text)
        while at >= 0:
            read = amount and any(s < at + len(text) and at < e for s, e in _amounts(evidence).get(index, ()))
            if not read and _is_whole(unit, at, at + len(text)):
                return Place(index, at, at + len(text))
            at = unit.find(text, at + 1)
    return None


def stands_anywhere(evidence: Evidence, written: str) -> bool:
    """Whether some unit or heading of the evidence has `written` in these letters, as whole words."""
    text = " ".join(plain(written).casefold().split()).strip("`*.,;:()[]\"' |")
    if not text:
        return True
    pattern = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
    return any(pattern.search(unit) for unit in _folded(evidence))


@lru_cache(maxsize=8)
def _folded(evidence: Evidence) -> tuple[str, ...]:
    texts = {text for unit in evidence.units for text in (unit.text, *unit.context)}
    return tuple(" ".join(plain(text).casefold().split()) for text in sorted(texts))


def _is_whole(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    if (text[start].isalnum() and before.isalnum() and before < "\u0600") or (
        text[end - 1].isalnum() and after.isalnum() and after < "\u0600"
    ):
        return False
    if text[start].isdigit() and before and before in ".," and text[start - 2 : start - 1].isdigit():
        return False
    if text[start].isdigit() and before in ("-", "−") and not text[start - 2 : start - 1].isalnum():
        return False
    return not (text[end - 1].isdigit() and after and after in ".," and text[end + 1 : end + 2].isdigit())
