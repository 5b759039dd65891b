"""How bound, how sure and how many: modality, what is planned and done, and quantifiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exllama_guard.grounding.facts import word_cues as cues
from exllama_guard.grounding.facts.aligning import Evidence, around, fit
from exllama_guard.grounding.facts.parsing import Parsed
from exllama_guard.grounding.facts.tokens import Token
from exllama_guard.grounding.facts.values import Fact, FactKind, Status

_SHARE, _COUNT = 0.5, 2
_REACH = 3  # words between a modal verb and what it binds
_CLASHES = {
    FactKind.MODALITY: (
        ("must", "may"),
        ("may", "must"),
        ("done", "planned"),
        ("planned", "done"),
        ("will", "may"),
    ),
    FactKind.SCOPE: (("all", "some"), ("some", "all")),
}


def bound_facts(statement: Parsed, evidence: Evidence, near: Sequence[int]) -> Iterator[Fact]:
    """One conflict for each word of the statement that the evidence binds, times or counts otherwise."""
    for kind, clashes in _CLASHES.items():
        for mine, theirs in clashes:
            found = _clash(kind, mine, theirs, statement, evidence, near)
            if found is not None:
                yield found
                return


def _clash(
    kind: FactKind, mine: str, theirs: str, statement: Parsed, evidence: Evidence, near: Sequence[int]
) -> Fact | None:
    for cue, bound in _bound(statement, mine):
        others = around(statement, bound)
        own = [index for index in near if evidence.parsed[index].language == statement.language]
        closes = {
            index: fit(others, evidence.parsed[index], evidence.above[index], statement.language)
            for index in own
        }
        if any(_says_so(evidence.parsed[index], bound.stem, mine, closes[index].share) for index in own):
            continue
        for index in own:
            unit = evidence.parsed[index]
            rival = next(((one, two) for one, two in _bound(unit, theirs) if two.stem == bound.stem), None)
            if rival is None or not closes[index].at_least(_SHARE, _COUNT):
                continue
            reason = (
                f"The answer says “{_phrase(statement, cue, bound)}”;"
                f" {evidence.name(index)} says “{_phrase(unit, *rival)}”."
            )
            start, end = min(cue.start, bound.start), max(cue.end, bound.end)
            place = evidence.place(index, rival[0])
            return Fact(kind, Status.CONFLICT, statement.text[start:end], start, end, place, reason, 0.7)
    return None


def _says_so(unit: Parsed, stem: str, section: str, share: float) -> bool:
    """Whether a unit binds the same word alike, or speaks of the same with a word of that section."""
    return _stems(unit, stem, section) or (share >= 0.3 and _holds(unit, section))


def _phrase(text: Parsed, cue: Token, bound: Token) -> str:
    return text.text[min(cue.start, bound.start) : max(cue.end, bound.end)]


def _holds(unit: Parsed, section: str) -> bool:
    return any(token.norm in cues.words(section) for token in unit.tokens)


def _stems(unit: Parsed, stem: str, section: str) -> bool:
    return any(two.stem == stem for _, two in _bound(unit, section))


def _bound(text: Parsed, section: str) -> list[tuple[Token, Token]]:
    """Pairs of a word of a section and the content word that it binds: the next one in its clause."""
    words = cues.words(section)
    out = []
    for index, token in enumerate(text.tokens):
        if token.norm not in words or token.sign < 0 or _negated(text, index):
            continue
        if (
            section in ("will", "planned")
            and token.norm in ("will", "shall")
            and not _plain_future(text, index)
        ):
            continue
        behind = [
            one
            for one in text.tokens[index + 1 : index + 2 + _REACH]
            if one.content and one.clause == token.clause
        ]
        if behind and behind[0].norm not in words:
            out.append((token, behind[0]))
    return out


def _plain_future(text: Parsed, index: int) -> bool:
    return index + 1 < len(text.tokens)


def _negated(text: Parsed, index: int) -> bool:
    beside = text.tokens[max(0, index - 1) : index + 2]
    return any(one.norm in cues.words(f"negation.{text.language}") for one in beside)
