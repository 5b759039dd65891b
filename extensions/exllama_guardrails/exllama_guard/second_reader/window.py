"""What a reader is given of a snippet for one statement."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.core.snippets import Snippet
from exllama_guard.core.turns import Evidence

__all__ = ["window_of"]

_MOST_CHARACTERS = 1400  # about 350 tokens


def window_of(snippets: Sequence[Snippet], evidence: Evidence) -> str:
    """The snippet that a statement rests on; of a long one the part around its evidence."""
    text = next((one.text for one in snippets if one.snippet_id == evidence.snippet_id), evidence.text)
    if len(text) <= _MOST_CHARACTERS:
        return text
    room = max(0, _MOST_CHARACTERS - (evidence.span.end - evidence.span.start)) // 2
    start = max(0, evidence.span.start - room)
    end = min(len(text), start + _MOST_CHARACTERS)
    start = max(0, end - _MOST_CHARACTERS)
    start = text.rfind(" ", 0, start) + 1 if start else 0
    stop = text.find(" ", end)
    return text[start : stop if stop >= 0 else len(text)]
