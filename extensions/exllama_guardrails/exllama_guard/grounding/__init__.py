"""Does an answer rest on its snippets: support, ΔS, coverage, citations, relevance, the verdict."""

from __future__ import annotations

from exllama_guard.grounding.citations import find_citations
from exllama_guard.grounding.coverage import measure_coverage
from exllama_guard.grounding.followup import asked_together
from exllama_guard.grounding.passages import split_passages
from exllama_guard.grounding.relevance import load_relevance_weights
from exllama_guard.grounding.reply_text import answer_of, is_tool_call, written_parts
from exllama_guard.grounding.scoring import Limits, score_turn, unscored_turn, with_support
from exllama_guard.grounding.similarity import cosine_distance, distance_gate, embed_ahead, measure_distances
from exllama_guard.grounding.talk import Talk, TalkKind, talk_of

__all__ = [
    "Limits",
    "Talk",
    "TalkKind",
    "answer_of",
    "asked_together",
    "cosine_distance",
    "distance_gate",
    "embed_ahead",
    "find_citations",
    "is_tool_call",
    "load_relevance_weights",
    "measure_coverage",
    "measure_distances",
    "score_turn",
    "split_passages",
    "talk_of",
    "unscored_turn",
    "with_support",
    "written_parts",
]
