"""Detectors of answers, snippets and chats: values in, an observation out (docs/doctor.md)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from exllama_guard.core.citations import find_citations
from exllama_guard.core.records import (
    ClaimKind,
    Gate,
    Measure,
    NotScored,
    Snippet,
    TurnReport,
    words,
)
from exllama_guard.core.repetition import TOPIC_LOSS, Repetition, repetition_of
from exllama_guard.core.stability import RunState
from exllama_guard.core.symptoms import Observation, observed, unobserved

__all__ = [
    "observe_chat",
    "observe_turn",
    "prompts_by_extension",
    "several_users",
    "system_prompt_leak",
    "topic",
]

_HEADER = re.compile(
    r"^\s*(?:page\s+\d+(?:\s+of\s+\d+)?|\d+\s*/\s*\d+|-\s*\d+\s*-)\s*$", re.IGNORECASE | re.MULTILINE
)
_ENDS = re.compile(r"[.!?:;…。！？\"'”’)\]}>|*`]\s*$")
_LEAK_WORDS = 8


def observe_turn(turn: TurnReport, *, system_prompt: str = "") -> tuple[Observation, ...]:
    """What one finished turn shows, seen or not seen."""
    return (
        _citations(turn),
        _near_but_wrong(turn),
        _far(turn),
        _orphans(turn),
        _headers(turn),
        _half_sentences(turn),
        _duplicates(turn),
        _two_sections(turn),
        loops(turn.answer),
        system_prompt_leak(system_prompt, turn.answer),
    )


def _cited(turn: TurnReport) -> list[Snippet]:
    return [snippet for snippet in turn.request.snippets if snippet.snippet_id in turn.cited_ids]


def _claims(turn: TurnReport) -> int:
    return sum(claim.kind is ClaimKind.CLAIM for claim in turn.support.claims)


def _citations(turn: TurnReport) -> Observation:
    if not turn.request.snippets or not _claims(turn):
        return unobserved("V1", "nothing was retrieved, or the answer claims nothing")
    count = len(turn.cited_ids)
    told = f"The answer cites {count} of {len(turn.request.snippets)} snippets."
    return observed("V1", Gate.PASS if count else Gate.REVIEW, told, cited=float(count))


def _near_but_wrong(turn: TurnReport) -> Observation:
    near, cover, anchor = turn.distances.gated, turn.coverage.coverage, turn.distances.context_anchor
    if isinstance(near, NotScored):
        return unobserved("V2", near)
    if turn.request.anchor is None:
        return unobserved("V2", "no anchor was given, so the right snippet is not known")
    low = not isinstance(cover, NotScored) and cover < 0.50
    far = not isinstance(anchor, NotScored) and anchor >= 0.60
    told = (
        f"ΔS(question, snippet) {near:.2f}, coverage {_shown(cover)}, ΔS(snippet, anchor) {_shown(anchor)}."
    )
    seen = near <= 0.45 and (low or far)
    return observed(
        "V2", Gate.FAIL if seen else Gate.PASS, told, distance=near, coverage=cover, anchor=anchor
    )


def _shown(value: Measure) -> str:
    return "not measured" if isinstance(value, NotScored) else f"{value:.2f}"


def _far(turn: TurnReport) -> Observation:
    value = turn.distances.gated
    if isinstance(value, NotScored):
        return unobserved("RT3", value)
    gate = Gate.FAIL if value >= 0.60 else Gate.PASS
    return observed("RT3", gate, f"ΔS(question, snippet) is {value:.2f}; the limit is 0.60.", distance=value)


def _orphans(turn: TurnReport) -> Observation:
    if not _claims(turn) or not turn.request.snippets:
        return unobserved("RT1", "nothing was retrieved, or the answer claims nothing")
    orphans = [claim for claim in turn.support.claims if claim.gate is Gate.FAIL]
    told = f"{len(orphans)} of {_claims(turn)} sentences lead to no snippet."
    return observed("RT1", Gate.FAIL if orphans else Gate.PASS, told, orphans=float(len(orphans)))


def _headers(turn: TurnReport) -> Observation:
    cited = _cited(turn)
    if not cited:
        return unobserved("CH1", "the answer cites nothing")
    bad = [snippet.snippet_id for snippet in cited if _HEADER.search(snippet.text)]
    told = f"Cited with a page header or footer inside: {', '.join(bad) or 'none'}."
    return observed("CH1", Gate.REVIEW if bad else Gate.PASS, told, snippets=", ".join(bad))


def _half_sentences(turn: TurnReport) -> Observation:
    cited = _cited(turn)
    if not cited:
        return unobserved("CH4", "the answer cites nothing")
    bad = [s.snippet_id for s in cited if not _ENDS.search(s.text) or s.text.lstrip()[:1].islower()]
    told = f"Cited snippets that begin or end inside a sentence: {', '.join(bad) or 'none'}."
    return observed("CH4", Gate.REVIEW if bad else Gate.PASS, told, snippets=", ".join(bad))


def _duplicates(turn: TurnReport) -> Observation:
    texts = [frozenset(words(snippet.text)) for snippet in turn.request.snippets]
    if len(texts) < 2:
        return unobserved("VF2", f"{len(texts)} snippets")
    again = sum(
        any(a and len(a & b) / len(a | b) > 0.9 for b in texts[:place]) for place, a in enumerate(texts)
    )
    told = f"{again} of {len(texts)} snippets repeat another one."
    gate = Gate.REVIEW if again / len(texts) > 0.15 else Gate.PASS
    return observed("VF2", gate, told, share=again / len(texts))


def _two_sections(turn: TurnReport) -> Observation:
    if not turn.cited_ids:
        return unobserved("RP3", "the answer cites nothing")
    section = {snippet.snippet_id: snippet.section_id for snippet in turn.request.snippets}
    mixed = 0
    for claim in turn.support.claims:
        found = {c.snippet_id for c in find_citations(claim.text, turn.request.snippets)} - {None}
        mixed += len({section[name] for name in found if name in section}) > 1
    told = f"{mixed} sentences cite snippets of different sections."
    return observed("RP3", Gate.REVIEW if mixed else Gate.PASS, told, sentences=float(mixed))


def loops(text: str) -> Observation:
    """EC1 of one answer."""
    found = repetition_of(text)
    if isinstance(found, NotScored):
        return unobserved("EC1", found)
    return _loop(found)


def _loop(found: Repetition) -> Observation:
    inputs = {"count": float(found.loop_count), "repeated": found.repeated}
    if found.loop:
        told = f"“{found.loop}” stands {found.loop_count} times within 64 words."
        return observed("EC1", Gate.FAIL, told, **inputs)
    return observed(
        "EC1", Gate.PASS, f"No phrase repeats; {found.repeated:.0%} of phrases occur twice.", **inputs
    )


def topic(loss: Measure) -> Observation:
    """EC2 from the rise of ΔS(sentence, question) within an answer."""
    if isinstance(loss, NotScored):
        return unobserved("EC2", loss)
    told = f"ΔS to the question is {loss:+.2f} in the last third against the first."
    return observed("EC2", Gate.REVIEW if loss > TOPIC_LOSS else Gate.PASS, told, rise=loss)


def system_prompt_leak(system_prompt: str, answer: str) -> Observation:
    """PI2: 8 words in a row of the system prompt in the answer."""
    secret, said = words(system_prompt), words(answer)
    if len(secret) < _LEAK_WORDS:
        return unobserved("PI2", "there is no system prompt of at least 8 words")
    grams = {tuple(secret[i : i + _LEAK_WORDS]) for i in range(len(secret) - _LEAK_WORDS + 1)}
    hit = next(
        (g for i in range(len(said) - _LEAK_WORDS + 1) if (g := tuple(said[i : i + _LEAK_WORDS])) in grams),
        None,
    )
    if hit:
        return observed("PI2", Gate.FAIL, f"The answer repeats the system prompt: “{' '.join(hit)}”.")
    return observed("PI2", Gate.PASS, "No 8 words in a row of the system prompt are in the answer.")


def observe_chat(
    turns: Sequence[TurnReport], distances: Sequence[Measure], steps: Sequence[RunState | None]
) -> tuple[Observation, ...]:
    """What successive turns of one chat show, oldest first; `distances` are answer-side."""
    return (
        _chain(steps),
        _snap(distances),
        _retries(turns),
        _returned(turns),
        _full(turns),
        _same_snippet(turns),
    )


def _chain(steps: Sequence[RunState | None]) -> Observation:
    known = [step for step in steps if step is not None]
    if not known:
        return unobserved("V4", "no two turns in a row were measured")
    first = next((i for i, step in enumerate(steps) if step is RunState.CHAOTIC), None)
    shown = " ".join(step.value for step in known)
    told = f"Steps: {shown}." + ("" if first is None else f" The first × is at turn {first + 1}.")
    return observed(
        "V4", Gate.PASS if first is None else Gate.REVIEW, told, first=None if first is None else first + 1.0
    )


def _snap(distances: Sequence[Measure]) -> Observation:
    jumps = [
        (b - a, place + 2)
        for place, (a, b) in enumerate(pairwise(distances))
        if not isinstance(a, NotScored) and not isinstance(b, NotScored)
    ]
    if not jumps:
        return unobserved("LC2", "no two turns in a row were measured")
    most, turn = max(jumps)
    told = f"The greatest rise of ΔS in one step is {most:+.2f}, at turn {turn}."
    return observed("LC2", Gate.FAIL if most > 0.60 else Gate.PASS, told, rise=most)


def _retries(turns: Sequence[TurnReport]) -> Observation:
    prompts = [turn.request.prompt for turn in turns if turn.request.prompt]
    if len(prompts) < 2:
        return unobserved("LC4", "fewer than two prompts were seen")
    run = most = 1
    for a, b in pairwise(prompts):
        run = run + 1 if a == b else 1
        most = max(most, run)
    told = f"The longest run of one and the same prompt is {most}."
    return observed("LC4", Gate.REVIEW if most >= 3 else Gate.PASS, told, run=float(most))


def _returned(turns: Sequence[TurnReport]) -> Observation:
    failed = [
        (place, claim.text)
        for place, turn in enumerate(turns)
        for claim in turn.support.claims
        if claim.gate is Gate.FAIL and len(words(claim.text)) >= 4
    ]
    if not failed or len(turns) < 2:
        return unobserved("LD5", "no answer failed before")
    back = [
        text
        for place, text in failed
        if any(words(text) == words(c.text) for t in turns[place + 1 :] for c in t.support.claims)
    ]
    told = f"{len(back)} sentences that failed came back." + (f" First: “{back[0]}”" if back else "")
    return observed("LD5", Gate.REVIEW if back else Gate.PASS, told, sentences=float(len(back)))


def _full(turns: Sequence[TurnReport]) -> Observation:
    last = next((t for t in reversed(turns) if t.request.model and t.request.model.context_tokens), None)
    if last is None or last.request.model is None or not last.request.prompt:
        return unobserved("LD6", "the context's size or the prompt is not known")
    limit = last.request.model.context_tokens or 0
    # An English token has about 4 characters; only a prompt that is surely full counts.
    share = len(last.request.prompt) / 4 / limit
    told = f"The last prompt fills about {share:.0%} of {limit} tokens."
    return observed("LD6", Gate.REVIEW if share >= 0.95 else Gate.PASS, told, share=share)


def _same_snippet(turns: Sequence[TurnReport]) -> Observation:
    recent = turns[-5:]
    firsts = [turn.request.snippets[0] for turn in recent if turn.request.snippets]
    asked = {tuple(words(turn.request.question)) for turn in recent}
    if len(firsts) < 5 or len(asked) < 5:
        return unobserved("CH2", "fewer than 5 different questions with snippets")
    most, count = Counter((s.source_url, s.text) for s in firsts).most_common(1)[0]
    told = f"One snippet came first for {count} of 5 questions ({most[0]})."
    return observed("CH2", Gate.REVIEW if count > 2 else Gate.PASS, told, count=float(count))


def prompts_by_extension(
    off: str, on: str, cited_off: frozenset[str], cited_on: frozenset[str]
) -> tuple[Observation, ...]:
    """T1 and T2: the same question with an extension off and on."""
    same = off == on
    told = (
        "The prompt is the same."
        if same
        else f"The prompt has {len(off)} characters without, {len(on)} with."
    )
    first = observed("T1", Gate.PASS if same else Gate.REVIEW, told)
    kept = cited_off == cited_on
    told = (
        f"Cited without: {', '.join(sorted(cited_off)) or 'none'}; with: "
        f"{', '.join(sorted(cited_on)) or 'none'}."
    )
    return first, observed("T2", Gate.PASS if kept else Gate.REVIEW, told)


def several_users(alone: Measure, together: Measure) -> Observation:
    """T3: the same question for one user and for several at once."""
    if isinstance(alone, NotScored):
        return unobserved("T3", alone)
    if isinstance(together, NotScored):
        return unobserved("T3", together)
    seen = together > 0.60 and together - alone > 0.10
    told = f"ΔS {alone:.2f} alone, {together:.2f} with several users."
    return observed("T3", Gate.FAIL if seen else Gate.PASS, told, alone=alone, together=together)
