"""How likely it is that one value of a statement is wrong, from how it stands to the evidence.

A logistic model over where the same value stands, where other values of its kind stand, and how well each
place fits the words around it. A value that the evidence holds in another place is doubted, one that merely
comes out of some sum is doubted, one that stands nowhere most of all.
Fitted on hand-written ordinary answers with one value changed: docs/decisions/verdict.md.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from exllama_guard.grounding.facts.case import Case, Found
from exllama_guard.grounding.facts.dates import Date
from exllama_guard.grounding.facts.evidence import Mention
from exllama_guard.grounding.facts.identifiers import Token
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.terms import stems_of
from exllama_guard.grounding.facts.times import Clock
from exllama_guard.grounding.facts.values import Fact, Status

DOUBT_FILE = Path(__file__).parent / "data" / "doubt.json"
_FAR = 6  # rank of a unit beyond which it is not near
_MANY = 8
_MOST_PLACES = 4  # of the same value that are looked at
_TELLING = 0.3  # weight from which a word around a value is its own, not the question's
_WEAK, _VERY_WEAK, _LITTLE = 0.75, 0.6, 0.35  # of results, and of the fit of a place


def doubt_of(case: Case, found: Found, fact: Fact) -> float:
    """Probability [0, 1] that the value is not what the evidence says, with as many wrong as right ones."""
    weights = _weights()
    logit = weights[""] + sum(weights.get(name, 0.0) * value for name, value in doubt_features(case, found, fact).items())
    return 1.0 / (1.0 + math.exp(max(-30.0, min(30.0, logit))))


@lru_cache(maxsize=1)
def _weights() -> dict[str, float]:
    loaded: dict[str, float] = json.loads(DOUBT_FILE.read_text(encoding="utf-8"))["weights"]
    return loaded


def doubt_features(case: Case, found: Found, fact: Fact) -> dict[str, float]:
    """Named numbers in [-1, 1] that the model weighs."""
    out = {f"is_{status.value}": float(fact.status is status) for status in Status}
    out |= _of_result(fact) | _of_value(case, found, fact)
    mine = _Place.of(case, found, found.equal)
    theirs = _Place.of(case, found, found.rivals)
    held = fact.status is Status.HELD and bool(found.equal)
    unheld = fact.status in (Status.ABSENT, Status.COMPUTED)
    out["held_plain"] = float(fact.status is Status.HELD and not found.equal)
    out |= {name: value if held else 0.0 for name, value in _of_place(case, found, mine, theirs).items()}
    out["rival_fit"] = max(0.0, theirs.fit) if unheld else 0.0
    out["rival_share"] = max(0.0, theirs.share) if unheld else 0.0
    out["rival_first"] = float(unheld and theirs.rank == 0)
    return out


def _of_result(fact: Fact) -> dict[str, float]:
    computed = fact.status is Status.COMPUTED
    return {
        "result": fact.weight if computed else 0.0,
        "result_weak": float(computed and fact.weight < _WEAK),
        "result_very_weak": float(computed and fact.weight < _VERY_WEAK),
        "conflict": fact.weight if fact.status is Status.CONFLICT else 0.0,
    }


def _of_value(case: Case, found: Found, fact: Fact) -> dict[str, float]:
    value = found.value
    quantity = value if isinstance(value, Quantity) else None
    absent = fact.status is Status.ABSENT
    small = quantity is not None and abs(quantity.value) <= 12
    words = quantity is not None and quantity.in_words
    return {
        "small": float(small),
        "in_words": float(words),
        "unit": float(quantity is not None and bool(quantity.dimension)),
        "ordinal": float(quantity is not None and quantity.ordinal),
        "range": float(quantity is not None and quantity.in_range),
        "bound": float(quantity is not None and bool(quantity.bound)),
        "digits": min(6, sum(sign.isdigit() for sign in found.text)) / 6,
        "date": float(isinstance(value, Date)),
        "clock": float(isinstance(value, Clock)),
        "token": float(isinstance(value, Token)),
        "absent_small": float(absent and small),
        "absent_words": float(absent and words),
        "absent_date": float(absent and isinstance(value, Date)),
        "absent_clock": float(absent and isinstance(value, Clock)),
        "absent_token": float(absent and isinstance(value, Token)),
        "result_small": float(fact.status is Status.COMPUTED and small),
        "alone": float(len(stems_of(case.plain)) <= 2),
        "values": min(6, len(case.values)) / 6,
    }


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value, or the best of its rivals, stands: fit, rank, and what its unit shares with the statement."""

    mention: Mention | None
    fit: float
    rank: int
    cover: float
    share: float

    @classmethod
    def of(cls, case: Case, found: Found, places: tuple[tuple[float, Mention], ...]) -> _Place:
        if not places:
            return cls(None, -1.0, _FAR, -1.0, -1.0)
        rank = {unit: place for place, unit in enumerate(case.near)}
        strong = [word for word, weight in found.around.items() if weight > _TELLING]
        own = stems_of(case.plain)
        cover, share = -1.0, 0.0
        for _, mention in places[:_MOST_PLACES]:
            unit = case.evidence.units[mention.unit]
            there = stems_of(unit.text)
            share = max(share, len(there & own) / max(1, len(own)))
            if strong:
                around = stems_of(f"{unit.text} {' '.join(unit.context)}")
                cover = max(cover, sum(word in around for word in strong) / len(strong))
        nearest = min(min(rank.get(mention.unit, _FAR), _FAR) for _, mention in places)
        return cls(places[0][1], places[0][0], nearest, cover, share)


def _of_place(case: Case, found: Found, mine: _Place, theirs: _Place) -> dict[str, float]:
    gap = max(-1.0, min(1.0, theirs.fit - mine.fit)) if theirs.mention and mine.mention else 0.0
    spot = mine.mention is not None and mine.mention.spot is not None
    return {
        "fit": mine.fit,
        "fit_little": max(0.0, _LITTLE - mine.fit),
        "behind": max(0.0, gap),
        "ahead": max(0.0, -gap),
        "rank": mine.rank / _FAR,
        "first": float(mine.rank == 0),
        "rival_nearer": float(theirs.rank < mine.rank),
        "cover": max(0.0, mine.cover),
        "cover_behind": max(0.0, theirs.cover - mine.cover),
        "share": max(0.0, mine.share),
        "share_behind": max(0.0, theirs.share - mine.share),
        "elsewhere": float(not _in_first_document(case, found)),
        "places": min(6, len(found.equal)) / 6,
        "rivals": min(_MANY, len(found.rivals)) / _MANY,
        "cell": float(spot),
        "cell_behind": max(0.0, gap) if spot else 0.0,
        "beside_rival": float(
            mine.mention is not None and theirs.mention is not None and mine.mention.unit == theirs.mention.unit
        ),
    }


def _in_first_document(case: Case, found: Found) -> bool:
    """Whether the value stands in the snippet of the unit nearest to the statement."""
    if not case.near:
        return False
    first = case.evidence.units[case.near[0]].snippet_id
    return any(case.evidence.units[mention.unit].snippet_id == first for _, mention in found.equal)
