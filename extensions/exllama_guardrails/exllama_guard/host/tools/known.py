"""What was known when a call was written: the user's words, tools' results and attachments of a chat."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from exllama_guard.tools import CallSources

__all__ = ["known_in_chat"]


def known_in_chat(text: object, state: object) -> CallSources:
    """The sources of a reply's calls, from the host's state of the chat and the text that was sent now.

    WebUI 4.7.3 keeps tools' results in the metadata of the answer that called them, attachments in that of
    the question.
    """
    history = state.get("history") if isinstance(state, Mapping) else None
    history = history if isinstance(history, Mapping) else {}
    rows, metadata = history.get("internal"), history.get("metadata")
    asked = [str(row[0]) for row in rows if row] if isinstance(rows, list) else []
    noted = metadata if isinstance(metadata, Mapping) else {}
    return CallSources(
        "\n".join([*asked, str(text or "")]).strip(),
        tuple(_contents(noted, "tool_sequence", lambda entry: entry.get("role") == "tool")),
        tuple(_contents(noted, "attachments", lambda entry: True)),
    )


def _contents(
    metadata: Mapping[str, Any], key: str, wanted: Callable[[Mapping[str, Any]], bool]
) -> Iterator[str]:
    for part in metadata.values():
        entries = part.get(key) if isinstance(part, Mapping) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and wanted(entry):
                content = entry.get("content")
                yield content if isinstance(content, str) else json.dumps(content, default=str)
