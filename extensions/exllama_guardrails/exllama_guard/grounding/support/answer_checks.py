"""Checks of an answer's quotes, citations and bare numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import Snippet, Span
from exllama_guard.core.turns import ClaimSupport, Finding, FindingKind, Severity
from exllama_guard.grounding.citations import find_citations
from exllama_guard.grounding.support.evidence import Library
from exllama_guard.grounding.support.features import Measured
from exllama_guard.grounding.support.quantities import quantities_of, with_years

# Words that carry a number and do not say what it counts: "So, the answer is 3."
_CARRIERS = frozenset(["answer", "number", "total", "amount", "count", "result", "figure", "value"])


def citation_findings(
    answer: str, snippets: Sequence[Snippet], claims: Sequence[ClaimSupport]
) -> tuple[Finding, ...]:
    """A gap for each citation of no snippet; a note where another snippet carries the claim."""
    out: list[Finding] = []
    citations = find_citations(answer, snippets)
    for citation in citations:
        if citation.snippet_id is None:
            message = f"The answer cites {citation.text}; there are only {len(snippets)} snippets."
            out.append(Finding(FindingKind.CITATION, Severity.GAP, message, citation.span))
    for claim in claims:
        cited = [c for c in citations if claim.span.start <= c.span.start < claim.span.end + 8]
        ids = {c.snippet_id for c in cited} - {None}
        carried = claim.evidence is not None and claim.gate is Gate.PASS
        if ids and carried and claim.evidence is not None and claim.evidence.snippet_id not in ids:
            message = (
                f"The answer cites {cited[0].text}; the words stand in snippet {claim.evidence.snippet_id}."
            )
            span = claim.evidence.span
            note = Severity.NOTE
            out.append(
                Finding(FindingKind.CITATION, note, message, cited[0].span, claim.evidence.snippet_id, span)
            )
    return tuple(out)


def bare_number_findings(
    measured: Measured, library: Library, asked: frozenset[str], language: str
) -> tuple[Finding, ...]:
    """A gap for each lone number that the snippets hold only where they speak of something else.

    Args:
        measured: A claim; one that says what its number counts is left to the other checks.
        library: The snippets' sentences.
        asked: Stems of the question's telling words; where the snippets hold none of them nothing is said.
        language: Of the snippets.
    """
    said = {word.norm for word in measured.words if word.is_content and not word.is_number}
    if said - _CARRIERS or not any(library.holds(stem) for stem in asked):
        return ()
    return tuple(_held_elsewhere(measured, library, asked, language))


def _held_elsewhere(
    measured: Measured, library: Library, asked: frozenset[str], language: str
) -> Iterator[Finding]:
    for number in quantities_of(measured.text, language):
        if number.unit:
            continue
        holders = [
            stems
            for sentence, stems in zip(library.sentences, library.stems, strict=True)
            if any(number.agrees(other) for other in with_years(sentence.text, language))
        ]
        if holders and not any(stems & asked for stems in holders):
            message = (
                f"The answer says {number.text}; where the snippets say this, they speak of something else."
            )
            yield Finding(FindingKind.NOT_FOUND, Severity.GAP, message, Span(number.start, number.end))
