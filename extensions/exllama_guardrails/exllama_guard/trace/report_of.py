"""A turn's report, made again of its trace record."""

from __future__ import annotations

from exllama_guard.core.snippets import Snippet
from exllama_guard.core.turns import NO_RELEVANCE, Finish, TurnReport, TurnRequest
from exllama_guard.trace.record import TraceRecord, TraceSnippet


def report_of(record: TraceRecord) -> TurnReport:
    """The report that a trace record was made of; texts that were not kept are empty."""
    from datetime import datetime

    request = TurnRequest(
        turn_id=record.trace_id,
        question=record.question or "",
        snippets=tuple(_snippet(snippet) for snippet in record.snippets),
        chat_id=record.chat_id,
        reader=record.reader,
        channel=record.channel,
        model=record.model,
        regenerate=record.regenerate,
        tool_turn=record.tool_turn,
        started_at_s=datetime.fromisoformat(record.ts.replace("Z", "+00:00")).timestamp(),
        extensions=record.extensions,
    )
    return TurnReport(
        request=request,
        answer=record.answer or "",
        finish=Finish(record.finish),
        distances=record.distances,
        coverage=record.coverage,
        cited_ids=record.cited_ids,
        support=record.support,
        zone=record.zone,
        distance_gate=record.distance_gate,
        verdict=record.verdict,
        elapsed_s=record.elapsed_s,
        time_to_first_token_s=record.time_to_first_token_s,
        relevance=record.relevance or NO_RELEVANCE,
        acted=record.acted,
        notes=() if record.answer is not None else ("The text of this turn was not kept.",),
    )


def _snippet(snippet: TraceSnippet) -> Snippet:
    return Snippet(
        snippet_id=snippet.snippet_id,
        text=snippet.text or "",
        section_id=snippet.section_id,
        source_url=snippet.source_url,
        tokens=snippet.tokens,
        offsets=snippet.offsets,
        origin=snippet.origin,
        derived=frozenset(snippet.derived),
        score=snippet.score,
        index_hash=snippet.index_hash,
    )
