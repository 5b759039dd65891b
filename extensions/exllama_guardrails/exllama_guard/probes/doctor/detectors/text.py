"""Detectors of one answer and its snippets: values in, an observation out (docs/doctor.md)."""

from __future__ import annotations

import re

from exllama_guard.core.measures import Gate, Measure, NotScored
from exllama_guard.core.snippets import Snippet, words
from exllama_guard.core.turns import ClaimKind, ClaimSupport, FindingKind, Severity, TurnReport
from exllama_guard.grounding import find_citations
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.measures.repetition import TOPIC_LOSS, Repetition, repetition_of

__all__ = [
    "observe_turn",
    "system_prompt_leak",
    "topic",
]

_HEADER = re.compile(
    r"^\s*(?:page\s+\d+(?:\s+of\s+\d+)?|\d+\s*/\s*\d+|-\s*\d+\s*-)\s*$", re.IGNORECASE | re.MULTILINE
)
_ENDS = re.compile(r"[.!?:;…。！？\"'”’)\]}>|*`]\s*$")
_LEAK_WORDS = 8
_LOW_COVERAGE = 0.50  # of the anchor; never above what the setting lets pass


def observe_turn(turn: TurnReport, limits: RetrievalLimits) -> tuple[Observation, ...]:
    """What one finished turn shows, seen or not seen.

    Near and far to the question are what the turn's own gate called so; `limits` hold for the anchor.
    """
    return (
        _citations(turn),
        _near_but_wrong(turn, limits),
        _far(turn),
        _orphans(turn),
        _contradictions(turn),
        _headers(turn),
        _half_sentences(turn),
        _duplicates(turn),
        _two_sections(turn),
        loops(turn.answer),
        system_prompt_leak(turn.request.system_prompt, turn.answer, _known_to_the_user(turn)),
    )


def _known_to_the_user(turn: TurnReport) -> str:
    """What may be said again without giving anything away: the question and what was retrieved for it."""
    return "\n".join((turn.request.question, *(snippet.text for snippet in turn.request.snippets)))


def _cited(turn: TurnReport) -> list[Snippet]:
    return [snippet for snippet in turn.request.snippets if snippet.snippet_id in turn.cited_ids]


def _claims(turn: TurnReport) -> int:
    return sum(claim.kind is ClaimKind.CLAIM for claim in turn.support.claims)


def _citations(turn: TurnReport) -> Observation:
    if not turn.request.snippets or not _claims(turn):
        return unobserved("V1", "nothing was retrieved, or the answer claims nothing")
    count = len(turn.cited_ids)
    sentence = f"The answer cites {count} of {len(turn.request.snippets)} snippets."
    return observed("V1", Gate.PASS if count else Gate.REVIEW, sentence, cited=float(count))


def _near_but_wrong(turn: TurnReport, limits: RetrievalLimits) -> Observation:
    near, cover, anchor = turn.distances.gated, turn.coverage.coverage, turn.distances.context_anchor
    if isinstance(near, NotScored):
        return unobserved("V2", near)
    if turn.request.anchor is None:
        return unobserved("V2", "no anchor was given, so the right snippet is not known")
    low = not isinstance(cover, NotScored) and cover < min(_LOW_COVERAGE, limits.coverage_pass)
    far = not isinstance(anchor, NotScored) and anchor >= limits.distance_fail
    sentence = (
        f"ΔS(question, snippet) {near:.2f}, coverage {_shown(cover)}, ΔS(snippet, anchor) {_shown(anchor)}."
    )
    seen = turn.distance_gate is Gate.PASS and (low or far)
    return observed(
        "V2", Gate.FAIL if seen else Gate.PASS, sentence, distance=near, coverage=cover, anchor=anchor
    )


def _shown(value: Measure) -> str:
    return "not measured" if isinstance(value, NotScored) else f"{value:.2f}"


def _far(turn: TurnReport) -> Observation:
    value = turn.distances.gated
    if isinstance(value, NotScored):
        return unobserved("RT3", value)
    far = turn.distance_gate is Gate.FAIL
    called = "far" if far else "not far"
    sentence = f"ΔS(question, snippet) is {value:.2f}: {called}, by the limits of the turn."
    return observed("RT3", Gate.FAIL if far else Gate.PASS, sentence, distance=value)


def _orphans(turn: TurnReport) -> Observation:
    if not _claims(turn) or not turn.request.snippets:
        return unobserved("RT1", "nothing was retrieved, or the answer claims nothing")
    orphans = [claim for claim in _failed(turn) if not _conflicts(claim)]
    sentence = f"Sentences that lead to no snippet: {len(orphans)} of {_claims(turn)}."
    return observed("RT1", Gate.FAIL if orphans else Gate.PASS, sentence, orphans=float(len(orphans)))


def _contradictions(turn: TurnReport) -> Observation:
    if not _claims(turn) or not turn.request.snippets:
        return unobserved("IC1", "nothing was retrieved, or the answer claims nothing")
    against = [claim for claim in _failed(turn) if _conflicts(claim)]
    sentence = f"Sentences that contradict a snippet: {len(against)} of {_claims(turn)}."
    if against:
        sentence += f" {_conflicts(against[0])[0]}"
    return observed("IC1", Gate.FAIL if against else Gate.PASS, sentence, contradicted=float(len(against)))


def _failed(turn: TurnReport) -> list[ClaimSupport]:
    return [claim for claim in turn.support.claims if claim.gate is Gate.FAIL]


def _conflicts(claim: ClaimSupport) -> list[str]:
    """What contradicts the claim, one sentence each; it was compared with a snippet, so it leads to one."""
    return [
        found.message
        for found in claim.findings
        if found.severity is Severity.CONFLICT or found.kind is FindingKind.VERIFIER
    ]


def _headers(turn: TurnReport) -> Observation:
    cited = _cited(turn)
    if not cited:
        return unobserved("CH1", "the answer cites nothing")
    bad = [snippet.snippet_id for snippet in cited if _HEADER.search(snippet.text)]
    sentence = f"Cited with a page header or footer inside: {', '.join(bad) or 'none'}."
    return observed("CH1", Gate.REVIEW if bad else Gate.PASS, sentence, snippets=", ".join(bad))


def _half_sentences(turn: TurnReport) -> Observation:
    cited = _cited(turn)
    if not cited:
        return unobserved("CH4", "the answer cites nothing")
    bad = [s.snippet_id for s in cited if not _ENDS.search(s.text) or s.text.lstrip()[:1].islower()]
    sentence = f"Cited snippets that begin or end inside a sentence: {', '.join(bad) or 'none'}."
    return observed("CH4", Gate.REVIEW if bad else Gate.PASS, sentence, snippets=", ".join(bad))


def _duplicates(turn: TurnReport) -> Observation:
    texts = [frozenset(words(snippet.text)) for snippet in turn.request.snippets]
    if len(texts) < 2:
        return unobserved("VF2", f"{len(texts)} snippets")
    again = sum(
        any(a and len(a & b) / len(a | b) > 0.9 for b in texts[:place]) for place, a in enumerate(texts)
    )
    sentence = f"{again} of {len(texts)} snippets repeat another one."
    gate = Gate.REVIEW if again / len(texts) > 0.15 else Gate.PASS
    return observed("VF2", gate, sentence, share=again / len(texts))


def _two_sections(turn: TurnReport) -> Observation:
    if not turn.cited_ids:
        return unobserved("RP3", "the answer cites nothing")
    section = {snippet.snippet_id: snippet.section_id for snippet in turn.request.snippets}
    mixed = 0
    for claim in turn.support.claims:
        found = {c.snippet_id for c in find_citations(claim.text, turn.request.snippets)} - {None}
        mixed += len({section[name] for name in found if name in section}) > 1
    sentence = f"{mixed} sentences cite snippets of different sections."
    return observed("RP3", Gate.REVIEW if mixed else Gate.PASS, sentence, sentences=float(mixed))


def loops(text: str) -> Observation:
    """EC1 of one answer."""
    found = repetition_of(text)
    if isinstance(found, NotScored):
        return unobserved("EC1", found)
    return _loop(found)


def _loop(found: Repetition) -> Observation:
    inputs = {"count": float(found.loop_count), "repeated": found.repeated}
    if found.loop:
        sentence = f"“{found.loop}” stands {found.loop_count} times within 64 words."
        return observed("EC1", Gate.FAIL, sentence, **inputs)
    return observed(
        "EC1", Gate.PASS, f"No phrase repeats; {found.repeated:.0%} of phrases occur twice.", **inputs
    )


def topic(loss: Measure) -> Observation:
    """EC2 from the rise of ΔS(sentence, question) within an answer."""
    if isinstance(loss, NotScored):
        return unobserved("EC2", loss)
    sentence = f"ΔS to the question is {loss:+.2f} in the last third against the first."
    return observed("EC2", Gate.REVIEW if loss > TOPIC_LOSS else Gate.PASS, sentence, rise=loss)


def system_prompt_leak(system_prompt: str, answer: str, known: str = "") -> Observation:
    """PI2: 8 words in a row of the system prompt in the answer, which do not stand in `known`."""
    secret, said = _runs(system_prompt), _runs(answer)
    if not secret:
        return unobserved("PI2", f"no system prompt of at least {_LEAK_WORDS} words is known of this turn")
    leaked = set(secret) - set(_runs(known))
    hit = next((run for run in said if run in leaked), None)
    if hit:
        return observed("PI2", Gate.FAIL, f"The answer repeats the system prompt: “{' '.join(hit)}”.")
    return observed(
        "PI2", Gate.PASS, f"No {_LEAK_WORDS} words in a row of the system prompt are in the answer."
    )


def _runs(text: str) -> list[tuple[str, ...]]:
    """Every run of `_LEAK_WORDS` words, in order."""
    said = words(text)
    return [tuple(said[i : i + _LEAK_WORDS]) for i in range(len(said) - _LEAK_WORDS + 1)]
