"""What a check of one fact says, and what it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(str, Enum):
    """How one fact of a statement stands to the evidence."""

    HELD = "held"  # the evidence says the same, in these or other words
    COMPUTED = "computed"  # it follows from values of the evidence or of the answer
    ABSENT = "absent"  # nothing in the evidence says it, and it follows from nothing there
    CONFLICT = "conflict"  # the evidence says something else in the same place


class FactKind(str, Enum):
    """What kind of thing a fact is about."""

    QUANTITY = "quantity"
    DATE = "date"
    TIME = "time"
    IDENTIFIER = "identifier"
    NAME = "name"
    POLARITY = "polarity"
    COMPARATOR = "comparator"
    MODALITY = "modality"
    ATTRIBUTION = "attribution"
    ROLE = "role"
    OPPOSITE = "opposite"
    QUOTE = "quote"
    COUNT = "count"
    TABLE = "table"
    SCOPE = "scope"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class Place:
    """Characters [start, end) of the text of one unit of the evidence."""

    unit: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of a statement, held against the evidence.

    `text` is as the statement writes it, at its characters [start, end). `reason` is one plain true
    sentence; it is empty where the status is HELD. `weight` is how sure the check is, 0 to 1; `doubt` is the
    probability that a value is not what the evidence says in its place (facts/doubt.py), 0 where not judged.
    """

    kind: FactKind
    status: Status
    text: str
    start: int
    end: int
    places: tuple[Place, ...] = ()
    reason: str = ""
    weight: float = 1.0
    doubt: float = 0.0


@dataclass(frozen=True, slots=True)
class Unit:
    """One sentence, list item or table row of a snippet; `context`: the heading and table head above it."""

    snippet_id: str
    text: str
    context: tuple[str, ...] = ()
