"""Signs of a text that runs in circles or leaves its topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from exllama_guard.core.measures import Measure, NotScored, Reason
from exllama_guard.core.ports import Embedder
from exllama_guard.core.snippets import words
from exllama_guard.grounding import cosine_distance

__all__ = ["Repetition", "repetition_of", "topic_loss"]

_GRAM, _WINDOW, _LOOP = 4, 64, 3  # the same 4 words at least 3 times within 64: docs/doctor.md
TOPIC_LOSS = 0.10


@dataclass(frozen=True, slots=True)
class Repetition:
    """How often a text says the same again. `loop` is the phrase of the first loop, "" without one."""

    loop: str
    loop_count: int  # most repeats of one 4-word phrase within 64 words
    repeated: float  # share of 4-word phrases that occurred before, [0, 1]
    repeated_suffix: int  # words at the end that stand directly before them, too


def repetition_of(text: str) -> Repetition | NotScored:
    """Repetition of `text`, counted in words."""
    said = words(text)
    if len(said) < _GRAM:
        return NotScored(Reason.NOT_ENOUGH_DATA, f"{len(said)} words")
    grams = [tuple(said[i : i + _GRAM]) for i in range(len(said) - _GRAM + 1)]
    loop, count = _loop(grams)
    return Repetition(
        loop=" ".join(loop) if count >= _LOOP else "",
        loop_count=count,
        repeated=1.0 - len(set(grams)) / len(grams),
        repeated_suffix=_suffix(said),
    )


def _loop(grams: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], int]:
    """The phrase that stands most often within one window, and how often."""
    inside: Counter[tuple[str, ...]] = Counter()
    best: tuple[tuple[str, ...], int] = ((), 0)
    reach = _WINDOW - _GRAM + 1
    for place, gram in enumerate(grams):
        inside[gram] += 1
        if place >= reach:
            inside[grams[place - reach]] -= 1
        if inside[gram] > best[1]:
            best = (gram, inside[gram])
    return best


def _suffix(said: Sequence[str]) -> int:
    """Length of the longest run at the end that is preceded by itself."""
    back = said[::-1]
    agree = _agreement(back)
    return next((length for length in range(len(back) // 2, 0, -1) if agree[length] >= length), 0)


def _agreement(said: Sequence[str]) -> list[int]:
    """Of each place, how many words from there on are those that `said` begins with (the Z algorithm)."""
    agree = [0] * len(said)
    left = right = 0  # the stretch found so far that reaches furthest and repeats the beginning
    for place in range(1, len(said)):
        length = min(right - place, agree[place - left]) if place < right else 0
        while place + length < len(said) and said[length] == said[place + length]:
            length += 1
        agree[place] = length
        if place + length > right:
            left, right = place, place + length
    return agree


def topic_loss(question: str, sentences: Sequence[str], embedder: Embedder) -> Measure:
    """Mean ΔS(sentence, question) of the last third minus that of the first; above 0.10 the topic is lost.

    Raises:
        EmbedderError: The embedder is missing or failed.
    """
    third = len(sentences) // 3
    if third < 1:
        return NotScored(Reason.NOT_ENOUGH_DATA, f"{len(sentences)} sentences; at least 3 are needed")
    chosen = [*sentences[:third], *sentences[-third:]]
    vectors = embedder.embed([question, *chosen])
    distances = [cosine_distance(vectors[0], row) for row in vectors[1:]]
    scored = [value for value in distances if not isinstance(value, NotScored)]
    if len(scored) < len(distances):
        return NotScored(Reason.ZERO_VECTOR)
    return sum(scored[third:]) / third - sum(scored[:third]) / third
