"""The numbers of a statement, each held against the evidence in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from exllama_guard.grounding.facts.arithmetic import equations_of
from exllama_guard.grounding.facts.bounds import OPPOSITE
from exllama_guard.grounding.facts.changes import changes_of
from exllama_guard.grounding.facts.compare import (
    is_loose,
    one_number_of_two_units,
    one_place,
    same,
    same_but_sign,
)
from exllama_guard.grounding.facts.counts import counted
from exllama_guard.grounding.facts.dates import Date, is_span, weekday_spans
from exllama_guard.grounding.facts.derive import Operand, Result, asks_for_a_sum, cues_of, derived
from exllama_guard.grounding.facts.evidence import Evidence, Mention, affinity, around_of, evidence_of
from exllama_guard.grounding.facts.identifiers import Token
from exllama_guard.grounding.facts.languages import language_of
from exllama_guard.grounding.facts.literal import literal_place, stands_anywhere
from exllama_guard.grounding.facts.quantities import Quantity, without_markers
from exllama_guard.grounding.facts.reading import MOST_CHARACTERS, Value, values_of
from exllama_guard.grounding.facts.terms import stems_of
from exllama_guard.grounding.facts.times import Clock
from exllama_guard.grounding.facts.values import Fact, FactKind, Place, Status, Unit

_MOST_VALUES = 60  # of one statement
_QUESTION, _EARLIER = 0.25, 0.2  # weights of the words of the question and of the text before
_ASKED = 0.7  # of the question's words where the statement is a bare value
_RIVAL, _CLEARLY = 0.45, 0.5  # affinity of a rival; share of it that an equal value must reach
_PLACE, _GAP, _WIDE_GAP = (
    0.4,
    0.3,
    0.45,
)  # affinity of a rival, and by how much it must be ahead of an equal value
_ONE_TABLE = 0.15  # the same where both stand in one table
_CROSSWISE = 0.3  # by how much two swapped values fit better in each other's place
_SURE = 0.75  # strength from which a result is meant
_LOOSE = 0.2  # affinity from which a number alone, without its unit or noun, is the same amount
_SMALL = 12  # counts up to here that are written in words are seldom literal in the evidence


@dataclass(frozen=True, slots=True)
class _Case:
    """One statement and what it is held against."""

    statement: str
    plain: str
    question: str
    before: str
    evidence: Evidence
    near: tuple[int, ...]
    values: tuple[Value, ...]
    language: str


@dataclass(frozen=True, slots=True)
class _Found:
    """What the evidence has for one value: those that say the same and those that say something else."""

    value: Value
    text: str
    around: dict[str, float]
    equal: tuple[tuple[float, Mention], ...]
    rivals: tuple[tuple[float, Mention], ...]


def number_facts(
    statement: str,
    units: Sequence[Unit],
    near: Sequence[int],
    *,
    question: str = "",
    before: str = "",
    language: str = "en",
) -> tuple[Fact, ...]:
    """The amounts, dates, times, identifiers and counts of `statement` in order, each with its standing."""
    statement = statement[:MOST_CHARACTERS]
    spoken = language_of(statement, language)
    evidence = evidence_of(units, language)
    valid = tuple(i for i in near if 0 <= i < len(evidence.units))
    values = values_of(statement, spoken)[:_MOST_VALUES]
    case = _Case(
        statement, without_markers(statement), question, before[-600:], evidence, valid, values, spoken
    )
    equations = [*_equation_facts(case), *_change_facts(case)]
    facts = list(equations)
    for value in values:
        if any(value.start < f.end and f.start < value.end for f in equations):
            continue
        fact = _fact(case, value)
        if fact is not None:
            facts.append(fact)
    return tuple(sorted(facts, key=lambda f: (f.start, f.end)))


def _equation_facts(case: _Case) -> list[Fact]:
    out = []
    for one in equations_of(case.statement):
        right = case.statement[one.right_start : one.end].strip(" *")
        if one.holds:
            start = one.right_start
            reason = f"{one.left} = {right}, computed from the answer's own numbers."
            out.append(
                Fact(FactKind.QUANTITY, Status.COMPUTED, right, start, start + len(right), (), reason, 0.8)
            )
            continue
        reason = f"The answer says that {one.left} is {one.right}; it is {_shown(one.value)}."
        start = one.right_start
        out.append(
            Fact(FactKind.QUANTITY, Status.CONFLICT, right, start, start + len(right), (), reason, 0.9)
        )
    return out


def _change_facts(case: _Case) -> list[Fact]:
    """Multiples and percentages that the statement's own two amounts settle."""
    out = []
    for one in changes_of(case.plain, case.values):
        text = case.statement[one.told.start : one.told.end].strip()
        pair = f"{one.first.text} to {one.second.text}"
        if one.holds:
            status, reason = Status.COMPUTED, f"{text}: from {pair}, computed from the answer's own numbers."
        else:
            status, reason = Status.CONFLICT, f"The answer says “{text}” of {pair}; that is {one.right}."
        out.append(Fact(FactKind.QUANTITY, status, text, one.told.start, one.told.end, (), reason, 0.8))
    return out


def _shown(value: float) -> str:
    return f"{value:,.10g}" if abs(value) < 1e15 else f"{value:g}"


def _fact(case: _Case, value: Value) -> Fact | None:
    if _is_no_claim(case, value):
        return None
    if any(same(value, asked) for asked in values_of(case.question, case.language)) and not isinstance(
        value, Date
    ):
        return _plainly_held(case, value)
    found = _found(case, value)
    if found.equal:
        return _held(case, found)
    return _not_held(case, found)


def _plainly_held(case: _Case, value: Value, place: Place | None = None) -> Fact:
    text = case.statement[value.start : value.end].strip(" *")
    return Fact(_kind(value), Status.HELD, text, value.start, value.end, (place,) if place else (), "", 0.3)


def _is_no_claim(case: _Case, value: Value) -> bool:
    """Discourse ("first, …"), soft amounts ("a day") and what the question or the text before already says."""
    if isinstance(value, Quantity):
        if value.soft:
            return True
        if value.in_range and re.search(
            r"\(\d{1,2}[-–:]\d{1,2}\)", case.plain[max(0, value.start - 4) : value.end + 4]
        ):
            return True  # the score at that moment
        if value.ordinal and value.in_words and value.value <= 3 and not value.nouns:
            return True
    return False


def _found(case: _Case, value: Value) -> _Found:
    around = _around(case, value)
    equal, rivals = [], []
    mute = not any(stem in case.evidence.telling for stem, weight in around.items() if weight > _QUESTION)
    for mention in case.evidence.mentions:
        if same(value, mention.value):
            fit = affinity(around, mention, case.evidence.telling)
            if is_loose(value, mention.value):
                near_by = mention.unit in case.near[:2] or _in_a_sum(case.plain, value)
                plain_one = isinstance(mention.value, Quantity) and not (
                    mention.value.nouns or mention.value.dimension
                )
                bare = near_by or plain_one
                if fit < (_LOOSE / 2 if bare else _LOOSE) and not mute:
                    continue
                fit *= 0.9
            equal.append((fit, mention))
        elif same_but_sign(value, mention.value, case.plain):
            equal.append((affinity(around, mention, case.evidence.telling), mention))
        elif one_place(value, mention.value) or (
            mention.spot is not None and _bare_pair(value, mention.value)
        ):
            rivals.append((affinity(around, mention, case.evidence.telling), mention))
    equal.sort(key=lambda pair: -pair[0])
    rivals.sort(key=lambda pair: -pair[0])
    text = case.statement[value.start : value.end].strip(" *")
    return _Found(value, text, around, tuple(equal), tuple(rivals))


def _bare_pair(mine: Value, theirs: Value) -> bool:
    """Two plain numbers: cells of a table may stand in for each other without a noun."""
    if isinstance(mine, Token) and mine.shape.startswith("labelled") and isinstance(theirs, Quantity):
        return not theirs.dimension
    if not isinstance(mine, Quantity) or not isinstance(theirs, Quantity) or mine.ordinal or theirs.ordinal:
        return False
    return not (mine.dimension or theirs.dimension or theirs.nouns or mine.label)


def _in_a_sum(text: str, value: Value) -> bool:
    """Whether an operator of a written sum stands beside a value."""
    before, after = text[: value.start].rstrip(" *$€£("), text[value.end :].lstrip(" *)")
    return before.endswith(("×", "+", "÷", "=", "−", "x")) or after.startswith(
        ("×", "+", "÷", "=", "−", "x ")
    )


def _around(case: _Case, value: Value) -> dict[str, float]:
    """The words that say what a value of the statement is of, those of its row and column where it is in a table."""
    text = case.plain
    out = _cell_words(case, value) if text.count("|") else around_of(text, value.start, value.end)
    asked = _QUESTION if len(stems_of(case.plain)) > 3 else _ASKED
    for stem in stems_of(case.question):
        out[stem] = max(out.get(stem, 0.0), asked)
    for stem in stems_of(case.before[-200:]):
        out[stem] = max(out.get(stem, 0.0), _EARLIER)
    return out


def _cell_words(case: _Case, value: Value) -> dict[str, float]:
    text = case.plain
    edges = [i for i, c in enumerate(text) if c == "|"]
    column = sum(edge < value.start for edge in edges)
    cells = text.split("|")
    out = dict.fromkeys(stems_of(cells[0]), 1.0) if column else {}
    low, high = (
        (edges[column - 1] + 1 if column else 0),
        (edges[column] if column < len(edges) else len(text)),
    )
    out.update(around_of(text[low:high], value.start - low, value.end - low))
    head = _table_head(case.before)
    shift = len(head) - len(cells)
    if head and 0 <= column + max(0, shift) < len(head):
        for stem in stems_of(head[column + max(0, shift)]):
            out[stem] = 1.0
    return out


def _table_head(before: str) -> list[str]:
    lines = before.rstrip().split("\n")
    block: list[str] = []
    for line in reversed(lines):
        if "|" not in line:
            break
        block.append(line)
    return [cell.strip(" *") for cell in block[-1].strip().strip("|").split("|")] if block else []


def _kind(value: Value) -> FactKind:
    if isinstance(value, Date):
        return FactKind.DATE
    if isinstance(value, Clock):
        return FactKind.TIME
    return FactKind.IDENTIFIER if isinstance(value, Token) else FactKind.QUANTITY


def _place(mention: Mention) -> Place:
    return Place(mention.unit, mention.start, mention.end)


def _held(case: _Case, found: _Found) -> Fact:
    """HELD, unless its place in the evidence has another value, or another bound."""
    best, mention = found.equal[0]
    clash = _bound_clash(case, found) or _zone_clash(case, found) or _misplaced(case, found)
    if clash is not None:
        return clash
    return Fact(
        _kind(found.value),
        Status.HELD,
        found.text,
        found.value.start,
        found.value.end,
        tuple(_place(m) for _, m in found.equal[:3]),
        "",
        0.5 + best / 2,
    )


def _conflict(
    case: _Case,
    found: _Found,
    mention: Mention,
    kind: FactKind,
    weight: float,
    mine: str = "",
    theirs: str = "",
) -> Fact | None:
    """The answer's and the evidence's texts side by side; None where they read the same."""
    mine, theirs = mine or found.text, theirs or case.evidence.text_of(mention).strip()
    if _bare(mine) == _bare(theirs):
        return None
    snippet = case.evidence.units[mention.unit].snippet_id
    reason = f"The answer says “{mine}”; snippet {snippet} says “{theirs}”."
    return Fact(
        kind,
        Status.CONFLICT,
        found.text,
        found.value.start,
        found.value.end,
        (_place(mention),),
        reason,
        weight,
    )


def _bare(text: str) -> str:
    return " ".join(without_markers(text).casefold().split())


def _bound_clash(case: _Case, found: _Found) -> Fact | None:
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
    return _conflict(case, found, theirs, FactKind.COMPARATOR, 0.8, mine_text, their_text)


def _complementary(mine: str, theirs: str) -> bool:
    """ "under 12 are not admitted" and "at least 12": the same rule from both sides."""
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


def _zone_clash(case: _Case, found: _Found) -> Fact | None:
    mine = found.value
    if not isinstance(mine, Clock) or not mine.zone:
        return None
    zones = [m for _, m in found.equal if isinstance(m.value, Clock) and m.value.zone]
    if not zones or any(isinstance(m.value, Clock) and m.value.zone == mine.zone for m in zones):
        return None
    if len(zones) < len(found.equal) and found.equal[0][1] not in zones:
        return None
    return _conflict(case, found, zones[0], FactKind.TIME, 0.8)


def _misplaced(case: _Case, found: _Found) -> Fact | None:
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
    if rival.spot is not None and not _column_is_meant(case, found, rival):
        return None
    if _also_told(case, found, rival):
        return None
    result = _follows(case, found)
    if result is not None and result.strength >= _SURE:
        return None
    kind = FactKind.TABLE if rival.spot is not None else _kind(found.value)
    return _conflict(case, found, rival, kind, min(0.9, 0.35 + gap * 0.8))


def _column_is_meant(case: _Case, found: _Found, rival: Mention) -> bool:
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


def _also_told(case: _Case, found: _Found, rival: Mention) -> bool:
    """Whether the answer gives the rival's value as well, for something else, and the two are not swapped."""
    other = next((v for v in case.values if v is not found.value and same(v, rival.value)), None)
    if other is not None:
        return not _swapped(case, found, rival, other)
    return any(same(v, rival.value) for v in values_of(case.before[-300:], case.language))


def _swapped(case: _Case, found: _Found, rival: Mention, other: Value) -> bool:
    """Whether two values of the statement fit crosswise far better than as they stand."""
    straight, mention = found.equal[0]
    around = _around(case, other)
    straight += max(
        affinity(around, m, case.evidence.telling) for m in case.evidence.mentions if same(other, m.value)
    )
    crosswise = found.rivals[0][0] + affinity(around, mention, case.evidence.telling)
    return mention.unit != rival.unit and one_place(other, found.value) and crosswise - straight >= _CROSSWISE


def _not_held(case: _Case, found: _Found) -> Fact | None:
    value = found.value
    swapped = _other_unit(case, found, 0.3)
    if swapped is not None:
        return swapped
    result = _follows(case, found)
    if result is not None:
        reason = f"{result.formula} = {found.text}, computed from {_sources(case, result)}."
        places = tuple(_place(o.mention) for o in result.operands if o.mention is not None)
        return Fact(
            _kind(value),
            Status.COMPUTED,
            found.text,
            value.start,
            value.end,
            places,
            reason,
            min(1.0, result.strength),
        )
    place = literal_place(case.evidence, found.text, isinstance(value, Quantity))
    if place is not None:
        return _plainly_held(case, value, place)
    told = _told_otherwise(case, found)
    if told is not None:
        return told
    unit = _other_unit(case, found, 0.2)
    if unit is not None:
        return unit
    if (
        found.rivals
        and _stands_in_place(found)
        and _column_is_meant(case, found, found.rivals[0][1])
        and not _scaled(found)
        and not asks_for_a_sum(case.plain)
    ):
        fact = _conflict(case, found, found.rivals[0][1], _kind(value), min(0.9, 0.35 + found.rivals[0][0]))
        if fact is not None:
            return fact
    if _is_slight(case, value):
        return _plainly_held(case, value)
    return Fact(
        _kind(value), Status.ABSENT, found.text, value.start, value.end, (), _absent_reason(case, found), 0.6
    )


def _absent_reason(case: _Case, found: _Found) -> str:
    """What is not in the documents, with as many words as make it true of their text."""
    start, end = found.value.start, found.value.end
    for following in re.finditer(r"\S+", case.statement[end : end + 60]):
        if not stands_anywhere(case.evidence, case.statement[start:end]):
            break
        end = found.value.end + following.end()
    text = " ".join(case.statement[start:end].split()).strip(" *.,;:|")
    if stands_anywhere(case.evidence, text):
        return f"“{text}” stands in the documents, but not for what the answer says of it."
    if isinstance(found.value, Token):
        return f"“{text}” is not in the documents."
    return f"“{text}” is not in the documents, and it was not found to follow from what is."


def _scaled(found: _Found) -> bool:
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
_SLIGHT_LABELS = frozenset(
    f"labelled {w}"
    for w in "section chapter ch sec page p step § source figure fig table appendix annex row kapitel abschnitt sección chapitre sezione secção раздел line".split()
)


def _is_slight(case: _Case, value: Value) -> bool:
    """What a text need not hold to be right: the number of its section, "three things:" before a list, "first"."""
    if isinstance(value, Token):
        alone = (
            value.shape in ("file", "url")
            and len(stems_of(case.plain[: value.start] + case.plain[value.end :])) < 2
        )
        return alone or value.shape in _SLIGHT_LABELS
    if not isinstance(value, Quantity) or value.dimension or value.value > _SMALL:
        return False
    return (value.ordinal and value.in_words) or case.plain.rstrip(" *").endswith((":", "："))


def _stands_in_place(found: _Found) -> bool:
    if isinstance(found.value, Token) and found.value.shape in _UNLIKE:
        return False
    top = found.rivals[0][0]
    second = next((a for a, m in found.rivals[1:] if not same(m.value, found.rivals[0][1].value)), 0.0)
    return top >= _RIVAL and second <= 0.85 * top


def _sources(case: _Case, result: Result) -> str:
    names = dict.fromkeys(
        case.evidence.units[o.mention.unit].snippet_id for o in result.operands if o.mention is not None
    )
    return " and ".join(names) or "the answer's own numbers"


def _other_unit(case: _Case, found: _Found, least: float) -> Fact | None:
    """The evidence has this very number with another unit, sign or currency."""
    for mention in case.evidence.mentions:
        if not one_number_of_two_units(found.value, mention.value):
            continue
        fit = affinity(found.around, mention, case.evidence.telling)
        if fit >= least or (fit >= least / 2 and mention.unit in case.near[:1]):
            fact = _conflict(case, found, mention, FactKind.QUANTITY, min(0.9, 0.5 + fit))
            if fact is not None:
                return fact
    return None


def _told_otherwise(case: _Case, found: _Found) -> Fact | None:
    """Held in another way: a weekday in a span, a count of a list, an amount within the statement's bound."""
    value = found.value
    if isinstance(value, Date) and value.weekday is not None and value.day is None:
        for index in range(len(case.evidence.units)):
            text = case.evidence.units[index].text
            if value.weekday in weekday_spans(
                text, tuple(d for d in values_of(text, case.language) if isinstance(d, Date))
            ):
                return Fact(
                    FactKind.DATE,
                    Status.HELD,
                    found.text,
                    value.start,
                    value.end,
                    (Place(index, 0, len(text)),),
                    "",
                    0.4,
                )
    if isinstance(value, Date) and value.day is not None:
        return _in_a_span(case, found, value)
    if isinstance(value, Quantity):
        return _bounded(case, found, value) or _as_count(case, found, value)
    return None


def _in_a_span(case: _Case, found: _Found, value: Date) -> Fact | None:
    """A day between two that the evidence joins: "6 October" of "5 to 7 October"."""
    dates = [m for m in case.evidence.mentions if isinstance(m.value, Date)]
    for first, second in zip(dates, dates[1:], strict=False):
        gap = (
            case.evidence.units[first.unit].text[first.end : second.start]
            if first.unit == second.unit
            else " " * 20
        )
        if (
            len(gap) > 12
            or not is_span(gap)
            or not isinstance(first.value, Date)
            or not isinstance(second.value, Date)
        ):
            continue
        low, mine, high = (d.as_day(2023) for d in (first.value, value, second.value))
        if low is not None and mine is not None and high is not None and low < mine < high:
            return _plainly_held(case, value, _place(first))
    return None


def _bounded(case: _Case, found: _Found, value: Quantity) -> Fact | None:
    """ "more than 100" of 120: an amount of the evidence keeps to the bound, and nothing near it breaks it."""
    if not value.bound and not value.in_range:
        return None
    for fit, mention in found.rivals[:4]:
        other = mention.value
        if fit >= 0.25 and isinstance(other, Quantity) and other.value and _keeps(value, other):
            return Fact(
                FactKind.COMPARATOR,
                Status.HELD,
                found.text,
                value.start,
                value.end,
                (_place(mention),),
                "",
                0.4,
            )
    return None


def _keeps(bound: Quantity, other: Quantity) -> bool:
    low, high = sorted((abs(bound.value), abs(other.value)))
    if not low or high / low > 2:
        return False
    if bound.in_range:
        return high / low < 1.25
    return other.value > bound.value if bound.bound in (">", ">=") else other.value < bound.value


def _as_count(case: _Case, found: _Found, value: Quantity) -> Fact | None:
    if value.dimension or value.ordinal:
        return None
    how = counted(value.value, case.statement, case.evidence, case.near[:4])
    if not how:
        return None
    clear = [r for r in found.rivals if r[0] >= _RIVAL]
    if (
        clear
        and isinstance(clear[0][1].value, Quantity)
        and set(clear[0][1].value.nouns[:2]) & set(value.nouns[:2])
    ):
        return None
    return Fact(
        FactKind.COUNT, Status.COMPUTED, found.text, value.start, value.end, (), f"{found.text}: {how}.", 0.4
    )


def _follows(case: _Case, found: _Found) -> Result | None:
    own = [
        Operand(v, case.statement[v.start : v.end].strip(" *"), *_mention_of(case, v), True)
        for v in case.values
        if v is not found.value
        and not (isinstance(v, Quantity) and v.soft and v.dimension not in ("percent", "times"))
    ]
    said = case.before[-300:]
    earlier = [
        Operand(v, text[v.start : v.end].strip(" *"), None, weight)
        for text, weight in ((case.question, 0.9), (said, 0.7))
        for v in values_of(text, case.language)[-6:]
        if not isinstance(v, Token) and not (isinstance(v, Quantity) and v.soft)
    ]
    near = [*earlier, *_near_operands(case, found)]
    return derived(found.value, own, near, cues_of(case.plain + " " + case.question), case.evidence)


def _mention_of(case: _Case, value: Value) -> tuple[Mention | None, float, str]:
    found = next((m for m in case.evidence.mentions if m.unit in case.near and same(value, m.value)), None)
    return found, 1.0, case.evidence.units[found.unit].snippet_id if found is not None else ""


def _near_operands(case: _Case, found: _Found) -> list[Operand]:
    """Values of the evidence that bear on the statement, best first."""
    rank = {unit: place for place, unit in enumerate(case.near)}
    scored = []
    for mention in case.evidence.mentions:
        if isinstance(mention.value, Token):
            continue
        fit = affinity(found.around, mention, case.evidence.telling)
        close_by = 0.5 / (1 + rank[mention.unit]) if mention.unit in rank else 0.0
        score = min(1.0, fit * 1.4 + close_by)
        if score > 0.08:
            scored.append((score, mention))
    scored.sort(key=lambda pair: (-pair[0], pair[1].key))
    return [
        Operand(m.value, case.evidence.text_of(m).strip(), m, s, case.evidence.units[m.unit].snippet_id)
        for s, m in scored[:22]
    ]
