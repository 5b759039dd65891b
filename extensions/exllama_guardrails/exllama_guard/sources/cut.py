"""Snippets of one retrieved text: whole where short, in passages where long."""

from __future__ import annotations

from dataclasses import replace

from exllama_guard.core.snippets import Offsets, Origin, Snippet, Trust, content_hash, make_snippet
from exllama_guard.grounding import split_passages

__all__ = ["snippets_of"]


def snippets_of(
    content: str,
    *,
    section: str | None,
    url: str | None,
    origin: Origin,
    first: int,
    trust: Trust | None = None,
) -> tuple[Snippet, ...]:
    """Snippets of `content` in order, each with the exact characters [start, end) that it has there.

    Args:
        content: The retrieved text, as it stands in its source.
        section: Name of the section or file; None where the source gives none.
        url: Address; None where the source gives none, then the hash of the whole content stands in.
        origin: Where the text came from.
        first: Number of snippets found before it; gives the ids.
        trust: Who vouches for it; by its origin where missing.
    """
    source = url or content_hash(content)
    missing = frozenset() if url else frozenset({"source_url"})
    return tuple(
        replace(snippet, derived=snippet.derived | missing)
        for snippet in (
            make_snippet(
                content[span.start : span.end],
                position=first + index,
                section_id=section,
                source_url=source,
                offsets=Offsets(span.start, span.end),
                origin=origin,
                trust=trust,
            )
            for index, span in enumerate(split_passages(content))
        )
    )
