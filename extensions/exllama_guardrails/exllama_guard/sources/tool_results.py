"""What tools gave back, where the prompt holds it, and what a model said and thought around its calls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from exllama_guard.core.snippets import Origin, Snippet
from exllama_guard.sources.cut import snippets_of
from exllama_guard.sources.history import objects_in, rows_of, tool_sequences

__all__ = ["ToolResult", "results", "said_around_calls", "tool_snippets"]

# (name of the tool or "tool", content); a tuple, because it only travels within this module's callers.
ToolResult = tuple[str, str]


def results(history: Mapping[str, Any]) -> tuple[ToolResult, ...]:
    """Tool results of the host's history, in order: (tool's name, content).

    The page keeps them in `metadata["assistant_N"]["tool_sequence"]`, the API in the third place of a row
    (WebUI 4.7.3 and 3.23).
    """
    return tuple(result for result in (*_of_page(history), *_of_api(history)) if result[1].strip())


def tool_snippets(prompt: str, history: Mapping[str, Any], *, first: int = 0) -> tuple[Snippet, ...]:
    """Snippets of every tool result that stands in `prompt`, as it is or as a JSON string.

    A template that drops tool results from the prompt gives none: the model did not see them. Of a list of
    search hits each is a snippet with its title and address.
    """
    found: list[Snippet] = []
    for name, content in results(history):
        if not _stands_in(prompt, content):
            continue
        hits = _hits(content)
        for title, url, text in hits:
            found += snippets_of(
                text, section=title, url=url, origin=Origin.WEB_SEARCH, first=first + len(found)
            )
        if not hits:
            found += snippets_of(
                content, section=name, url=None, origin=Origin.TOOL_RESULT, first=first + len(found)
            )
    return tuple(found)


def said_around_calls(history: Mapping[str, Any]) -> tuple[str, ...]:
    """What the model wrote and thought before its tool calls: the host puts it into later prompts (4.9)."""
    metadata = history.get("metadata") or {}
    items = [
        item
        for key, entry in metadata.items()
        if str(key).startswith("assistant_") and isinstance(entry, Mapping)
        for item in entry.get("tool_sequence") or ()
        if item.get("role") != "tool"
    ]
    texts = (item.get(name) for item in items for name in ("content", "reasoning_content"))
    return tuple(text for text in texts if isinstance(text, str) and text.strip())


def _hits(content: str) -> tuple[tuple[str, str, str], ...]:
    """(title, address, text) of each search hit where the result is a list of them (4.9), else nothing.

    A hit without a text of its own has its title for one.
    """
    try:
        hits = json.loads(content)
    except (json.JSONDecodeError, RecursionError):
        return ()
    if not isinstance(hits, list) or not all(isinstance(hit, Mapping) for hit in hits):
        return ()
    if not any(isinstance(hit.get("snippet"), str) and hit["snippet"].strip() for hit in hits):
        return ()
    named = [hit for hit in hits if isinstance(hit.get("title"), str) and isinstance(hit.get("url"), str)]
    texts = [str(hit.get("snippet") or "").strip() or hit["title"] for hit in named]
    return tuple(
        (hit["title"], hit["url"], text) for hit, text in zip(named, texts, strict=True) if text.strip()
    )


def _of_page(history: Mapping[str, Any]) -> Iterator[ToolResult]:
    for sequence in tool_sequences(history):
        names: dict[str, str] = {}
        for item in sequence:
            names.update((str(call["id"]), name) for call, name in _called(item) if call.get("id"))
            if item.get("role") == "tool":
                yield names.get(str(item.get("tool_call_id")), "tool"), str(item.get("content") or "")


def _of_api(history: Mapping[str, Any]) -> Iterator[ToolResult]:
    names: dict[str, str] = {}
    for row in rows_of(history):
        meta = row[3] if len(row) > 3 and isinstance(row[3], Mapping) else {}
        names.update((str(call["id"]), name) for call, name in _called(meta) if call.get("id"))
        if len(row) > 2 and isinstance(row[2], str) and row[2]:
            yield names.get(str(meta.get("tool_call_id")), "tool"), row[2]


def _called(message: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each call of a message with the name of its function."""
    for call in objects_in(message.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, Mapping) and function.get("name"):
            yield call, str(function["name"])


def _stands_in(prompt: str, content: str) -> bool:
    content = content.strip()
    if content in prompt:
        return True
    if any(json.dumps(content, ensure_ascii=escaped)[1:-1] in prompt for escaped in (False, True)):
        return True
    return _as_written_again(prompt, content)


def _as_written_again(prompt: str, content: str) -> bool:
    """Whether a template parsed the result as JSON and wrote it in its own way."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return any(
        json.dumps(value, ensure_ascii=escaped, separators=separators) in prompt
        for escaped in (False, True)
        for separators in ((", ", ": "), (",", ":"))
    )
