"""The files of a folder that may be read: regular ones below it, each once; what is left out is named."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from exllama_guard.errors import SourceError

__all__ = ["files_of", "read_bytes"]

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def files_of(folder: Path, suffixes: Collection[str], tell: Callable[[str], None]) -> Iterator[Path]:
    """Paths of the regular files below `folder` with one of `suffixes`, by name; links come last.

    A link is followed where it leads to something inside the folder that is not read anyhow. Hidden files
    and folders are left out unsaid, everything else with one sentence to `tell`.

    Args:
        folder: A resolved path.
        suffixes: In lower case, with the dot.
        tell: Takes the sentence for each file or folder that is left out.
    """
    walk = _Walk(folder, suffixes, tell)
    yield from walk.below(folder)
    while walk.links:
        yield from walk.behind(walk.links.pop(0))


@dataclass(slots=True)
class _Walk:
    """One pass over the folder. `seen` holds device and number of each file and folder that was reached."""

    folder: Path
    suffixes: Collection[str]
    tell: Callable[[str], None]
    links: list[Path] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def below(self, folder: Path) -> Iterator[Path]:
        """The files of `folder` and of the folders in it; the links are put aside."""
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            if not self._first_time(here, here.stat):
                continue
            folders: list[Path] = []
            for entry in self._entries(here):
                if entry.is_symlink():
                    self.links.append(Path(entry.path))
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif self._wanted(Path(entry.path)) and self._first_time(Path(entry.path), entry.stat):
                    yield Path(entry.path)
            waiting += reversed(folders)

    def behind(self, link: Path) -> Iterator[Path]:
        """What a link leads to: a file, or the files of a folder, under the link's own name."""
        try:
            target = link.resolve(strict=True)
            mode = target.stat().st_mode
        except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
            self._leave_out(link, "is a link that leads nowhere")
            return
        if not target.is_relative_to(self.folder):
            if stat.S_ISDIR(mode) or link.suffix.lower() in self.suffixes:
                kind = "folder" if stat.S_ISDIR(mode) else "file"
                self._leave_out(
                    link, f"is a link to a {kind} outside the knowledge folder", "put it there itself"
                )
        elif stat.S_ISDIR(mode):
            if self._is_new(target):
                yield from self.below(link)
            else:
                self._leave_out(link, "is a link to a folder that is read already")
        elif self._wanted(link) and self._first_time(link, target.stat):
            yield link

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """What lies in the folder by name, without hidden things; none where it cannot be read."""
        try:
            with os.scandir(folder) as found:
                shown = [entry for entry in found if not entry.name.startswith(".")]
        except OSError as error:
            name = folder.name
            self.tell(
                f"The folder '{name}' cannot be read ({error.strerror or error}); check its permissions."
            )
            return []
        return sorted(shown, key=lambda entry: entry.name)

    def _wanted(self, path: Path) -> bool:
        """True for a regular file of a kind that is read; another thing with such a name is told of."""
        if path.suffix.lower() not in self.suffixes:
            return False
        try:
            mode = path.stat().st_mode
        except OSError as error:
            self._leave_out(path, f"cannot be read ({error.strerror or error})", "check its permissions")
            return False
        if not stat.S_ISREG(mode):
            self._leave_out(path, f"is {_kind(mode)} and no file")
        return stat.S_ISREG(mode)

    def _first_time(self, path: Path, ask: Callable[[], os.stat_result]) -> bool:
        """True once for each file and folder, whatever it is called; a second name of a file is told of."""
        try:
            found = ask()
        except OSError:
            return False  # gone since it was listed
        identity = (found.st_dev, found.st_ino)
        if found.st_ino and identity in self.seen:
            self._leave_out(path, "is a second name of something that is read already")
            return False
        self.seen.add(identity)
        return True

    def _is_new(self, folder: Path) -> bool:
        found = folder.stat()
        return (found.st_dev, found.st_ino) not in self.seen

    def _leave_out(self, path: Path, why: str, remedy: str = "") -> None:
        shown = path.relative_to(self.folder).as_posix()
        self.tell(f"'{shown}' {why} and is left out{'; ' + remedy if remedy else ''}.")


def _kind(mode: int) -> str:
    return next((words for is_one, words in _KINDS if is_one(mode)), "of an unknown kind")


def read_bytes(path: Path, shown: str, limit: int) -> bytes:
    """The content of the regular file at `path`; never waits for a pipe, never reads a device.

    Raises:
        SourceError: It has more than `limit` bytes, or has become something else than a file.
        OSError: It cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"{shown} is {_kind(found.st_mode)} and no file; it is left out.")
        data = file.read(limit + 1) if found.st_size <= limit else b""
    size = max(found.st_size, len(data))
    if size > limit:
        raise SourceError(f"{shown} has {size / 1e6:.0f} MB, the limit is {limit / 1e6:.0f} MB; split it.")
    return data
