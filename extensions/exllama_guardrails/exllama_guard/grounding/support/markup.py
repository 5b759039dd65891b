"""Takes markup out of an answer without moving its words: tags, emphasis and citations become spaces."""

from __future__ import annotations

import re
from collections.abc import Sequence

from exllama_guard.core.snippets import Snippet
from exllama_guard.grounding.citations import find_citations

__all__ = ["without_markup"]

_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)
_MARKUP = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>|\*\*+|__+|~~")
# A small model repeats the marked block of its prompt (sources/marked_block): markers and header lines.
_BLOCK = re.compile(
    r"<<<GUARDRAIL_SNIPPETS|GUARDRAIL_SNIPPETS>>>"
    r'|^\[[^\]\n]+\](?: +(?:section_id|source|start|end|unit)=(?:"[^"\n]*"|\d+))+',
    re.MULTILINE,
)


def without_markup(answer: str, snippets: Sequence[Snippet]) -> str:
    """The answer with tags, emphasis and resolved citations as spaces, of the same length; code stays."""
    if not any(mark in answer for mark in "<*_~[("):
        return answer
    parts = _CODE.split(answer)
    parts[::2] = [_MARKUP.sub(lambda match: " " * len(match.group()), part) for part in parts[::2]]
    text = _BLOCK.sub(lambda match: " " * len(match.group()), "".join(parts))
    signs = list(text)
    for citation in find_citations(answer, snippets):
        if citation.snippet_id is not None:
            start, end = citation.span.start, citation.span.end
            signs[start:end] = " " * (end - start)
    return "".join(signs)
