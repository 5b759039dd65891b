"""A build can be watched, stopped and resumed: nothing that was embedded is embedded again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from exllama_guard.sources.knowledge_cache import VectorCache
from exllama_guard.sources.knowledge_folder import KnowledgeFolder
from hypothesis import given
from hypothesis import strategies as st

FILES = 12

# Says each text that it embeds; ends itself hard at the one numbered in argv, as a kill -9 would.
PROGRAM = """
import os, signal, sys
from pathlib import Path
import numpy as np
from exllama_guard.sources.knowledge_folder import KnowledgeFolder
folder, cache, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
class Telling:
    id = "all-MiniLM-L6-v2"  # one whose scale is known: no other text is embedded
    count = 0
    def embed(self, texts):
        for text in texts:
            self.count += 1
            if self.count == last:
                os.kill(os.getpid(), signal.SIGKILL)
            print(text.split()[0], flush=True)
        return np.eye(4, dtype=np.float32)[[len(text) % 4 for text in texts]]
print(KnowledgeFolder(folder, Telling(), cache_folder=cache).refresh().files, flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "documents"
    made.mkdir()
    for number in range(FILES):
        (made / f"{number:02}.txt").write_text(f"doc{number} holds the number {number} and nothing else.")
    return made


def ran(folder, cache, last):
    env = {**os.environ, "PYTHONPATH": str(Path(KnowledgeFolder.__init__.__code__.co_filename).parents[2])}
    given = [sys.executable, "-c", PROGRAM, str(folder), str(cache), str(last)]
    return subprocess.run(given, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL there")
def test_a_killed_build_goes_on_where_it_was(folder, tmp_path):
    first = ran(folder, tmp_path / "cache", 8)
    assert first.returncode == -signal.SIGKILL
    told = [line for line in first.stdout.split() if line.startswith("doc")]
    second = ran(folder, tmp_path / "cache", -1)
    again = [line for line in second.stdout.split() if line.startswith("doc")]
    assert second.stdout.split()[-1] == str(FILES)
    # The first text is embedded once more: that loads the model before a question comes.
    assert set(told) & set(again) <= {"doc0"}
    assert set(told) | set(again) == {f"doc{number}" for number in range(FILES)}
    assert len(set(told)) >= 5


class Quick:
    id = "all-MiniLM-L6-v2"

    def embed(self, texts):
        return np.eye(4, dtype=np.float32)[[len(text) % 4 for text in texts]]


class Slow:
    """Waits in the third text until it is let go."""

    id = "all-MiniLM-L6-v2"

    def __init__(self):
        self.reached, self.go = threading.Event(), threading.Event()
        self.count = 0

    def embed(self, texts):
        self.count += len(texts)
        if self.count == 3:
            self.reached.set()
            self.go.wait()
        return np.eye(4, dtype=np.float32)[[len(text) % 4 for text in texts]]


def test_a_closed_folder_ends_after_the_text_in_work_and_the_next_build_takes_the_rest(folder, tmp_path):
    slow = Slow()
    knowledge = KnowledgeFolder(folder, slow, cache_folder=tmp_path / "cache")
    knowledge.build()
    slow.reached.wait()
    knowledge.close()
    slow.go.set()
    knowledge._thread.join()
    done = slow.count
    assert done < FILES
    assert not knowledge.status.building
    knowledge.build()  # a closed folder starts no other build
    assert slow.count == done
    assert KnowledgeFolder(folder, Quick(), cache_folder=tmp_path / "cache").refresh().files == FILES


def test_progress_counts_files_and_names_the_time_left(folder, tmp_path):
    told = []
    KnowledgeFolder(folder, Quick(), cache_folder=tmp_path / "cache", on_progress=told.append).refresh()
    said = [status.progress for status in told if status.progress]
    assert said[0] == f"Indexing 1 of {FILES} files."
    assert said[-1].startswith(f"Indexing {FILES} of {FILES} files, about ")
    assert told[-1].progress == ""


@given(st.integers(0, 400), st.binary(max_size=8))
def test_a_file_of_vectors_that_was_cut_anywhere_loses_its_last_record_only(cut, noise):
    with tempfile.TemporaryDirectory() as place:
        cache = VectorCache(Path(place), "x")
        vectors = {cache.key(str(n)): np.full(3, n, dtype=np.float32) for n in range(6)}
        cache.append(vectors)
        (file,) = Path(place).iterdir()
        data = file.read_bytes()
        size = (len(data) - 16) // 6
        file.write_bytes(data[:cut])
        whole = max(0, (min(cut, len(data)) - 16) // size)
        assert len(cache.load()) == whole
        with file.open("ab") as more:
            more.write(noise)
        cache.append({cache.key("new"): np.ones(3, dtype=np.float32)})
        loaded = cache.load()
        assert np.array_equal(loaded[cache.key("new")], np.ones(3, dtype=np.float32))
        assert len(loaded) >= min(whole, 1)
