"""What only the question makes a statement: a bare yes or no, and an abstention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exllama_guard.grounding.facts import word_cues as cues
from exllama_guard.grounding.facts.aligning import Evidence, candidates, fit
from exllama_guard.grounding.facts.naming import names_of
from exllama_guard.grounding.facts.parsing import Parsed, parsed
from exllama_guard.grounding.facts.values import Fact, FactKind, Place, Status
from exllama_guard.grounding.phrases import Phrase, pattern

_ALL = 0.95  # share of a yes-or-no question that one unit must hold
_MOST_WORDS = 60  # a longer unit holds many a word that it does not speak of
_LEAST = 0.6  # share of what is asked that one unit must hold before it answers


def answer_facts(
    statement: Parsed, evidence: Evidence, near: Sequence[int], question: str, language: str
) -> Iterator[Fact]:
    """A conflict where a bare yes or no answers the question the other way than the evidence."""
    yes, no = pattern(Phrase.YES).match(statement.text), pattern(Phrase.NO).match(statement.text)
    lead = yes or no
    asked = parsed(question, language)
    if (
        lead is None
        or pattern(Phrase.ASKS).match(question)
        or len(asked.content) < 2
        or asked.denying
        or _measures(asked)
    ):
        return
    rest = [token for token in statement.content if token.start >= lead.end()]
    if any(token.stem not in asked.stems for token in rest):
        return
    signs = {_sign(asked, index, evidence) for index in (*candidates(asked, evidence, near),)} - {0}
    if signs != {-1 if yes else 1}:
        return
    index = next(i for i in candidates(asked, evidence, near) if _sign(asked, i, evidence))
    says = "no" if yes else "yes"
    reason = f"The answer says “{lead.group().strip()}”; what {evidence.name(index)} says comes to {says}."
    place = (Place(index, 0, len(evidence.units[index].text)),)
    yield Fact(FactKind.POLARITY, Status.CONFLICT, lead.group(), lead.start(), lead.end(), place, reason, 0.7)


def _measures(asked: Parsed) -> bool:
    """Whether a question asks for a comparison, which numbers answer."""
    return any(token.number or token.norm in _COMPARATIVES for token in asked.tokens)


def _sign(asked: Parsed, index: int, evidence: Evidence) -> int:
    """1 where a unit affirms what is asked, -1 where it denies it, 0 where neither is plain."""
    unit = evidence.parsed[index]
    if unit.language != asked.language:
        return 0
    if not fit(asked.content, unit, evidence.above[index], unit.language).at_least(_ALL, 2):
        return 0
    if any(token.sign < 0 and token.stem in asked.stems for token in unit.tokens):
        return -1
    return 0 if unit.denying or any(token.norm in cues.words("condition") for token in unit.tokens) else 1


def absence_facts(
    absent: str, statement: Parsed, evidence: Evidence, near: Sequence[int], question: str, language: str
) -> Iterator[Fact]:
    """A conflict where the statement says that the documents do not hold what one unit does hold."""
    topic = parsed(absent, language)
    asked = parsed(question, language)
    wanted = {token.stem: token for token in (*topic.content, *asked.content) if token.norm not in _EMPTY}
    of_topic = [token for token in topic.content if token.norm not in _EMPTY]
    if len(wanted) < 2:
        return
    for index in candidates(topic if of_topic else asked, evidence, near):
        unit = evidence.parsed[index]
        long = len(unit.tokens) > _MOST_WORDS
        if long or unit.language != evidence.language or not _answers(question, unit):
            continue
        close = fit(of_topic, unit, evidence.above[index], unit.language)
        whole = fit(wanted.values(), unit, evidence.above[index], unit.language)
        held = close.share >= 0.99 and whole.at_least(_LEAST, 2) if of_topic else whole.at_least(_ALL, 2)
        if held:
            reason = f"The answer says that the documents do not hold this; {evidence.name(index)} does."
            place = (Place(index, 0, len(unit.text)),)
            end = len(statement.text)
            yield Fact(FactKind.SCOPE, Status.CONFLICT, statement.text, 0, end, place, reason, 0.6)
            return


_COMPARATIVES = frozenset(
    [
        *(
            "more",
            "less",
            "better",
            "worse",
            "larger",
            "bigger",
            "smaller",
            "cheaper",
            "longer",
            "shorter",
            "faster",
        ),
        *(
            "older",
            "younger",
            "than",
            "enough",
            "under",
            "over",
            "above",
            "below",
            "mehr",
            "weniger",
            "plus",
            "moins",
        ),
        *("más", "menos", "più", "meno", "mais", "больше", "меньше"),
    ]
)
_EMPTY = frozenset(
    [
        *(
            "anything",
            "any",
            "information",
            "mention",
            "details",
            "say",
            "says",
            "mentioned",
            "stated",
            "text",
            "document",
            "whether",
        ),
        *(
            "about",
            "answer",
            "question",
            "exact",
            "specific",
            "explicitly",
            "given",
            "provided",
            "much",
            "many",
            "long",
            "tell",
            "know",
        ),
        *(
            "angaben",
            "angabe",
            "keine",
            "informationen",
            "wann",
            "nichts",
            "rien",
            "nada",
            "nulla",
            "ninguna",
            "nessun",
            "dazu",
        ),
    ]
)


def _answers(question: str, unit: Parsed) -> bool:
    """Whether a unit has the sort of thing that the question asks for; True where the question names none."""
    if pattern(Phrase.COUNTED).search(question):
        return any(token.number for token in unit.tokens)
    if pattern(Phrase.NAMED).search(question):
        return unit.language == "de" or bool(names_of(unit))
    return True
