"""Whether a message leans on the ones before it ("And the second one?"), and what is asked all together.

By form alone: how it begins, a pronoun or another word that points back, or too few words of its own. A
retriever looks for such a message together with the one that it leans on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

__all__ = ["leans_on_before", "asked_together"]

_FILE = Path(__file__).parent / "data" / "followup.txt"
_MOST_CHARACTERS = 300  # a longer message says itself what it is about
_LATEST_POINTER = 5  # words before a pronoun that points back; a later one points inside the message
_FEWEST_WORDS = 3  # "By when?", "visitors too?"
_MOST_BEFORE = 3  # messages; "And the third?" may follow "And the second?"
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]{2}|\w+")


@lru_cache(maxsize=1)
def _patterns() -> dict[str, re.Pattern[str]]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
        elif line and not line.startswith("#"):
            found.setdefault(name, []).append(line)
    return {name: re.compile("|".join(lines), re.IGNORECASE) for name, lines in found.items()}


def leans_on_before(message: str) -> bool:
    """Whether `message` cannot be understood without the one before it, as far as its form tells."""
    text = message.replace("’", "'").strip().lstrip("¿¡*_ ")
    if not text or len(text) > _MOST_CHARACTERS:
        return False
    count = len(_WORD.findall(text))
    if count <= _FEWEST_WORDS or _patterns()["opening"].match(text):
        return True
    if _patterns()["point-here"].search(text):
        return True
    found = next(_patterns()["pointer"].finditer(text), None)
    if found is None:
        return False
    before, after = text[: found.start()], text[found.end() :]
    return len(_WORD.findall(before)) <= _LATEST_POINTER or not _WORD.search(after)


def asked_together(message: str, earlier: Sequence[str]) -> str:
    """`message` after those of `earlier` (oldest first) that it leans on, a line each; else itself."""
    together = [message]
    for before in reversed([one for one in earlier if one.strip()][-_MOST_BEFORE:]):
        if not leans_on_before(together[0]):
            break
        together.insert(0, before)
    return "\n".join(together)
