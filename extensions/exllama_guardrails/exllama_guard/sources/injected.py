"""Text that another extension put into the prompt: what no message, template or setting accounts for.

superbooga and superboogav2 (WebUI 3.23 and 4.7.3) write their chunks into the prompt without a marker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from exllama_guard.core.snippets import Origin, Snippet, Span
from exllama_guard.sources.cut import snippets_of

__all__ = ["injected_snippets", "unaccounted"]

_CONTROL = re.compile(
    r"<\|[^|<>\n]{1,40}\|?>|<｜[^｜\n]{1,40}｜>|</?s>|\[/?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS)\]|<</?SYS>>"
    r"|</?(?:start|end)_of_turn>|^###? ?\w+(?: \w+)?:[ \t]*$",
    re.MULTILINE,
)
# Between chunks: superboogav2's marks, and two line breaks.
_BETWEEN = re.compile(r"<<document (?:chunk|end)>>|\n\s*\n")
_INTRODUCTIONS = ("Your reply should be based on the context below:",)  # superbooga, instruct mode
_LABEL = re.compile(r"\A(?:(?:user|assistant|system|human|model|gpt)\b:?)\s*", re.IGNORECASE)
_MIN_WORDS = 8  # below this a rest is a name, a date or a label of the template
_MIN_MASKED_CHARACTERS = 24  # a shorter known text ("ok", "dogs") may well stand inside a chunk


def injected_snippets(
    prompt: str, known: Iterable[str], templates: Iterable[str], *, first: int = 0
) -> tuple[Snippet, ...]:
    """Snippets of the text in `prompt` that is neither in `known` nor written out in `templates`.

    `known` holds the messages, contexts and the other sources' snippets. A chunk of fewer than 8 words cannot
    be told from a template's own words and is left out.
    """
    found: list[Snippet] = []
    for text in unaccounted(prompt, known, templates):
        found += snippets_of(text, section=None, url=None, origin=Origin.SUPERBOOGA, first=first + len(found))
    return tuple(found)


def unaccounted(prompt: str, known: Iterable[str], templates: Iterable[str]) -> tuple[str, ...]:
    """The chunks of `prompt` that nothing accounts for, in order, without blank ends."""
    texts = sorted({text.strip() for text in known if text.strip()}, key=len, reverse=True)
    long = [text for text in texts if len(text) >= _MIN_MASKED_CHARACTERS]
    short = [text for text in texts if len(text) < _MIN_MASKED_CHARACTERS]
    template = "\n".join(templates)
    return tuple(
        chunk
        for rest in _rests(prompt, long)
        for message in _CONTROL.split(rest)
        for chunk in _chunks(message, short)
        if len(chunk.split()) >= _MIN_WORDS and chunk not in template
    )


def _rests(prompt: str, known: Iterable[str]) -> Iterator[str]:
    """The parts of `prompt` outside every occurrence of a known text."""
    masked: list[Span] = []
    for text in known:
        at = prompt.find(text)
        while at >= 0:
            masked.append(Span(at, at + len(text)))
            at = prompt.find(text, at + len(text))
    at = 0
    for span in sorted(masked, key=lambda span: span.start):
        if span.start > at:
            yield prompt[at : span.start]
        at = max(at, span.end)
    yield prompt[at:]


def _chunks(message: str, short: Iterable[str]) -> Iterator[str]:
    text = _LABEL.sub("", message.strip())
    for known in short:
        text = text.removeprefix(known + "\n").removesuffix("\n" + known)
    introduced = False
    for introduction in _INTRODUCTIONS:
        before, found, after = text.partition(introduction)
        if found:
            introduced, text = True, after
            if before.strip():
                yield before.strip()
    for part in _BETWEEN.split(text):
        for chunk in part.split("\n") if introduced else (part,):
            if chunk.strip():
                yield chunk.strip()
