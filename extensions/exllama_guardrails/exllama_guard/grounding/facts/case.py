"""One statement before its evidence: what of it says the same as a value, and what could stand in its place."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.grounding.facts.compare import (
    is_loose,
    one_place,
    same,
    same_but_sign,
)
from exllama_guard.grounding.facts.cues import cues_of
from exllama_guard.grounding.facts.dates import Date
from exllama_guard.grounding.facts.derive import derived
from exllama_guard.grounding.facts.evidence import Evidence, Mention, affinity, around_of
from exllama_guard.grounding.facts.identifiers import Token
from exllama_guard.grounding.facts.operands import Operand, Result
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.reading import Value, values_of
from exllama_guard.grounding.facts.terms import stems_of
from exllama_guard.grounding.facts.times import Clock
from exllama_guard.grounding.facts.values import Fact, FactKind, Place, Status

MOST_VALUES = 60  # of one statement
_MOST_SUMMED = 24  # values of a statement beyond which it lists numbers and works nothing out


_QUESTION, _EARLIER = 0.25, 0.2  # weights of the words of the question and of the text before


_ASKED = 0.7  # of the question's words where the statement is a bare value


_LOOSE = 0.2  # affinity from which a number alone, without its unit or noun, is the same amount


@dataclass(frozen=True, slots=True)
class Case:
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
class Found:
    """What the evidence has for one value: those that say the same and those that say something else."""

    value: Value
    text: str
    around: dict[str, float]
    equal: tuple[tuple[float, Mention], ...]
    rivals: tuple[tuple[float, Mention], ...]


def plainly_held(case: Case, value: Value, place: Place | None = None) -> Fact:
    """HELD without much weight: said by the question, or held in another way than value by value."""
    text = case.statement[value.start : value.end].strip(" *")
    return Fact(kind_of(value), Status.HELD, text, value.start, value.end, (place,) if place else (), "", 0.3)


def found_for(case: Case, value: Value) -> Found:
    """What the evidence has for one value, the best first."""
    around = words_around(case, value)
    equal, rivals = [], []
    mute = not any(stem in case.evidence.telling for stem, weight in around.items() if weight > _QUESTION)
    for mention in case.evidence.like(value):
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
    return Found(value, text, around, tuple(equal), tuple(rivals))


def _bare_pair(mine: Value, theirs: Value) -> bool:
    """Two plain numbers: cells of a table may stand in for each other without a noun."""
    if isinstance(mine, Token) and mine.shape.startswith("labelled") and isinstance(theirs, Quantity):
        return not theirs.dimension
    if not isinstance(mine, Quantity) or not isinstance(theirs, Quantity) or mine.ordinal or theirs.ordinal:
        return False
    return not (mine.in_words or mine.dimension or theirs.dimension or theirs.nouns or mine.label)


def _in_a_sum(text: str, value: Value) -> bool:
    """Whether an operator of a written sum stands beside a value."""
    before, after = text[: value.start].rstrip(" *$€£("), text[value.end :].lstrip(" *)")
    return before.endswith(("×", "+", "÷", "=", "−", "x")) or after.startswith(
        ("×", "+", "÷", "=", "−", "x ")
    )


def words_around(case: Case, value: Value) -> dict[str, float]:
    """The words that say what a value of the statement is of, those of its row and column where it is in a table."""
    text = case.plain
    out = _cell_words(case, value) if text.count("|") else around_of(text, value.start, value.end)
    asked = _QUESTION if len(stems_of(case.plain)) > 3 else _ASKED
    for stem in stems_of(case.question):
        out[stem] = max(out.get(stem, 0.0), asked)
    for stem in stems_of(case.before[-200:]):
        out[stem] = max(out.get(stem, 0.0), _EARLIER)
    return out


def _cell_words(case: Case, value: Value) -> dict[str, float]:
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


def kind_of(value: Value) -> FactKind:
    """The kind of fact that a value is."""
    if isinstance(value, Date):
        return FactKind.DATE
    if isinstance(value, Clock):
        return FactKind.TIME
    return FactKind.IDENTIFIER if isinstance(value, Token) else FactKind.QUANTITY


def place_of(mention: Mention) -> Place:
    """Where a mention stands."""
    return Place(mention.unit, mention.start, mention.end)


def follows(case: Case, found: Found) -> Result | None:
    """How a value follows from others of the statement and of the evidence near it, or None."""
    if len(case.values) > _MOST_SUMMED:
        return None
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


def _mention_of(case: Case, value: Value) -> tuple[Mention | None, float, str]:
    found = next((m for m in case.evidence.mentions if m.unit in case.near and same(value, m.value)), None)
    return found, 1.0, case.evidence.units[found.unit].snippet_id if found is not None else ""


def _near_operands(case: Case, found: Found) -> list[Operand]:
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
