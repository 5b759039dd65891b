"""Snippets: retrieved passages with what a trace must say of each; words, tokens and hashes of a text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

_WORD = re.compile(r"\w+|[^\w\s]", re.UNICODE)


class Origin(str, Enum):
    """Where a snippet came from."""

    ATTACHMENT = "attachment"
    WEB_SEARCH = "web search"
    TOOL_RESULT = "tool result"
    SUPERBOOGA = "superbooga"
    MARKED_BLOCK = "marked block"
    HANDED_OVER = "handed over"
    KNOWLEDGE = "knowledge folder"
    PASTED = "pasted"


class Trust(str, Enum):
    """Who vouches for a snippet's text, in the words that the panel shows."""

    YOURS = "yours"  # a file that you attached or keep in the knowledge folder, a text that you pasted
    PROGRAM = "from a program"  # another extension or a program retrieved it
    MESSAGE = "in a message"  # it stands in a message, in a form that anyone can write
    OUTSIDE = "from outside"  # a web page, or what a tool gave back


_TRUST_OF = {
    Origin.ATTACHMENT: Trust.YOURS,
    Origin.WEB_SEARCH: Trust.OUTSIDE,
    Origin.TOOL_RESULT: Trust.OUTSIDE,
    Origin.SUPERBOOGA: Trust.PROGRAM,
    Origin.MARKED_BLOCK: Trust.MESSAGE,
    Origin.HANDED_OVER: Trust.PROGRAM,
    Origin.KNOWLEDGE: Trust.YOURS,
    Origin.PASTED: Trust.YOURS,
}


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range [start, end) of characters, 0 <= start <= end."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"a span must have 0 <= start <= end, not {self.start}..{self.end}")

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Offsets:
    """Where a snippet's text stands in its source: [start, end) in `unit` (char, byte or token)."""

    start: int
    end: int
    unit: str = "char"


@dataclass(frozen=True, slots=True)
class Snippet:
    """One retrieved passage. `derived` names the contract fields that its source did not give."""

    snippet_id: str
    text: str
    section_id: str
    source_url: str
    tokens: int
    offsets: Offsets
    origin: Origin = Origin.PASTED
    derived: frozenset[str] = frozenset()
    score: float | None = None
    index_hash: str | None = None
    analyzer: str | None = None  # what its index was made with, such as the id of an embedding model
    trust: Trust = Trust.YOURS


def count_tokens(text: str) -> int:
    """Number of words and punctuation marks in `text`, >= 0: the extension's own unit for `tokens`."""
    return sum(1 for _ in _WORD.finditer(text))


def words(text: str) -> list[str]:
    """Case-folded words of `text` in order, without punctuation."""
    return [match.group().casefold() for match in _WORD.finditer(text) if match.group()[0].isalnum()]


def encodable(text: str) -> str:
    """`text` with each lone surrogate, which no encoder or tokenizer accepts, as `?`; of the same length."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def content_hash(text: str) -> str:
    """`sha256:` and 64 hex digits of the text's UTF-8 bytes (lone surrogates replaced)."""
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def trust_of(origin: Origin) -> Trust:
    """How far a text of this origin is to be trusted, where nothing more is known of it."""
    return _TRUST_OF[origin]


def make_snippet(
    text: str,
    *,
    position: int,
    snippet_id: str | None = None,
    section_id: str | None = None,
    source_url: str | None = None,
    offsets: Offsets | None = None,
    origin: Origin = Origin.PASTED,
    score: float | None = None,
    index_hash: str | None = None,
    analyzer: str | None = None,
    trust: Trust | None = None,
) -> Snippet:
    """A snippet whose missing contract fields are derived deterministically and marked as derived.

    Args:
        text: The passage.
        position: Place among the turn's snippets, from 0; gives the id s1, s2, ... where none is given.
        snippet_id: Id in its source.
        section_id: Section in its source; derived from the source (or the text's hash) where missing.
        source_url: URL or content hash; derived from the text's hash where missing.
        offsets: Place of the text in its source; [0, len) where missing.
        origin: Where it came from.
        score: The retriever's own score, if it has one.
        index_hash: Hash of the index that it was retrieved from, if there is one.
        analyzer: What that index was made with, such as the id of an embedding model.
        trust: Who vouches for it; by its origin where missing.
    """
    text = encodable(text)
    given = {
        "snippet_id": snippet_id,
        "section_id": section_id,
        "source_url": source_url,
        "offsets": offsets,
    }
    url = source_url or content_hash(text)
    return Snippet(
        snippet_id=snippet_id or f"s{position + 1}",
        text=text,
        section_id=section_id or f"section:{hashlib.sha256(url.encode('utf-8', 'replace')).hexdigest()[:12]}",
        source_url=url,
        tokens=count_tokens(text),
        offsets=offsets or Offsets(0, len(text)),
        origin=origin,
        derived=frozenset(name for name, value in given.items() if value is None),
        score=score,
        index_hash=index_hash,
        analyzer=analyzer,
        trust=trust or trust_of(origin),
    )


def with_unique_ids(snippets: Iterable[Snippet]) -> tuple[Snippet, ...]:
    """The same snippets in order, later duplicates of an id renamed `id-2`, `id-3`, ..."""
    given = tuple(snippets)
    taken = {snippet.snippet_id for snippet in given}
    seen: dict[str, int] = {}
    out: list[Snippet] = []
    for snippet in given:
        name = snippet.snippet_id
        seen[name] = count = seen.get(name, 0) + 1
        if count > 1:
            while f"{name}-{count}" in taken:
                count += 1
            seen[name] = count
            taken.add(f"{name}-{count}")
            derived = snippet.derived | {"snippet_id"}
            snippet = replace(snippet, snippet_id=f"{name}-{count}", derived=derived)
        out.append(snippet)
    return tuple(out)
