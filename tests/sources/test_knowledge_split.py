"""Splitting loses nothing: in random and in real documents each word stands in one snippet, in order."""

from __future__ import annotations

import itertools
import sysconfig
from pathlib import Path

import pytest
from exllama_guard.core.snippets import Span
from exllama_guard.errors import SourceError
from exllama_guard.sources.knowledge_folder import KnowledgeFolder
from exllama_guard.sources.knowledge_split import MAX_WORDS, snippet_spans
from exllama_guard.sources.knowledge_text import read_source
from exllama_guard.testing import FakeEmbedder
from hypothesis import example, given
from hypothesis import strategies as st

REAL_FILES = 300


def words(count, sentence=""):
    return " ".join(f"w{number}" for number in range(count)) + sentence


def assert_nothing_lost(text, within):
    spans = snippet_spans(text, within)
    assert all(within.start <= span.start < span.end <= within.end for span in spans)
    assert all(first.end <= second.start for first, second in itertools.pairwise(spans))
    pieces = [text[span.start : span.end] for span in spans]
    assert all(piece == piece.strip() for piece in pieces)
    rest = "".join(piece.strip() for piece in _between(text, within, spans))
    assert rest == "", f"no snippet holds {rest[:80]!r}"
    for piece in pieces:
        assert sum(1 if len(word) <= 40 else -(-len(word) // 8) for word in piece.split()) <= MAX_WORDS


def _between(text, within, spans):
    edges = [within.start, *(edge for span in spans for edge in (span.start, span.end)), within.end]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize(
    "paragraphs", [[100, 40], [100, 100, 40], [120, 1], [160, 160, 1], [1000], [119, 41]]
)
def test_paragraphs_of_any_length_are_held_once(paragraphs):
    text = "\n\n".join(words(count, ".") for count in paragraphs)
    assert_nothing_lost(text, Span(0, len(text)))
    held = " ".join(text[s.start : s.end] for s in snippet_spans(text, Span(0, len(text))))
    assert held.split() == text.split()


PIECES = st.one_of(
    st.integers(1, 200).map(words),
    st.integers(1, 200).map(lambda count: words(count, ". ")),
    st.sampled_from(
        ["\n", "\n\n", " ", "\t", "\u3000", ". ", "!\n", '." ', "- item\n", "1. ", "|a|b|\n", "…", "。"]
    ),
    st.text(alphabet="ab .!?\n\"')(-*1日本。語\u2028\r\x0b", max_size=60),
    st.integers(1, 4000).map(lambda count: "文" * count),
)


@given(st.lists(PIECES, max_size=30).map("".join), st.data())
@example("文" * 5000 + "。" + "文" * 10, None)
def test_each_character_of_a_random_document_is_in_one_snippet(text, data):
    low = 0 if data is None else data.draw(st.integers(0, len(text)))
    high = len(text) if data is None else data.draw(st.integers(low, len(text)))
    assert_nothing_lost(text, Span(low, high))


def real_files():
    """Text files of this Python and its packages: licences, readmes, changes, lists of words."""
    roots = [Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("stdlib"))]
    found = [
        path
        for root in roots
        for suffix in (".md", ".txt", ".rst")
        for path in sorted(root.rglob(f"*{suffix}"))
        if path.is_file() and 200 < path.stat().st_size < 60_000
    ]
    if len(found) < 40:
        pytest.skip(f"this Python has only {len(found)} text files beside its packages")
    return found[:REAL_FILES]


def test_real_documents_are_held_whole():
    read = 0
    for path in real_files():
        try:
            source = read_source(path, path.name)
        except SourceError:
            continue  # not text in spite of its name; the folder tells of it
        ends = [section.span.end for section in source.sections]
        assert ends[-1] == len(source.text)
        for section in source.sections:
            assert_nothing_lost(source.text, section.span)
        read += 1
    assert read >= 40


def test_real_documents_are_indexed_to_the_end(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    for number, path in enumerate(real_files()):
        (folder / f"{number:03}.{'md' if path.suffix == '.md' else 'txt'}").write_bytes(path.read_bytes())
    knowledge = KnowledgeFolder(folder, FakeEmbedder(), cache_folder=tmp_path / "cache")
    status = knowledge.refresh()
    assert status.ready
    assert status.files + len(status.problems) >= len(list(folder.iterdir()))
    assert all("fault" not in problem for problem in status.problems)
    assert status.snippets > status.files
