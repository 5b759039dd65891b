"""A folder of 300 real files, made of what this Python and its installed packages say of themselves.

The language reference that Python carries for `help()`, the pages that `pydoc` makes of its modules, the
descriptions of the installed packages, and the .md, .rst and .txt files beside their code. The packages are
those of tests/requirements.lock; nothing is downloaded.
"""

from __future__ import annotations

import pydoc
import re
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

__all__ = ["FILES", "write_corpus"]

FILES = 300
_NO_PROSE = re.compile(
    r"licen|copying|top_level|entry_points|SOURCES|NOTICE|AUTHORS|require|test|data/|Lorem", re.I
)
_MODULES = (
    "abc aifc argparse array ast asyncio.queues base64 bisect bz2 calendar cmath cmd code codecs "
    "collections configparser contextlib copy csv dataclasses datetime decimal difflib dis doctest "
    "enum fileinput fnmatch fractions ftplib functools getopt getpass gettext glob graphlib gzip "
    "hashlib heapq hmac html.parser http.client http.cookies imaplib inspect io ipaddress itertools "
    "json linecache locale logging.handlers lzma mailbox mimetypes netrc numbers operator optparse "
    "os.path pickle pickletools platform plistlib poplib pprint profile queue quopri random re "
    "reprlib sched secrets selectors shelve shlex shutil signal smtplib socketserver statistics "
    "string struct subprocess sysconfig tarfile tempfile textwrap threading timeit tokenize trace "
    "traceback tracemalloc types unittest.mock urllib.parse urllib.robotparser uuid venv warnings "
    "wave weakref webbrowser xml.dom.minidom zipapp zipfile zipimport "
)


def _texts() -> Iterator[tuple[str, str]]:
    """Name and text of each file, the most telling ones first."""
    for found in sorted(distributions(), key=lambda one: one.metadata["Name"].casefold()):
        body = found.metadata.get_payload()  # type: ignore[attr-defined]
        if len(body) > 800:
            kind = found.metadata["Description-Content-Type"] or "text/x-rst"
            suffix = ".md" if "markdown" in kind else ".rst"
            yield f"packages/{found.metadata['Name']}{suffix}", body
    root = Path(sysconfig.get_path("purelib"))
    for path in sorted(path for kind in ("md", "rst", "txt") for path in root.rglob(f"*.{kind}")):
        shown = path.relative_to(root).as_posix()
        if 600 < path.stat().st_size < 120_000 and not _NO_PROSE.search(shown):
            yield f"beside/{shown.replace('/', '-')}", path.read_text(encoding="utf-8", errors="replace")
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        yield f"language/{name}.rst", text
    for name in _MODULES.split():
        yield f"modules/{name}.txt", pydoc.plain(pydoc.render_doc(name))[:30_000]


def write_corpus(folder: Path) -> int:
    """Writes the files below `folder`; returns how many there are, at most 300."""
    count = 0
    for name, text in _texts():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")
        count += 1
        if count == FILES:
            break
    return count
