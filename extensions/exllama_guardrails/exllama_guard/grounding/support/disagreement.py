"""Snippets that contradict each other where an answer rests on them."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.core.snippets import Span
from exllama_guard.core.turns import Evidence, Finding, FindingKind, Severity
from exllama_guard.grounding.support.evidence import Library
from exllama_guard.grounding.support.quantities import quantities_of

_ALIKE = 0.6  # share of common words from which two sentences speak of the same fact
_LEAST_WORDS = 3
_MOST_FOUND = 5


def disagreements(evidence: Sequence[Evidence], library: Library, language: str) -> tuple[Finding, ...]:
    """A note for each pair of like sentences of two snippets whose numbers of one kind differ."""
    out: list[Finding] = []
    seen: set[frozenset[int]] = set()
    for index in _carrying(evidence, library):
        for other in library.like(index, _ALIKE, _LEAST_WORDS):
            pair = frozenset((index, other))
            if pair in seen or len(out) >= _MOST_FOUND:
                continue
            seen.add(pair)
            finding = _differ(index, other, library, language)
            if finding is not None:
                out.append(finding)
    return tuple(out)


def _carrying(evidence: Sequence[Evidence], library: Library) -> list[int]:
    """Sentences with a number in the windows that carry claims."""
    wanted = {(one.snippet_id, one.span) for one in evidence}
    return [
        index
        for index, sentence in enumerate(library.sentences)
        if any(word.is_number for word in sentence.words)
        and any(
            library.snippets[library.owner[index]].snippet_id == snippet_id
            and span.start <= sentence.span.start
            and sentence.span.end <= span.end
            for snippet_id, span in wanted
        )
    ]


def _differ(first: int, second: int, library: Library, language: str) -> Finding | None:
    mine = quantities_of(library.sentences[first].text, language)
    theirs = quantities_of(library.sentences[second].text, language)
    for quantity in mine:
        if any(quantity.agrees(other) for other in theirs):
            continue
        rivals = [o for o in theirs if o.unit == quantity.unit and o.noun == quantity.noun]
        if len(rivals) != 1 or any(rivals[0].agrees(other) for other in mine):
            continue
        ids = [library.snippets[library.owner[i]].snippet_id for i in (first, second)]
        message = f"{ids[0]} and {ids[1]} disagree: {quantity.text} against {rivals[0].text}."
        start = library.sentences[first].span.start
        place = Span(start + quantity.start, start + quantity.end)
        return Finding(FindingKind.DISAGREEMENT, Severity.NOTE, message, None, ids[0], place)
    return None
