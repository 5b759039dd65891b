"""Where the evidence says something else: another bound, zone, unit or place."""

from __future__ import annotations

import re

from exllama_guard.grounding.facts.bounds import OPPOSITE
from exllama_guard.grounding.facts.case import Case, Found, follows, kind_of, place_of, words_around
from exllama_guard.grounding.facts.compare import (
    one_number_of_two_units,
    one_place,
    same,
)
from exllama_guard.grounding.facts.evidence import Mention, affinity
from exllama_guard.grounding.facts.identifiers import Token
from exllama_guard.grounding.facts.quantities import Quantity, without_markers
from exllama_guard.grounding.facts.reading import Value, values_of
from exllama_guard.grounding.facts.terms import stems_of
from exllama_guard.grounding.facts.times import Clock
from exllama_guard.grounding.facts.values import Fact, FactKind, Status

RIVAL, _CLEARLY = 0.45, 0.5  # affinity of a rival; share of it that an equal value must reach


_PLACE, _GAP, _WIDE_GAP = (
    0.4,
    0.3,
    0.45,
)  # affinity of a rival, and by how much it must be ahead of an equal value


_ONE_TABLE = 0.15  # the same where both stand in one table


_CROSSWISE = 0.3  # by how much two swapped values fit better in each other's place


_SURE = 0.75  # strength from which a result is meant


def conflict(
    case: Case,
    found: Found,
    mention: Mention,
    kind: FactKind,
    weight: float,
    mine: str = "",
    theirs: str = "",
) -> Fact | None:
    """The answer's and the evidence's texts side by side; None where they read the same."""
    mine, theirs = mine or found.text, theirs or case.evidence.text_of(mention).strip()
    if (
        _bare(mine) == _bare(theirs)
        or _one_number(found.value, mention.value)
        or _other_zone(found.value, mention.value)
    ):
        return None
    snippet = case.evidence.units[mention.unit].snippet_id
    reason = f"The answer says “{mine}”; snippet {snippet} says “{theirs}”."
    return Fact(
        kind,
        Status.CONFLICT,
        found.text,
        found.value.start,
        found.value.end,
        (place_of(mention),),
        reason,
        weight,
    )


def _one_number(mine: Value, theirs: Value) -> bool:
    """Whether both write one number and one of them leaves out the unit: no other value."""
    if (
        not isinstance(mine, Quantity)
        or not isinstance(theirs, Quantity)
        or mine.shown != theirs.shown
        or mine.bound
    ):
        return False
    return not (mine.dimension and theirs.dimension)


def _other_zone(mine: Value, theirs: Value) -> bool:
    """Whether two clock times may be one moment told in two zones."""
    if not isinstance(mine, Clock) or not isinstance(theirs, Clock) or mine.zone == theirs.zone:
        return False
    return mine.minutes != theirs.minutes and (mine.minutes - theirs.minutes) % 60 == 0


def _bare(text: str) -> str:
    return " ".join(without_markers(text).casefold().split())


def bound_clash(case: Case, found: Found) -> Fact | None:
    """Opposite bounds of one amount: "at least 10" beside "at most 10"."""
    mine = found.value
    if not isinstance(mine, Quantity) or not mine.bound or mine.in_range:
        return None
    if re.match(
        r"\s?(?:minimum|maximum|limit|threshold|mark|cap|barrier|line)\b",
        case.plain[mine.end : mine.end + 14],
    ):
        return None  # another amount is compared with this one
    best = found.equal[0][0]
    near = [(a, m) for a, m in found.equal if isinstance(m.value, Quantity) and a >= 0.6 * best]
    if not near or any(
        m.value.bound not in OPPOSITE[mine.bound] for _, m in near if isinstance(m.value, Quantity)
    ):
        return None
    theirs = near[0][1]
    if (
        not isinstance(theirs.value, Quantity)
        or theirs.value.in_range
        or _complementary(mine.bound, theirs.value.bound)
    ):
        return None
    mine_text = _with_bound(case.statement, mine)
    their_text = _with_bound(
        case.evidence.units[theirs.unit].text, theirs.value, theirs.start - theirs.value.start
    )
    return conflict(case, found, theirs, FactKind.COMPARATOR, 0.8, mine_text, their_text)


def _complementary(mine: str, theirs: str) -> bool:
    """As in "under 12 are not admitted" and "at least 12": the same rule from both sides."""
    return {mine, theirs} in ({"<", ">="}, {">", "<="})


def _with_bound(text: str, value: Quantity, offset: int = 0) -> str:
    """The amount with up to three words before and two behind it, cut from the text."""
    start, end = value.start + offset, value.end + offset
    before = text[max(0, start - 40) : start]
    words = before.split(" ")[-4:]
    low = start - len(" ".join(words))
    behind = text[end : end + 14].split(" ")
    high = end + len(" ".join(behind[:3])) if behind and behind[0] == "" else end
    return " ".join(text[low:high].split()).strip(" .,;:()*|")


def zone_clash(case: Case, found: Found) -> Fact | None:
    """One time of day in two zones."""
    mine = found.value
    if not isinstance(mine, Clock) or not mine.zone:
        return None
    zones = [m for _, m in found.equal if isinstance(m.value, Clock) and m.value.zone]
    if not zones or any(isinstance(m.value, Clock) and m.value.zone == mine.zone for m in zones):
        return None
    if len(zones) < len(found.equal) and found.equal[0][1] not in zones:
        return None
    return conflict(case, found, zones[0], FactKind.TIME, 0.8)


def misplaced(case: Case, found: Found) -> Fact | None:
    """The value is in the evidence, but where the statement puts it stands another one."""
    best, mention = found.equal[0]
    if not found.rivals or (isinstance(found.value, Token) and found.value.shape in _UNLIKE):
        return None
    top, rival = found.rivals[0]
    rank = {unit: place for place, unit in enumerate(case.near)}
    nearer = rank.get(rival.unit, 9) <= min(rank.get(m.unit, 9) for _, m in found.equal)
    gap = top - best
    together = mention.spot is not None and rival.spot is not None and mention.spot.table == rival.spot.table
    beside = mention.unit == rival.unit and rival.spot is None
    other = next((v for v in case.values if v is not found.value and same(v, rival.value)), None)
    nearer = nearer or (other is not None and _swapped(case, found, rival, other))
    least = _ONE_TABLE if together else _GAP if nearer and not beside else _WIDE_GAP
    if top < _PLACE or gap < least:
        return None
    if rival.spot is not None and not column_is_meant(case, found, rival):
        return None
    if _also_told(case, found, rival):
        return None
    result = follows(case, found)
    if result is not None and result.strength >= _SURE:
        return None
    kind = FactKind.TABLE if rival.spot is not None else kind_of(found.value)
    return conflict(case, found, rival, kind, min(0.9, 0.35 + gap * 0.8))


def column_is_meant(case: Case, found: Found, rival: Mention) -> bool:
    """Whether the statement names the rival's column, or only that column of its row has such values."""
    if rival.spot is None:
        return True
    table = case.evidence.tables[rival.spot.table]
    head = (
        stems_of(table.column_of(table.rows[rival.spot.row], rival.spot.column))
        if rival.spot.row >= 0
        else frozenset()
    )
    if any(found.around.get(stem, 0.0) >= 0.3 for stem in head):
        return True
    if not isinstance(found.value, Quantity) or not found.value.dimension:
        return False
    alike = {
        m.spot.column
        for m in case.evidence.mentions
        if m.spot is not None
        and m.spot.table == rival.spot.table
        and m.spot.row == rival.spot.row
        and one_place(found.value, m.value)
    }
    return len(alike) == 1


def _also_told(case: Case, found: Found, rival: Mention) -> bool:
    """Whether the answer gives the rival's value as well, for something else, and the two are not swapped."""
    other = next((v for v in case.values if v is not found.value and same(v, rival.value)), None)
    if other is not None:
        return not _swapped(case, found, rival, other)
    return any(same(v, rival.value) for v in values_of(case.before[-300:], case.language))


def _swapped(case: Case, found: Found, rival: Mention, other: Value) -> bool:
    """Whether two values of the statement fit crosswise far better than as they stand."""
    straight, mention = found.equal[0]
    around = words_around(case, other)
    straight += max(
        affinity(around, m, case.evidence.telling) for m in case.evidence.mentions if same(other, m.value)
    )
    crosswise = found.rivals[0][0] + affinity(around, mention, case.evidence.telling)
    return mention.unit != rival.unit and one_place(other, found.value) and crosswise - straight >= _CROSSWISE


def is_multiple(found: Found) -> bool:
    """A small multiple or part of what stands there may be meant: twice the recipe, half the price."""
    value, rival = found.value, found.rivals[0][1].value
    if (
        not isinstance(value, Quantity)
        or not isinstance(rival, Quantity)
        or not value.value
        or not rival.value
    ):
        return False
    ratio = abs(value.value / rival.value)
    return any(abs(ratio / k - 1) < 1e-6 or abs(ratio * k - 1) < 1e-6 for k in (2, 3, 4, 5, 6, 8, 12, 1.5))


_UNLIKE = frozenset(("flag", "file", "path", "constant", "name", "url", "mail"))  # one is no slip for another


def stands_in_place(found: Found) -> bool:
    """Whether one other value alone stands where the statement puts this one."""
    if isinstance(found.value, Token) and found.value.shape in _UNLIKE:
        return False
    top = found.rivals[0][0]
    second = next((a for a, m in found.rivals[1:] if not same(m.value, found.rivals[0][1].value)), 0.0)
    return top >= RIVAL and second <= 0.85 * top


def other_unit(case: Case, found: Found, least: float) -> Fact | None:
    """The evidence has this very number with another unit, sign or currency."""
    for mention in case.evidence.mentions:
        if not one_number_of_two_units(found.value, mention.value):
            continue
        fit = affinity(found.around, mention, case.evidence.telling)
        if fit >= least or (fit >= least / 2 and mention.unit in case.near[:1]):
            fact = conflict(case, found, mention, FactKind.QUANTITY, min(0.9, 0.5 + fit))
            if fact is not None:
                return fact
    return None
