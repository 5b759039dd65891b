"""All snippets of one turn, from every source, in one order and without doubles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from exllama_guard.core.snippets import Origin, Snippet, Trust, trust_of, with_unique_ids
from exllama_guard.grounding import answer_of
from exllama_guard.sources.attachments import attachment_snippets
from exllama_guard.sources.history import rows_of
from exllama_guard.sources.injected import injected_snippets
from exllama_guard.sources.marked_block import without_blocks
from exllama_guard.sources.pieces import Pieces, pieces_of
from exllama_guard.sources.tool_results import results, said_around_calls, tool_snippets
from exllama_guard.sources.voices import said_by_model

__all__ = ["SOURCES", "Gathered", "Source", "collect_snippets"]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is known of a turn when its prompt is ready; `history` as the host keeps it.

    `user_text` is the user's message as it came, which is not yet in the history; `continued` is the answer
    that the prompt ends with because the model goes on with it.
    """

    prompt: str
    history: Mapping[str, Any] = field(default_factory=dict)
    question: str = ""
    handed_over: tuple[Snippet, ...] = ()
    knowledge: tuple[Snippet, ...] = ()  # that we put into the prompt ourselves
    lookup: Callable[[str], Snippet | None] = lambda text: None  # in the knowledge folder, for earlier turns
    other_texts: tuple[str, ...] = ()  # system message, context, persona
    templates: tuple[str, ...] = ()
    look_for_injected: bool = False  # another extension that changes prompts is switched on
    user_text: str = ""
    continued: str = ""


_MARK = re.compile(r"</?[\w:|]{1,40}>")  # such as <think>, </seed:think>, <|channel|>

# Snippets of one source, given the prompt's pieces and what was found before; their ids count on from there.
Source = Callable[[Gathered, Pieces, Sequence[Snippet]], Iterable[Snippet]]


def collect_snippets(gathered: Gathered) -> tuple[Snippet, ...]:
    """Snippets of the turn, source after source (`SOURCES`).

    A text that comes twice is kept once, ids are unique. Takes time that grows with the prompt: call it
    off the reply's path.
    """
    pieces = pieces_of(
        gathered.prompt,
        gathered.history,
        given=(gathered.user_text, *gathered.other_texts),
        documents=tuple(snippet.text for snippet in gathered.knowledge),
        continued=gathered.continued,
    )
    found: list[Snippet] = []
    for source in SOURCES:
        found += source(gathered, pieces, tuple(found))
    return with_unique_ids(_once(found))


def _handed_over(gathered: Gathered, pieces: Pieces, found: Sequence[Snippet]) -> Iterable[Snippet]:
    return gathered.handed_over


def _marked(gathered: Gathered, pieces: Pieces, found: Sequence[Snippet]) -> Iterable[Snippet]:
    ours = {snippet.text: snippet for snippet in gathered.knowledge}
    return tuple(
        _full(snippet, ours.get(snippet.text) or gathered.lookup(snippet.text), piece.is_message)
        for piece in pieces.blocks
        for snippet in piece.block.snippets
    )


def _attached(gathered: Gathered, pieces: Pieces, found: Sequence[Snippet]) -> Iterable[Snippet]:
    return attachment_snippets(pieces.attachments, first=len(found))


def _of_tools(gathered: Gathered, pieces: Pieces, found: Sequence[Snippet]) -> Iterable[Snippet]:
    return tool_snippets(gathered.prompt, gathered.history, first=len(found))


def _injected(gathered: Gathered, pieces: Pieces, found: Sequence[Snippet]) -> Iterable[Snippet]:
    if not gathered.look_for_injected:
        return ()
    prompt = without_blocks(gathered.prompt)
    known = _known(gathered, pieces, found)
    return injected_snippets(prompt, known, gathered.templates, first=len(found))


# In the order in which snippets are listed; the last one looks at what no other has accounted for.
SOURCES: tuple[Source, ...] = (_handed_over, _marked, _attached, _of_tools, _injected)


def _full(snippet: Snippet, known: Snippet | None, is_message: bool) -> Snippet:
    """What the folder knows of the snippet, under the id that the prompt gave it."""
    if known is not None:
        origin = Origin.KNOWLEDGE
        return replace(known, snippet_id=snippet.snippet_id, origin=origin, trust=trust_of(origin))
    return snippet if is_message else replace(snippet, trust=Trust.PROGRAM)


def _once(snippets: Iterable[Snippet]) -> tuple[Snippet, ...]:
    return tuple({snippet.text: snippet for snippet in reversed(list(snippets))}.values())[::-1]


def _known(gathered: Gathered, pieces: Pieces, found: Iterable[Snippet]) -> list[str]:
    known = [gathered.question, gathered.continued, *gathered.other_texts]
    for row in rows_of(gathered.history):
        known += [without_blocks(text) for text in row[:3] if isinstance(text, str) and text]
        known += _parts_of_answer(row[1]) if len(row) > 1 and isinstance(row[1], str) else ()
    known += [without_blocks(text) for text in said_by_model(gathered.history)]
    for attachment in (placed.attachment for placed in pieces.attachments):
        url = f"URL: {attachment.url}\n" if attachment.url else ""
        known.append(f"Name: {attachment.name}\n{url}Contents:\n\n=====\n{attachment.content}")
        known.append(attachment.content)
    known += [content for _, content in results(gathered.history)]
    known += said_around_calls(gathered.history)
    known += [snippet.text for snippet in found]
    return known


def _parts_of_answer(text: str) -> Iterable[str]:
    """An answer and what was thought before it, apart: a template writes its own marks around each."""
    answer = answer_of(text)
    if not answer or answer == text or not text.endswith(answer):
        return ()
    return (answer, *_MARK.split(text[: -len(answer)]))
