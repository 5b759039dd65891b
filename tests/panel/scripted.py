"""A monitor with scripted turns for the panel's tests: a scorer that a person can predict, and real ΔS."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.ports import Embedder
from exllama_guard.core.snippets import Snippet, Span, make_snippet, words
from exllama_guard.core.turns import (
    Channel,
    ClaimKind,
    ClaimSupport,
    Evidence,
    Finding,
    FindingKind,
    Finish,
    ModelInfo,
    Reader,
    Severity,
    SupportReport,
    TurnRequest,
)
from exllama_guard.monitor import Monitor, TurnHandle
from exllama_guard.settings import Settings
from exllama_guard.testing import make_monitor
from exllama_guard.trace.files import TraceWriter

_SENTENCE = re.compile(r"[^.!?]+[.!?]+")
_NUMBER = re.compile(r"\d[\d,.]*\d|\d")

QUESTION = "After how many tokens is the cache rotated, and can that happen in the middle of an answer?"
SNIPPETS = (
    "The KV cache is rotated after 8192 tokens. Prompt tokens and generated tokens count alike. "
    "A rotation never happens inside an answer; it waits until no job is running.",
    "A rotation costs one prefill of the next prompt. On an RTX 3090 that took 1.4 s for 6000 tokens.",
    "Numeric drift is cured by a reset. Context drift is not: the long conversation itself causes it.",
)
GOOD = (
    "The KV cache is rotated after 8192 tokens. A rotation never happens inside an answer; it waits until "
    "no job is running."
)
BAD = (
    "The KV cache is rotated after 4096 tokens. A rotation never happens inside an answer. "
    "It also deletes the chat history from disk! Should I go on?"
)


class SentenceScorer:
    """Support of each sentence: its share of words in the best snippet, 0.04 where a number differs."""

    def __init__(self, snippets: Sequence[Snippet]) -> None:
        """Remembers the snippets."""
        self._snippets = tuple(snippets)

    def prepare(self) -> Iterator[None]:
        """Nothing to do."""
        return iter(())

    def score(self, answer: str, *, final: bool) -> SupportReport:
        """PASS from 0.8, FAIL below 0.5."""
        if not self._snippets:
            return SupportReport(NotScored(Reason.NO_SNIPPETS), Gate.NOT_MEASURED)
        claims = tuple(self._claim(match) for match in _SENTENCE.finditer(answer))
        scored = [claim for claim in claims if isinstance(claim.support, float)]
        if not scored:
            return SupportReport(NotScored(Reason.NO_CLAIMS), Gate.NOT_MEASURED, claims=claims)
        worst = min(scored, key=lambda claim: claim.support)
        return SupportReport(worst.support, worst.gate, claims=claims)

    def _claim(self, match: re.Match[str]) -> ClaimSupport:
        text = match.group().strip()
        start = match.start() + len(match.group()) - len(match.group().lstrip())
        span = Span(start, match.end())
        if text.endswith("?"):
            return ClaimSupport(
                text, span, ClaimKind.QUESTION, NotScored(Reason.NO_CLAIMS), Gate.NOT_MEASURED
            )
        said = words(text) or [text]
        shares = [sum(w in words(s.text) for w in said) / len(said) for s in self._snippets]
        best = max(range(len(shares)), key=shares.__getitem__)
        snippet, share = self._snippets[best], shares[best]
        findings = tuple(self._numbers(text, start, snippet)) if share > 0.5 else ()
        if findings:
            share = 0.04
        elif share < 0.5:
            message = "No snippet says this; the nearest speaks of something else."
            findings = (Finding(FindingKind.NOT_FOUND, Severity.GAP, message, span),)
        gate = Gate.PASS if share >= 0.8 else Gate.FAIL if share < 0.5 else Gate.REVIEW
        window = Span(0, len(snippet.text.partition(".")[0]) + 1)
        evidence = Evidence(snippet.snippet_id, window, snippet.text[: window.end], min(share, 1.0), 0.83)
        return ClaimSupport(text, span, ClaimKind.CLAIM, share, gate, evidence, findings)

    def _numbers(self, text: str, start: int, snippet: Snippet) -> list[Finding]:
        theirs = list(_NUMBER.finditer(snippet.text))
        known = {match.group() for match in theirs}
        return [
            Finding(
                FindingKind.NUMBER,
                Severity.CONFLICT,
                f"The answer says {ours.group()}, snippet {snippet.snippet_id} says {theirs[0].group()}.",
                Span(start + ours.start(), start + ours.end()),
                snippet.snippet_id,
                Span(theirs[0].start(), theirs[0].end()),
            )
            for ours in _NUMBER.finditer(text)
            if ours.group() not in known and theirs
        ]


def scripted_monitor(settings: Settings | None = None, embedder: Embedder | None = None) -> Monitor:
    """A monitor with the predictable scorer and a loaded model; it writes traces where a folder is set."""
    folder = settings.trace_folder if settings is not None else ""
    monitor = make_monitor(
        settings,
        embedder=embedder,
        trace=TraceWriter(Path(folder)) if folder else None,
        scorer=lambda snippets, question: SentenceScorer(snippets),
    )
    monitor.model_changed(
        ModelInfo("SmolLM2-135M-Instruct", "Transformers", "Q4_1", "fp16", 8192),
        ("Tool schemas are enforced while decoding.", "The cache can be reset between answers."),
    )
    return monitor


def open_turn(
    monitor: Monitor,
    number: int = 0,
    *,
    question: str = QUESTION,
    snippets: Sequence[str] = SNIPPETS,
    reader: Reader | None = None,
) -> TurnHandle:
    """An open turn with the scripted question and snippets."""
    made = tuple(
        make_snippet(
            text, position=index, source_url=f"https://docs.example.org/cache#{index}", section_id="cache"
        )
        for index, text in enumerate(snippets)
    )
    request = TurnRequest(
        turn_id=f"turn-{number}",
        question=question,
        snippets=made,
        chat_id="20261122-10-15-33",
        reader=reader or Reader(),
        channel=Channel.CHAT,
        model=monitor.model,
        started_at_s=time.time(),
    )
    return monitor.open_turn(request)


def run_turn(monitor: Monitor, number: int, answer: str, **options: object) -> None:
    """A whole turn, scored when this returns."""
    handle = open_turn(monitor, number, **options)  # type: ignore[arg-type]
    handle.close(answer, Finish.COMPLETE)
    assert monitor.wait_until_idle(120)


def stream_turn(monitor: Monitor, number: int, answer: str, *, pause_s: float = 0.05) -> None:
    """A turn whose words come one after the other, `pause_s` seconds apart."""
    handle = open_turn(monitor, number)
    text = ""
    for word in re.findall(r"\S+\s*", answer):
        text += word
        handle.chunk(text)
        time.sleep(pause_s)
    handle.close(text, Finish.COMPLETE)
