"""The knowledge folder: exact places, stable hashes, changes taken in, bad files said and skipped."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from exllama_guard.core.snippets import Span, words
from exllama_guard.errors import EmbedderError, SourceError
from exllama_guard.sources.knowledge_build import Builder
from exllama_guard.sources.knowledge_cache import VectorCache
from exllama_guard.sources.knowledge_folder import KnowledgeFolder
from exllama_guard.sources.knowledge_split import MAX_WORDS, snippet_spans
from exllama_guard.sources.knowledge_text import read_source
from exllama_guard.sources.marked_block import format_block, parse_snippets
from hypothesis import given
from hypothesis import strategies as st


class WordEmbedder:
    """One dimension a word: two texts are as near as they share words. Counts what it was asked."""

    id = "words"

    def __init__(self):
        self.places = {}
        self.asked = []
        self.fails = False

    def embed(self, texts):
        if self.fails:
            raise EmbedderError("No embedder: install one.")
        self.asked += texts
        rows = np.zeros((len(texts), 512), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in words(text):
                row[self.places.setdefault(word, len(self.places) % 512)] += 1
            row /= max(float(np.linalg.norm(row)), 1e-9)
        return rows


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "docs"
    place.mkdir()
    (place / "cache.md").write_text(
        "# Cache\n\nThe cache is rotated after 8192 tokens.\n\n## Cost\n\nA reset costs one prefill.\n",
        encoding="utf-8",
    )
    (place / "plain.txt").write_text("Zebras have stripes.\r\nLions have manes.\r\n", newline="")
    return place


@pytest.fixture
def opened(folder, tmp_path):
    def open_it(embedder=None, **options):
        return KnowledgeFolder(folder, embedder or WordEmbedder(), cache_folder=tmp_path / "cache", **options)

    return open_it


def test_the_nearest_snippet_comes_first_with_its_exact_place(opened, folder):
    knowledge = opened()
    (first, *_) = knowledge.retrieve("after how many tokens is the cache rotated", 3)
    assert first.text == "The cache is rotated after 8192 tokens."
    assert (first.snippet_id, first.section_id, first.source_url) == ("s1", "cache.md#Cache", "cache.md")
    source = (folder / "cache.md").read_text(encoding="utf-8")
    assert source[first.offsets.start : first.offsets.end] == first.text
    assert first.derived == frozenset()
    assert first.index_hash == knowledge.index_hash != ""


def test_no_absolute_path_leaves_the_folder(opened, folder, tmp_path):
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nonsense")
    knowledge = opened()
    said = repr(knowledge.refresh()) + repr(knowledge.retrieve("zebras", 5))
    assert str(tmp_path) not in said


def test_bad_files_are_said_and_the_rest_is_indexed(opened, folder):
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nonsense")
    (folder / "zero.txt").write_bytes(b"a\0b")
    status = opened().refresh()
    assert status.ready and status.files == 2
    assert any("broken.pdf is not a readable PDF" in problem for problem in status.problems)
    assert any("zero.txt is not a text file" in problem for problem in status.problems)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_said(opened, folder):
    (folder / "secret.txt").write_text("x")
    (folder / "secret.txt").chmod(0)
    assert any("secret.txt cannot be read" in problem for problem in opened().refresh().problems)


def test_a_missing_folder_and_an_empty_one_are_sentences(tmp_path):
    missing = KnowledgeFolder(tmp_path / "none", WordEmbedder(), cache_folder=tmp_path / "cache")
    assert "is not there" in missing.refresh().problems[0]
    assert missing.retrieve("anything", 3) == ()
    (tmp_path / "empty").mkdir()
    empty = KnowledgeFolder(tmp_path / "empty", WordEmbedder(), cache_folder=tmp_path / "cache")
    assert "holds no .md" in empty.refresh().problems[0]


def test_a_pdf_is_read_page_by_page(opened, folder):
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for line in ("Walruses have tusks.", "Otters hold hands."):
        page = writer.add_blank_page(300, 300)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({line}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
    writer.write(folder / "animals.pdf")
    (first, *_) = opened().retrieve("Otters hold hands", 1)
    assert first.text == "Otters hold hands."
    assert first.section_id == "animals.pdf#page 2"


def test_only_changed_files_are_embedded_again(opened, folder):
    embedder = WordEmbedder()
    knowledge = opened(embedder)
    knowledge.refresh()
    before = knowledge.index_hash
    embedder.asked.clear()
    knowledge.refresh()
    assert embedder.asked == []
    (folder / "plain.txt").write_text("Zebras have stripes. Owls can turn their heads.", encoding="utf-8")
    knowledge.refresh()
    assert len(embedder.asked) == 1 and "Owls" in embedder.asked[0]
    assert knowledge.index_hash != before
    (folder / "plain.txt").unlink()
    assert knowledge.refresh().files == 1


def test_vectors_are_kept_on_disk_and_the_hashes_are_the_same_again(opened):
    first = opened()
    first.refresh()
    embedder = WordEmbedder()
    again = opened(embedder)
    again.refresh()
    assert len(embedder.asked) == 1  # one text loads the model, so that no question waits for that
    assert (again.index_hash, again.vectors_hash) == (first.index_hash, first.vectors_hash)


def test_a_damaged_vector_file_is_made_again(opened, tmp_path):
    opened().refresh()
    (stored,) = (tmp_path / "cache").glob("vectors-*")
    stored.write_bytes(b"not a file of vectors")
    assert opened().refresh().snippets == 3


def test_vectors_that_cannot_be_kept_are_a_sentence(folder, tmp_path):
    (tmp_path / "file").write_text("")
    knowledge = KnowledgeFolder(folder, WordEmbedder(), cache_folder=tmp_path / "file")
    status = knowledge.refresh()
    assert status.ready and "cannot be kept" in status.problems[0]


def test_a_failing_embedder_is_a_sentence_and_tried_again(opened):
    embedder = WordEmbedder()
    embedder.fails = True
    knowledge = opened(embedder)
    assert knowledge.refresh().problems == ("No embedder: install one.",)
    assert knowledge.retrieve("zebras", 2) == ()
    embedder.fails = False
    assert knowledge.refresh().ready
    assert knowledge.retrieve("zebras", 2)


def test_copies_are_left_out(opened, folder):
    (folder / "copy.txt").write_bytes((folder / "plain.txt").read_bytes())
    texts = [snippet.text for snippet in opened().retrieve("zebras have stripes", 9)]
    assert len(texts) == len(set(texts)) == 3


@pytest.mark.parametrize(("question", "k"), [("", 3), (" \n", 3), ("zebras", 0)])
def test_nothing_asked_nothing_found(opened, question, k):
    assert opened().retrieve(question, k) == ()


def test_progress_is_told_and_ends_ready(opened):
    told = []
    opened(on_progress=told.append).refresh()
    assert told[0].building and told[-1].ready
    assert [(status.done, status.total) for status in told if status.building and status.total] == [
        (0, 2),
        (1, 2),
    ]
    assert "Indexing 1 of 2 files" in next(status.progress for status in told if status.total)


def test_questions_from_many_threads_during_a_build_agree(opened):
    knowledge = opened()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(knowledge.retrieve("zebras have stripes", 1)[0].text))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(found) == 8 and len(set(found)) == 1


def test_a_text_of_the_folder_is_looked_up_with_its_place(opened):
    knowledge = opened()
    (found,) = knowledge.retrieve("zebras", 1)
    known = knowledge.lookup(found.text)
    assert (known.source_url, known.section_id, known.offsets) == (
        found.source_url,
        found.section_id,
        found.offsets,
    )
    assert known.index_hash == knowledge.index_hash
    assert knowledge.lookup("not in any file") is None


def test_the_block_of_what_it_finds_reads_back(opened):
    snippets = opened().retrieve("zebras", 2)
    assert [s.text for s in parse_snippets(format_block(snippets))] == [s.text for s in snippets]


@given(st.text(alphabet=st.sampled_from("ab .!?\n\r#-1é漢。"), max_size=2000))
def test_snippets_hold_every_word_once_and_in_order(text):
    spans = snippet_spans(text, Span(0, len(text)))
    kept = "".join(text[span.start : span.end] for span in spans)
    assert "".join(kept.split()) == "".join(text.split())
    assert all(text[span.start : span.end].strip() for span in spans)
    assert all(len(text[span.start : span.end].split()) <= MAX_WORDS for span in spans)
    assert all(one.end <= two.start for one, two in itertools.pairwise(spans))


def test_a_megabyte_without_a_sentence_end_is_cut(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("word " * 200_000)
    source = read_source(path, "long.txt")
    spans = snippet_spans(source.text, source.sections[0].span)
    assert len(spans) == -(-200_000 // MAX_WORDS)


def test_headings_in_code_are_not_sections(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("Intro\n\nTitle\n=====\n\n```\n# not a heading\n```\n\n## Real ##\nbody\n")
    assert [section.heading for section in read_source(path, "a.md").sections] == ["", "Title", "Real"]


def test_sections_of_the_same_name_are_told_apart(opened, folder):
    (folder / "twice.md").write_text("# A\n\n## Limits\n\nOne owl.\n\n## Limits\n\nTwo owls.\n")
    found = {s.text: s.section_id for s in opened().retrieve("owl owls one two", 9)}
    assert found["One owl."] == "twice.md#Limits"
    assert found["Two owls."] == "twice.md#Limits (2)"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("Größe".encode(encoding))
    assert read_source(path, "a.txt").text == "Größe"


def test_a_file_over_the_limit_is_refused_with_both_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("exllama_guard.sources.knowledge_text.MAX_FILE_BYTES", 2_000_000)
    path = tmp_path / "big.txt"
    path.write_bytes(b"x" * 5_000_000)
    with pytest.raises(SourceError, match="5 MB, the limit is 2 MB"):
        read_source(path, "big.txt")


def test_cache_round_trip(tmp_path):
    cache = VectorCache(tmp_path, "name")
    vectors = {cache.key("a"): np.ones(3, dtype=np.float32), cache.key("b"): np.zeros(3, dtype=np.float32)}
    cache.save(vectors)
    loaded = cache.load()
    assert loaded.keys() == vectors.keys()
    assert all(np.array_equal(loaded[key], vectors[key]) for key in vectors)
    assert len(list(Path(tmp_path).iterdir())) == 1  # nothing is left of the writing


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_out_of_the_folder_is_left_out_and_told(opened, folder, tmp_path):
    outside = tmp_path / "private.txt"
    outside.write_text("The password of the bank is kept here.")
    (folder / "link.txt").symlink_to(outside)
    (folder / "up.md").symlink_to(Path("..", "private.txt"))
    (folder / "inside.txt").symlink_to(folder / "plain.txt")
    (folder / "all").symlink_to(tmp_path, target_is_directory=True)
    retriever = opened()
    status = retriever.refresh()
    found = retriever.retrieve("What is the password of the bank?", 50)
    assert found
    assert not any("password" in snippet.text for snippet in found)
    told = [problem for problem in status.problems if "outside the knowledge folder" in problem]
    assert [problem.partition(" ")[0] for problem in told] == ["'all'", "'link.txt'", "'up.md'"]
    assert any("'inside.txt' is a second name" in problem for problem in status.problems)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_ours_while_it_is_read_is_told_and_the_next_reading_works(opened, monkeypatch):
    told = []
    retriever = opened(on_progress=told.append)
    read = Builder._take

    def broken(*_):
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr(Builder, "_take", broken)
    retriever.build()
    retriever._thread.join(120)
    assert "a fault (ZeroDivisionError)" in told[-1].problems[0]
    assert not told[-1].building
    assert retriever.retrieve("What?", 3) == ()
    retriever._thread.join(120)  # a question looks again whether the folder has changed
    monkeypatch.setattr(Builder, "_take", read)
    retriever.build()
    retriever._thread.join(120)
    assert told[-1].problems == ()
    assert retriever.retrieve("After how many tokens is the cache rotated?", 1)
