"""What only the question makes a statement: a bare yes or no, and "the document does not say" where it does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from exllama_guard.grounding.facts import cues
from exllama_guard.grounding.facts.aligning import Evidence, candidates, fit
from exllama_guard.grounding.facts.naming import names_of
from exllama_guard.grounding.facts.parsing import Parsed, parsed
from exllama_guard.grounding.facts.values import Fact, FactKind, Place, Status

_YES = re.compile(
    r"\W*(?:yes|yep|yeah|sure|certainly|absolutely|of course|correct|ja|jawohl|klar|oui|sí|si|sì|sim|да|конечно|是的?|可以|能|はい|نعم|हाँ|हां|tak|네)\b",
    re.IGNORECASE,
)
_NO = re.compile(
    r"\W*(?:no|nope|nein|non|não|нет|不是?|不能|不可以|いいえ|لا|नहीं|nee|nie|아니요)(?![^\W\d_])",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\W*(?:how|what|why|when|where|who|which|whose|wie|was|warum|wann|wo|wer|welche\w*|comment|pourquoi|quand|où|qui|quel\w*|combien|cómo|qué"
    r"|cuándo|dónde|quién|cuál\w*|cuánt\w*|come|cosa|perché|quando|dove|chi|qual\w*|quant\w*|quem|onde|como|как|что|почему|когда|где|кто|сколько)\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"\b(?:how (?:many|much|long|old|far|often|big|tall|high)|when|what time|which (?:day|date|year|version)|price|cost|wie ?viele?|wie (?:lange|hoch|oft|alt)|wann"
    r"|combien|quand|cuánt\w+|cuándo|quant[oiae]|quando|quant[oa]s?|сколько|когда)\b|多少|几|何|いつ|いくら|كم|متى|कितन|कब",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\b(?:who|whom|whose|wer|wem|wen|qui|quién|chi|quem|кто)\b|谁|誰|من|कौन", re.IGNORECASE)
_ALL = 0.95  # share of a yes-or-no question that one unit must hold
_MOST_WORDS = 60  # a longer unit holds many a word that it does not speak of
_LEAST = 0.6  # share of what is asked that one unit must hold before it answers


def answer_facts(
    statement: Parsed, evidence: Evidence, near: Sequence[int], question: str, language: str
) -> Iterator[Fact]:
    """A conflict where a bare yes or no answers the question the other way than the evidence."""
    yes, no = _YES.match(statement.text), _NO.match(statement.text)
    lead = yes or no
    asked = parsed(question, language)
    if lead is None or _ASKS.match(question) or len(asked.content) < 2 or asked.denying or _measures(asked):
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
    return any(token.number or token.pairs for token in asked.tokens)


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
    if _COUNTED.search(question):
        return any(token.number for token in unit.tokens)
    if _NAMED.search(question):
        return unit.language == "de" or bool(names_of(unit))
    return True
