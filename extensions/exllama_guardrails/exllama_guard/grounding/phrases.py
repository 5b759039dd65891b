"""What chat models say around an answer, in fourteen languages: patterns of data/phrases.txt."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).parent / "data" / "phrases.txt"


class Phrase(str, Enum):
    """What a phrase does; the value is its section in the file."""

    OPENER = "opener"
    CLOSING = "closing"
    SOURCE_LEAD = "source-lead"
    ASKED_CLAIM = "asked-claim"
    TAG = "tag"
    ANNOUNCEMENT = "announcement"
    SOURCE_HEADING = "source-heading"
    ABSTENTION = "abstention"
    BETWEEN = "between"
    OFFER = "offer"
    COURTESY_TURN = "courtesy-turn"
    ABSTENTION_TURN = "abstention-turn"
    ASSENT = "assent"
    HEADING_NUMBER = "heading-number"
    ASKING = "asking"
    ABSTENTION_LEAD = "abstention-lead"
    OF_DOCUMENTS = "of-documents"
    YES = "yes"
    NO = "no"
    ASKS = "asks"
    COUNTED = "counted"
    NAMED = "named"
    ACCORDING = "according"
    CITED = "cited"
    FINITE_VERB = "finite-verb"


@lru_cache(maxsize=1)
def _sections() -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    name = ""
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]") and line[1:-1] in {one.value for one in Phrase}:
            name = line[1:-1]
            out[name] = []
        elif line and not line.startswith("#"):
            out[name].append(line)
    return out


@lru_cache(maxsize=len(Phrase))
def pattern(phrase: Phrase) -> re.Pattern[str]:
    """The pattern of every phrase of one kind; to be matched at the start of a part of a sentence."""
    return re.compile("|".join(f"(?:{one})" for one in _sections()[phrase.value]), re.IGNORECASE)


@lru_cache(maxsize=1)
def finite_verbs() -> frozenset[str]:
    """Case-folded verbs that state, of all languages."""
    return frozenset(" ".join(_sections()[Phrase.FINITE_VERB.value]).split())
