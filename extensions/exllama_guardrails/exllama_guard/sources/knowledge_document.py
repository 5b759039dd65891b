"""One document as snippets: read, parted into sections, cut into passages, with what is embedded for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from exllama_guard.core.snippets import Offsets, Origin, Snippet, make_snippet
from exllama_guard.sources.knowledge_split import Splitter, sentence_spans, snippet_spans
from exllama_guard.sources.knowledge_text import Source, read_source

__all__ = ["Document", "read_document"]


@dataclass(frozen=True, slots=True)
class Document:
    """A document's snippets, the text to embed for each, and one sentence for each part that was not read."""

    snippets: tuple[Snippet, ...]
    embedded_texts: tuple[str, ...]
    problems: tuple[str, ...] = ()


def read_document(
    path: Path, shown: str, splitter: Splitter = sentence_spans, step: Callable[[], None] = lambda: None
) -> Document:
    """The document at `path`, which messages call `shown`; `step` is called where a part of it is read.

    Raises:
        SourceError: It cannot be read; see `read_source`.
    """
    source = read_source(path, shown, step)
    snippets: list[Snippet] = []
    texts: list[str] = []
    for name, heading, start, end in _places(source, splitter):
        text = source.text[start:end]
        snippets.append(
            make_snippet(
                text,
                position=len(snippets),
                snippet_id=f"{shown}:{start}-{end}",
                section_id=f"{shown}#{name}" if name else shown,
                source_url=shown,
                offsets=Offsets(start, end),
                origin=Origin.KNOWLEDGE,
            )
        )
        texts.append(f"{heading}\n{text}" if heading else text)
    return Document(tuple(snippets), tuple(texts), source.problems)


def _places(source: Source, splitter: Splitter) -> Iterator[tuple[str, str, int, int]]:
    """Each snippet's section name (unique in its file), heading to embed with it, start and end."""
    title = next((section.heading for section in source.sections if section.heading), "")
    seen: dict[str, int] = {}
    for section in source.sections:
        name = section.heading
        if name:
            seen[name] = count = seen.get(name, 0) + 1
            name = name if count == 1 else f"{name} ({count})"
        heading = name if name == title or not title else f"{title}: {name}"
        for span in snippet_spans(source.text, section.span, splitter):
            yield name, heading, span.start, span.end
