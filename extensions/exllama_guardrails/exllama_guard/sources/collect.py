"""All snippets of one turn, from every source, in one order and without doubles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from exllama_guard.core.snippets import Origin, Snippet, with_unique_ids
from exllama_guard.grounding import answer_of
from exllama_guard.sources.attachments import attachment_snippets, from_history, in_prompt
from exllama_guard.sources.injected import injected_snippets
from exllama_guard.sources.marked_block import OPENING, parse_snippets, without_blocks
from exllama_guard.sources.tool_results import results, said_around_calls, tool_snippets

__all__ = ["SOURCES", "Gathered", "Source", "collect_snippets"]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is known of a turn when its prompt is ready; `history` as the host keeps it."""

    prompt: str
    history: Mapping[str, Any] = field(default_factory=dict)
    question: str = ""
    handed_over: tuple[Snippet, ...] = ()
    knowledge: tuple[Snippet, ...] = ()  # that we put into the prompt ourselves
    lookup: Callable[[str], Snippet | None] = lambda text: None  # in the knowledge folder, for earlier turns
    other_texts: tuple[str, ...] = ()  # system message, context, persona, the answer that is continued
    templates: tuple[str, ...] = ()
    look_for_injected: bool = False  # another extension that changes prompts is switched on


_MARK = re.compile(r"</?[\w:|]{1,40}>")  # such as <think>, </seed:think>, <|channel|>

# Snippets of one source, given those that were found before; their ids count on from there.
Source = Callable[[Gathered, Sequence[Snippet]], Iterable[Snippet]]


def collect_snippets(gathered: Gathered) -> tuple[Snippet, ...]:
    """Snippets of the turn, source after source (`SOURCES`).

    A text that comes twice is kept once, ids are unique. Takes time that grows with the prompt: call it
    off the reply's path.
    """
    found: list[Snippet] = []
    for source in SOURCES:
        found += source(gathered, tuple(found))
    return with_unique_ids(_once(found))


def _handed_over(gathered: Gathered, found: Sequence[Snippet]) -> Iterable[Snippet]:
    return gathered.handed_over


def _marked(gathered: Gathered, found: Sequence[Snippet]) -> Iterable[Snippet]:
    if OPENING not in gathered.prompt:
        return ()
    ours = {snippet.text: snippet for snippet in gathered.knowledge}
    return tuple(
        _full(snippet, ours.get(snippet.text) or gathered.lookup(snippet.text))
        for snippet in parse_snippets(gathered.prompt)
    )


def _attached(gathered: Gathered, found: Sequence[Snippet]) -> Iterable[Snippet]:
    return attachment_snippets(gathered.prompt, gathered.history, first=len(found))


def _of_tools(gathered: Gathered, found: Sequence[Snippet]) -> Iterable[Snippet]:
    return tool_snippets(gathered.prompt, gathered.history, first=len(found))


def _injected(gathered: Gathered, found: Sequence[Snippet]) -> Iterable[Snippet]:
    if not gathered.look_for_injected:
        return ()
    prompt = without_blocks(gathered.prompt)
    return injected_snippets(prompt, _known(gathered, found), gathered.templates, first=len(found))


# In the order in which snippets are listed; the last one looks at what no other has accounted for.
SOURCES: tuple[Source, ...] = (_handed_over, _marked, _attached, _of_tools, _injected)


def _full(snippet: Snippet, known: Snippet | None) -> Snippet:
    """What the folder knows of the snippet, under the id that the prompt gave it."""
    if known is None:
        return snippet
    return replace(known, snippet_id=snippet.snippet_id, origin=Origin.KNOWLEDGE)


def _once(snippets: Iterable[Snippet]) -> tuple[Snippet, ...]:
    return tuple({snippet.text: snippet for snippet in reversed(list(snippets))}.values())[::-1]


def _known(gathered: Gathered, found: Iterable[Snippet]) -> list[str]:
    known = [gathered.question, *gathered.other_texts]
    for row in gathered.history.get("internal") or ():
        known += [without_blocks(str(text)) for text in row[:3] if text]
        known += _parts_of_answer(str(row[1])) if len(row) > 1 and row[1] else ()
    for attachment in in_prompt(gathered.prompt, from_history(gathered.history)):
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
