"""The trace contract's codes: what a line says that it must not say, or lacks."""

from __future__ import annotations

from collections.abc import Iterator

from exllama_guard.core.measures import NotScored
from exllama_guard.core.snippets import Origin, content_hash
from exllama_guard.core.turns import ClaimKind
from exllama_guard.trace.record import TraceRecord, TraceSnippet

_REQUIRED = ("snippet_id", "section_id", "source_url")
_UNITS = ("char", "byte", "token")


def violations(record: TraceRecord) -> list[tuple[str, str]]:
    """Every (code, sentence) of a record that breaks the contract; [] for a clean one."""
    found = [problem for snippet in record.snippets for problem in _of_snippet(snippet)]
    found += _of_ids(record)
    found += _of_retrieval(record)
    found += _of_claims(record)
    return found


def _of_snippet(snippet: TraceSnippet) -> Iterator[tuple[str, str]]:
    for name in _REQUIRED:
        if not getattr(snippet, name):
            yield f"missing_{name}", f"snippet {snippet.snippet_id or '?'} has no {name}"
    offsets = snippet.offsets
    if not 0 <= offsets.start < offsets.end or offsets.unit not in _UNITS:
        yield (
            "bad_offsets",
            f"snippet {snippet.snippet_id}: {offsets.start}..{offsets.end} {offsets.unit} is no span",
        )
    if snippet.tokens <= 0:
        yield "missing_tokens", f"snippet {snippet.snippet_id} counts {snippet.tokens} tokens"
    if snippet.text is None:
        return
    length = {"char": len(snippet.text), "byte": len(snippet.text.encode("utf-8", "replace"))}
    if offsets.unit in length and offsets.end - offsets.start != length[offsets.unit]:
        yield (
            "offset_text_mismatch",
            f"snippet {snippet.snippet_id}: offsets span {offsets.end - offsets.start}, "
            f"its text {length[offsets.unit]} {offsets.unit}s",
        )
    if content_hash(snippet.text) != snippet.text_hash:
        yield "offset_text_mismatch", f"snippet {snippet.snippet_id}: the text is not the one of its hash"


def _of_ids(record: TraceRecord) -> Iterator[tuple[str, str]]:
    ids = {snippet.snippet_id for snippet in record.snippets}
    if len(ids) < len(record.snippets):
        yield "cross_section_reuse", "two snippets share one snippet_id"
    for cited in record.cited_ids:
        if cited not in ids:
            yield "orphan_claim", f"the answer cites {cited}, which is none of the snippets"


def _of_retrieval(record: TraceRecord) -> Iterator[tuple[str, str]]:
    """What was retrieved must be one ranked list: of one index, with one analyzer, each with its score."""
    hashes = {snippet.index_hash for snippet in record.snippets if snippet.index_hash}
    if len(hashes) > 1:
        yield "mismatch_index_hash", f"snippets of {len(hashes)} states of an index in one turn"
    analyzers = sorted({snippet.analyzer for snippet in record.snippets if snippet.analyzer})
    if len(analyzers) > 1:
        yield "analyzer_mismatch", f"snippets found with {' and '.join(analyzers)} in one turn"
    ranked = {snippet.index_hash for snippet in record.snippets if snippet.score is not None}
    for snippet in record.snippets:
        indexed = snippet.index_hash is not None and snippet.score is None
        if indexed and (snippet.origin is Origin.HANDED_OVER or snippet.index_hash in ranked):
            yield "missing_score", f"snippet {snippet.snippet_id} comes from an index and has no score"


def _of_claims(record: TraceRecord) -> Iterator[tuple[str, str]]:
    counted = [claim for claim in record.support.claims if claim.kind is ClaimKind.CLAIM]
    if record.snippets and counted and not record.cited_ids and all(c.evidence is None for c in counted):
        yield "empty_citations", "snippets were given, and no claim is cited or supported by one"
    ids = {snippet.snippet_id for snippet in record.snippets}
    for claim in counted:
        if claim.evidence is not None and claim.evidence.snippet_id not in ids:
            yield (
                "orphan_claim",
                f"a claim rests on {claim.evidence.snippet_id}, which is none of the snippets",
            )
        if isinstance(claim.support, NotScored):
            continue
        if not 0.0 <= claim.support <= 1.0:
            yield "bad_support", f"a claim's support is {claim.support}, outside 0..1"
