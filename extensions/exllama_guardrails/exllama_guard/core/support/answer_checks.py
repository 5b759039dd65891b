"""Checks of an answer's quotes and citations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from exllama_guard.core.citations import find_citations
from exllama_guard.core.records import ClaimSupport, Finding, FindingKind, Gate, Severity, Snippet, Span

_QUOTE = re.compile(r"[\"“„«]([^\"“”„«»\n]{12,400})[\"”“»]")
_LEAST_WORDS = 4  # a shorter quotation is as often a title or a turn of phrase
_SAME_TEXT = 92.0  # rapidfuzz partial ratio from which a quotation is the snippet's own wording


def quote_findings(claim: str, snippets: Sequence[Snippet]) -> tuple[Finding, ...]:
    """A gap for each quotation of four words or more that no snippet holds; places count from the claim."""
    return tuple(_quotes(claim, snippets))


def _quotes(claim: str, snippets: Sequence[Snippet]) -> Iterator[Finding]:
    quotes = [match for match in _QUOTE.finditer(claim) if len(match[1].split()) >= _LEAST_WORDS]
    if not quotes:
        return
    from rapidfuzz import fuzz

    texts = [_plain(snippet.text) for snippet in snippets]
    for match in quotes:
        wanted = _plain(match[1])
        held = any(wanted in text for text in texts) or any(
            fuzz.partial_ratio(wanted, text, score_cutoff=_SAME_TEXT) for text in texts
        )
        if not held:
            message = f"The answer quotes “{_shortened(match[1])}”; no snippet says this word for word."
            yield Finding(FindingKind.QUOTE, Severity.GAP, message, Span(match.start(1), match.end(1)))


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


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
