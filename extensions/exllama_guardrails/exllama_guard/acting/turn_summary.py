"""A turn's report as a small JSON object, for API clients."""

from __future__ import annotations

from typing import Any

from exllama_guard.core.measures import NotScored
from exllama_guard.core.turns import Acted, ClaimSupport, SecondOpinion, TurnReport

VERSION = 1


def summary_of(report: TurnReport) -> dict[str, Any]:
    """The object `guardrails` (docs/acting.md): plain JSON values; a value that was not scored is null."""
    opinion = report.second_reader
    read = {} if opinion is None else {"second_reader": _second(opinion)}
    return {
        "version": VERSION,
        "turn_id": report.request.turn_id,
        "verdict": report.verdict.gate.value,
        "reasons": list(report.verdict.reasons),
        "support": _number(report.support.support),
        "relevance": _number(report.relevance.relevance),
        "delta_s": _number(report.distances.gated),
        "statements": [
            _statement(claim) for claim in report.support.claims if isinstance(claim.support, float)
        ],
        "snippets": [
            {"snippet_id": snippet.snippet_id, "source": snippet.source_url}
            for snippet in report.request.snippets
        ],
        "action": _action(report.acted),
        **read,
    }


def _second(opinion: SecondOpinion) -> dict[str, Any]:
    return {
        "model": opinion.model,
        "before": opinion.before.value,
        "after": opinion.after.value,
        "statements": [
            {
                "text": one.text,
                "snippet_id": one.snippet_id,
                "before": one.before.value,
                "after": one.after.value,
                "first_support": _number(one.first),
                "judge": _number(one.judge),
                "contrast": _number(one.contrast),
                "support": _number(one.support),
            }
            for one in opinion.statements
        ],
        "prompt_tokens": opinion.prompt_tokens,
        "took_ms": round(opinion.took_ms, 1),
    }


def unchecked_summary(turn_id: str, why: str, acted: Acted | None) -> dict[str, Any]:
    """The same object for an answer whose verdict did not come in time; `why` says so."""
    return {
        "version": VERSION,
        "turn_id": turn_id,
        "verdict": None,
        "reasons": [why],
        "support": None,
        "relevance": None,
        "delta_s": None,
        "statements": [],
        "snippets": [],
        "action": _action(acted),
    }


def _action(acted: Acted | None) -> dict[str, str] | None:
    if acted is None:
        return None
    return {"wanted": acted.wanted.value, "done": acted.done.value, "why": acted.why}


def _statement(claim: ClaimSupport) -> dict[str, Any]:
    return {
        "text": claim.text,
        "verdict": claim.gate.value,
        "support": _number(claim.support),
        "snippet_id": claim.evidence.snippet_id if claim.evidence is not None else None,
    }


def _number(value: float | NotScored) -> float | None:
    return None if isinstance(value, NotScored) else round(value, 4)
