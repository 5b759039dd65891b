"""Texts that make a regular expression work: each of its repeats, fed until it must give up.

A backtracking engine is slow where a repeat can give its characters back in many ways. So for each repeat of
an expression this writes the shortest text that reaches it, then what the repeat eats, many times, then
something that nothing eats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

try:
    from re import _constants as sre
    from re import _parser as sre_parse
except ImportError:  # Python 3.10
    import sre_constants as sre
    import sre_parse

NOTHING_EATS = "\0"
FROM_REPEATS = 24  # a repeat of fewer can give back no more than a constant
_SIGNS = " \n\taA1z.,;:-–_*#|`\"'“”‘«([{<>)]}=+/\\~@%$?!。日é\0"
_MOST_SIGNS = 5


@dataclass(frozen=True, slots=True)
class Attack:
    """What is written once, what many times, and what ends it."""

    before: str
    unit: str
    after: str

    def write(self, size: int) -> str:
        return self.before + self.unit * (size // len(self.unit)) + self.after


def attacks(pattern: re.Pattern[str]) -> tuple[Attack, ...]:
    """The texts for each long repeat of `pattern`, each once; none for a pattern without one."""
    found: dict[Attack, None] = {}
    for before, eaten in _repeats(list(sre_parse.parse(pattern.pattern, pattern.flags))):
        for unit in filter(None, eaten):
            found[Attack(before, unit, NOTHING_EATS)] = None
            found[Attack("", unit, NOTHING_EATS)] = None
            found[Attack("", before + unit, "")] = None
            found[Attack("", before + unit, NOTHING_EATS)] = None
    return tuple(found)


def _repeats(nodes: Sequence[tuple[Any, Any]]) -> Iterator[tuple[str, list[str]]]:
    """(the shortest text before it, what it eats) of each long repeat, also the inner ones."""
    for index, (kind, value) in enumerate(nodes):
        before = "".join(_shortest(*node) for node in nodes[:index])
        for inner in _inner(kind, value):
            yield from ((before + first, eaten) for first, eaten in _repeats(list(inner)))
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", None)):
            _, most, body = value
            if most == sre.MAXREPEAT or most >= FROM_REPEATS:
                yield before, _units(list(body))


def _inner(kind: Any, value: Any) -> list[Any]:
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", None)):
        return [value[2]]
    if kind == sre.SUBPATTERN:
        return [value[3]]
    if kind == sre.BRANCH:
        return list(value[1])
    if kind in (sre.ASSERT, sre.ASSERT_NOT):
        return [value[1]]
    return [value] if kind == getattr(sre, "ATOMIC_GROUP", None) else []


def _units(body: Sequence[tuple[Any, Any]]) -> list[str]:
    """Some different texts that one turn of a repeat eats."""
    if len(body) == 1:
        kind, value = body[0]
        if kind in (sre.IN, sre.NOT_LITERAL, sre.ANY):
            return [sign for sign in _SIGNS if _eats(kind, value, sign)][:_MOST_SIGNS]
        if kind == sre.BRANCH:
            return ["".join(_shortest(*node) for node in branch) for branch in value[1]][:_MOST_SIGNS]
        if kind == sre.SUBPATTERN:
            return _units(list(value[3]))
    return ["".join(_shortest(*node) for node in body)]


def _shortest(kind: Any, value: Any) -> str:
    """A short text that the node matches; where a repeat may be empty, one turn of it."""
    if kind == sre.LITERAL:
        return chr(value)
    if kind in (sre.IN, sre.NOT_LITERAL, sre.ANY):
        return next((sign for sign in "a1 " + _SIGNS if _eats(kind, value, sign)), "a")
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", None)):
        least, _, body = value
        return "".join(_shortest(*node) for node in body) * least
    if kind == sre.SUBPATTERN:
        return "".join(_shortest(*node) for node in value[3])
    if kind == sre.BRANCH:
        return "".join(_shortest(*node) for node in value[1][0])
    return ""


def _eats(kind: Any, value: Any, sign: str) -> bool:
    code = ord(sign)
    if kind == sre.ANY:
        return sign != "\n"
    if kind == sre.NOT_LITERAL:
        return code != value
    negated = value[0][0] == sre.NEGATE
    return any(_in_item(item, sign, code) for item in value[negated:]) != negated


def _in_item(item: tuple[Any, Any], sign: str, code: int) -> bool:
    kind, value = item
    if kind == sre.LITERAL:
        return code == value
    if kind == sre.RANGE:
        return value[0] <= code <= value[1]
    return {
        sre.CATEGORY_DIGIT: sign.isdigit(),
        sre.CATEGORY_NOT_DIGIT: not sign.isdigit(),
        sre.CATEGORY_SPACE: sign.isspace(),
        sre.CATEGORY_NOT_SPACE: not sign.isspace(),
        sre.CATEGORY_WORD: sign.isalnum() or sign == "_",
        sre.CATEGORY_NOT_WORD: not (sign.isalnum() or sign == "_"),
    }[value]
