"""What a knowledge folder reads: regular files below it, each once; all else is named with its reason."""

from __future__ import annotations

import os
import socket
import sys

import pytest
from exllama_guard.errors import SourceError
from exllama_guard.sources import knowledge_text
from exllama_guard.sources.knowledge_files import files_of, read_bytes
from exllama_guard.sources.knowledge_folder import KnowledgeFolder
from exllama_guard.testing import FakeEmbedder

unix = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "documents"
    made.mkdir()
    (made / "a.md").write_text("Otters hold hands.")
    (made / "sub").mkdir()
    (made / "sub" / "b.txt").write_text("Walruses have tusks.")
    return made


def read(folder):
    told = []
    found = [path.relative_to(folder).as_posix() for path in files_of(folder, {".md", ".txt"}, told.append)]
    return found, told


def test_files_below_the_folder_are_read_by_name_and_others_are_not_mentioned(folder):
    (folder / "c.bin").write_bytes(b"x")
    (folder / ".hidden.md").write_text("x")
    (folder / ".git").mkdir()
    (folder / ".git" / "d.md").write_text("x")
    assert read(folder) == (["a.md", "sub/b.txt"], [])


@unix
def test_a_pipe_a_socket_and_a_device_are_left_out_by_name(folder):
    os.mkfifo(folder / "pipe.md")
    os.mkfifo(folder / "pipe.bin")
    (folder / "null.txt").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(folder / "s.md"))
        found, told = read(folder)
    assert found == ["a.md", "sub/b.txt"]
    assert told[:2] == [
        "'pipe.md' is a pipe and no file and is left out.",
        "'s.md' is a socket and no file and is left out.",
    ]
    assert "'null.txt' is a link to a file outside" in told[2]


@unix
def test_a_link_to_a_folder_inside_is_read_and_a_loop_is_not(folder):
    (folder / ".archive").mkdir()
    (folder / ".archive" / "old.md").write_text("x")
    (folder / "archive").symlink_to(".archive")
    (folder / "sub" / "loop").symlink_to("..")
    (folder / "itself").symlink_to("itself")
    (folder / "gone.md").symlink_to("nowhere.md")
    found, told = read(folder)
    assert found == ["a.md", "sub/b.txt", "archive/old.md"]
    assert set(told) == {
        "'sub/loop' is a link to a folder that is read already and is left out.",
        "'itself' is a link that leads nowhere and is left out.",
        "'gone.md' is a link that leads nowhere and is left out.",
    }


@unix
def test_links_that_lead_out_are_left_out_and_told(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.md").write_text("x")
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "out.md").symlink_to(tmp_path / "outside" / "secret.md")
    (folder / "through").symlink_to("out")
    found, told = read(folder)
    assert found == ["a.md", "sub/b.txt"]
    assert len(told) == 3 and all("outside the knowledge folder" in one for one in told)


@unix
def test_a_file_with_two_names_is_read_once(folder):
    os.link(folder / "a.md", folder / "same.md")
    (folder / "third.md").symlink_to("a.md")
    found, told = read(folder)
    assert found == ["a.md", "sub/b.txt"]
    assert len(told) == 2 and all("second name" in one for one in told)


@unix
def test_a_file_that_becomes_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe.md")
    with pytest.raises(SourceError, match="is a pipe and no file"):
        read_bytes(folder / "pipe.md", "pipe.md", 100)


def test_a_file_beyond_the_limit_is_named_with_both_numbers(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(knowledge_text, "MAX_FILE_BYTES", 2_000_000)
    (folder / "big.md").write_bytes(b"word " * 600_000)
    status = KnowledgeFolder(folder, FakeEmbedder(), cache_folder=tmp_path / "cache").refresh()
    assert status.files == 2
    assert status.problems == ("big.md has 3 MB, the limit is 2 MB; split it.",)


@unix
def test_everything_at_once_does_not_stop_the_index(folder, tmp_path):
    os.mkfifo(folder / "pipe.md")
    (folder / "itself.md").symlink_to("itself.md")
    (folder / "loop").symlink_to(".")
    (folder / "zero.txt").symlink_to("/dev/zero")
    status = KnowledgeFolder(folder, FakeEmbedder(), cache_folder=tmp_path / "cache").refresh()
    assert status.ready and status.files == 2
    assert len(status.problems) == 4
