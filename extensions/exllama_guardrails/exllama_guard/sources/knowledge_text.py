"""Text of a .md, .txt or .pdf file, and its sections; offsets count characters of that text."""

from __future__ import annotations

import codecs
import io
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from exllama_guard.core.snippets import Span
from exllama_guard.errors import SourceError
from exllama_guard.sources.knowledge_files import read_bytes

__all__ = ["SUFFIXES", "MAX_FILE_BYTES", "Section", "Source", "read_source"]

SUFFIXES = frozenset({".md", ".markdown", ".txt", ".pdf"})
MAX_FILE_BYTES = 64_000_000

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(?=\S)")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*\r?\n?\Z")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class Section:
    """One section's heading ("" before the first) and the place of its body."""

    heading: str
    span: Span


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text with its sections in order, and one sentence for each part that could not be read."""

    text: str
    sections: tuple[Section, ...]
    problems: tuple[str, ...] = ()


def read_source(path: Path, shown: str, step: Callable[[], None] = lambda: None) -> Source:
    """Text and sections of the file at `path`, which messages call `shown`; `step` is called at each page.

    Raises:
        SourceError: It is too large, unreadable, not text, an encrypted or corrupt PDF, or pypdf is missing.
    """
    try:
        data = read_bytes(path, shown, MAX_FILE_BYTES)
        if path.suffix.lower() == ".pdf":
            return _read_pdf(data, shown, step)
        text = _decoded(data, shown)
    except OSError as error:
        raise SourceError(
            f"{shown} cannot be read ({error.strerror or error}); check its permissions."
        ) from error
    markdown = path.suffix.lower() != ".txt"
    return Source(text, tuple(_markdown_sections(text) if markdown else [Section("", Span(0, len(text)))]))


def _decoded(data: bytes, shown: str) -> str:
    """Text of `data` by its byte-order mark, else as UTF-8, else as Windows-1252; line ends stay."""
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), None)
    if encoding is None and b"\0" in data:
        raise SourceError(f"{shown} is not a text file (it holds zero bytes); save it as UTF-8 text.")
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _markdown_sections(text: str) -> Iterator[Section]:
    heading, start, at = "", 0, 0
    fence = previous = ""
    previous_at = 0
    for line in text.splitlines(keepends=True):
        found = None
        mark = _FENCE.match(line)
        if fence:
            if mark and mark.group(1).startswith(fence):
                fence = ""
        elif mark:
            fence = mark.group(1)
        elif match := _HEADING.match(line):
            found = (_heading_text(line[match.end() :]), at)
        elif _UNDERLINE.match(line) and _can_be_heading(previous):
            found = (previous.strip(), previous_at)
        if found is not None:
            yield Section(heading, Span(start, found[1]))
            heading, start = found[0], at + len(line)
        previous, previous_at = ("" if fence or found else line), at
        at += len(line)
    yield Section(heading, Span(start, len(text)))


def _heading_text(written: str) -> str:
    """A heading's words, without the marks that may close it."""
    text = written.rstrip()
    return text.rstrip("#").rstrip() or text


def _can_be_heading(line: str) -> bool:
    return bool(line.strip()) and not line.startswith((" " * 4, "\t", "|", "-", "*", ">"))


def _read_pdf(data: bytes, shown: str, step: Callable[[], None]) -> Source:
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise SourceError(f"{shown} needs the package pypdf; run `pip install pypdf`.") from error
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    broken = (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise SourceError(f"{shown} is encrypted; save a copy without a password.")
        pages = list(reader.pages)
    except (*broken, NotImplementedError) as error:
        raise SourceError(f"{shown} is not a readable PDF ({error}); export it again.") from error
    sections: list[Section] = []
    problems: list[str] = []
    text = ""
    for number, page in enumerate(pages, start=1):
        step()
        try:
            body = page.extract_text()
        except (*broken, NotImplementedError) as error:
            problems.append(f"Page {number} of {shown} cannot be read ({error}); the other pages are used.")
            continue
        sections.append(Section(f"page {number}", Span(len(text), len(text) + len(body))))
        text += body + "\n\n"
    if not text.strip():
        raise SourceError(f"{shown} holds no text (is it a scan?); run text recognition on it first.")
    return Source(text, tuple(sections), tuple(problems))
