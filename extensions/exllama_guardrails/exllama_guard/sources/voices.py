"""Who wrote what stands in a prompt: the model's own words and a tool's result open no source of snippets.

The host sends its history as one text. A marked block or a list of attachments inside an answer would ground
the next answer on the model's own words, under the name of a real document.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exllama_guard.core.snippets import Span
from exllama_guard.grounding import written_parts
from exllama_guard.sources.history import messages_of, objects_in, rows_of, strings_in, tool_sequences

__all__ = ["NOBODY", "Voices", "end_around", "said_by_model", "said_by_user", "voices_of"]


@dataclass(frozen=True, slots=True)
class Voices:
    """Where a prompt holds words that open no source.

    `lines` are of such words that stand there in a changed form, so that their place is unknown.
    """

    spans: tuple[Span, ...] = ()  # in order, apart
    lines: frozenset[str] = frozenset()

    def end_at(self, at: int) -> int | None:
        """Where the words end of which the character at `at` is one; None outside of them."""
        return end_around(self.spans, at)

    def admit(self, span: Span, text: str) -> bool:
        """Whether no such words have a part in a piece of the prompt that holds `text`."""
        if self.end_at(span.start) is not None or self.end_at(span.end - 1) is not None:
            return False
        return not self.lines or self.lines.isdisjoint(_lines(text))


NOBODY = Voices()


def end_around(spans: Sequence[Span], at: int) -> int | None:
    """Where the one of `spans` (in order, apart) ends in which `at` stands; None where it is in none."""
    index = bisect_right(spans, at, key=lambda span: span.start) - 1
    return spans[index].end if index >= 0 and at < spans[index].end else None


def voices_of(prompt: str, others: Iterable[str], known: Iterable[str], signs: Sequence[str]) -> Voices:
    """The voices in `prompt` that open no source.

    Args:
        prompt: As the model gets it.
        others: Their texts: the model's own, and what tools gave back.
        known: Texts of users, settings and files; a line that stands in one is not another voice's alone.
        signs: What a text must hold to look like a source; one without any is let be.
    """
    spans: list[Span] = []
    lines: set[str] = set()
    for text in dict.fromkeys(others):
        if any(sign in text for sign in signs):
            found = list(_occurrences(prompt, text.strip()))
            spans += found
            if not found:
                lines |= _lines(text)
    if lines:
        lines -= {line for text in known for line in _lines(text)}
    return Voices(_merged(spans), frozenset(lines))


def said_by_user(history: Mapping[str, Any]) -> Iterator[str]:
    """Each text of a user or a system message in the history."""
    for row in rows_of(history):
        if row and isinstance(row[0], str) and row[0].strip():
            yield row[0]
    for message in messages_of(history):
        if message.get("role") in ("user", "system", "developer") and isinstance(message.get("content"), str):
            yield message["content"]


def said_by_model(history: Mapping[str, Any]) -> Iterator[str]:
    """Each text that the model wrote in the history: answers, what it thought, what it called tools with."""
    for row in rows_of(history):
        if len(row) > 1 and isinstance(row[1], str):
            yield from written_parts(row[1])
        if len(row) > 3 and isinstance(row[3], Mapping):
            yield from _calls(row[3])
    for message in messages_of(history):
        if message.get("role") == "assistant":
            yield from _message(message)
    for sequence in tool_sequences(history):
        for item in sequence:
            if item.get("role") != "tool":
                yield from _message(item)


def _message(message: Mapping[str, Any]) -> Iterator[str]:
    for name in ("content", "reasoning_content"):
        if isinstance(message.get(name), str):
            yield from written_parts(message[name])
    yield from _calls(message)


def _calls(message: Mapping[str, Any]) -> Iterator[str]:
    """Arguments of a message's calls: the text, and the strings in it, which a template may write out."""
    for call in objects_in(message.get("tool_calls")):
        function = call.get("function")
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        yield from strings_in(arguments)


def _lines(text: str) -> frozenset[str]:
    return frozenset(line.strip() for line in text.split("\n") if line.strip())


def _occurrences(prompt: str, text: str) -> Iterator[Span]:
    at = prompt.find(text) if text else -1
    while at >= 0:
        yield Span(at, at + len(text))
        at = prompt.find(text, at + len(text))


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    out: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if out and span.start <= out[-1].end:
            out[-1] = Span(out[-1].start, max(out[-1].end, span.end))
        else:
            out.append(span)
    return tuple(out)
