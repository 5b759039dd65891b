"""Coverage of the anchor by the cited or retrieved text, and bleed: cited text from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.core.measures import Measure, NotScored, Reason
from exllama_guard.core.snippets import Snippet, words
from exllama_guard.core.turns import AnchorKind, Coverage

_MOST_WORDS = 10_000  # its time is the product of both lengths; an anchor is one passage


def measure_coverage(
    snippets: Sequence[Snippet],
    *,
    cited: Sequence[int],
    anchor: Snippet | None,
    anchor_kind: AnchorKind | None,
) -> Coverage:
    """Coverage in [0, 1] of the anchor by the cited (else the retrieved) snippets, and bleed in [0, 1].

    Interval recall where the anchor and a snippet of the same source carry real offsets in one unit; else
    the longest-common-subsequence recall of the anchor's words (ROUGE-L recall, Lin 2004) in the best
    snippet. A proxy anchor is one of the snippets, so its coverage by the *cited* text is what is told.
    """
    if not snippets:
        why = NotScored(Reason.NO_SNIPPETS)
        return Coverage(why, why)
    if anchor is None or anchor_kind is None:
        why = NotScored(Reason.NO_ANCHOR)
        return Coverage(why, why)
    chosen = [snippets[index] for index in cited]
    if anchor_kind is AnchorKind.PROXY and not chosen:
        why = NotScored(Reason.NO_ANCHOR, "a stand-in anchor says nothing about retrieval")
        return Coverage(why, NotScored(Reason.NO_CITATIONS), anchor_kind=anchor_kind)
    method, covered = _covered(anchor, chosen or list(snippets))
    return Coverage(covered, _bleed(anchor, chosen), method, anchor_kind)


def _covered(anchor: Snippet, sources: Sequence[Snippet]) -> tuple[str, Measure]:
    comparable = [snippet for snippet in sources if _same_ruler(anchor, snippet)]
    if comparable:
        spans = [(snippet.offsets.start, snippet.offsets.end) for snippet in comparable]
        return "intervals", interval_recall((anchor.offsets.start, anchor.offsets.end), spans)
    wanted = words(anchor.text)
    if not wanted:
        return "lcs", NotScored(Reason.NO_ANCHOR, "the anchor has no words")
    return "lcs", max(lcs_length(wanted, words(snippet.text)) / len(wanted) for snippet in sources)


def _same_ruler(anchor: Snippet, snippet: Snippet) -> bool:
    """True when both spans are given, not derived, and count the same unit of the same source."""
    return (
        not ({"offsets", "source_url"} & (anchor.derived | snippet.derived))
        and anchor.source_url == snippet.source_url
        and anchor.offsets.unit == snippet.offsets.unit
        and anchor.offsets.start < anchor.offsets.end
    )


def _bleed(anchor: Snippet, cited: Sequence[Snippet]) -> Measure:
    if not cited:
        return NotScored(Reason.NO_CITATIONS)
    total = sum(snippet.tokens for snippet in cited)
    if total == 0:
        return NotScored(Reason.NO_CITATIONS, "the cited snippets are empty")
    outside = sum(snippet.tokens for snippet in cited if snippet.section_id != anchor.section_id)
    return outside / total


def interval_recall(anchor: tuple[int, int], spans: Sequence[tuple[int, int]]) -> float:
    """Share in [0, 1] of [start, end) that lies inside the union of `spans`; the anchor must not be empty."""
    start, end = anchor
    covered = 0
    reached = start
    for left, right in sorted(spans):
        left, right = max(left, reached), min(right, end)
        if right > left:
            covered += right - left
            reached = right
    return covered / (end - start)


def lcs_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence of the first 10,000 words, 0..min(len(a), len(b))."""
    from rapidfuzz.distance import LCSseq

    return int(LCSseq.similarity(a[:_MOST_WORDS], b[:_MOST_WORDS]))
