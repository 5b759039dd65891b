"""Whether a run of words states something: it has a verb that says so, by form alone."""

from __future__ import annotations

import itertools
import re

from exllama_guard.grounding.phrases import finite_verbs

_SUBJECTS = frozenset(
    ["i", "you", "we", "they", "he", "she", "ich", "wir", "je", "tu", "elle", "nous", "vous"]
)
_NOT_VERBS = frozenset(
    ["and", "or", "to", "for", "of", "in", "on", "at", "with", "from", "by", "can", "t", "s", "need"]
)
_JAPANESE = re.compile(r"(?:です|ます|ません|でした|ました|である|だ|ない|る|た)[。.!！]?\s*\Z|[はがを]")
_CHINESE = re.compile(r"[是有会可能为在了需须应要不没]")
_KOREAN = re.compile(r"(?:다|요|까)[.!]?\s*\Z|[은는이가]\s")
_HINDI = re.compile(r"(?:है|हैं|था|थे|थी|गा|गे|गी|चाहिए|सकते|सकता|सकती)\b|(?:है|हैं|होगा|करें|नहीं)")
_ARABIC = re.compile(r"[\u0600-\u06ff]{2}")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_CODE_SIGNS = re.compile(
    r"[{}=;<>|\\$]|\w\(|\)\s*:|->|::|\w\.\w+\(|/\w+/"
    r"|^\s*(?:#!|//|import |from \S+ import|def |class |return\b|\$ |> |--?\w)"
)


def words_in(text: str) -> int:
    """How many words a text has; two signs of Han or kana count as one."""
    signs = len(_CJK.findall(text))
    return sum(1 for _ in re.finditer(r"\w+", _CJK.sub(" ", text))) + (signs + 1) // 2


def states(text: str) -> bool:
    """Whether the words hold a verb that states, as far as their form tells."""
    if _CJK.search(text):
        if re.search(r"[\u3040-\u30ff]", text):
            return _JAPANESE.search(text) is not None
        return _CHINESE.search(text) is not None
    if _ARABIC.search(text):
        return words_in(text) >= 4
    words = [word.casefold().replace("’", "'") for word in _WORD.findall(text)]
    if _HINDI.search(text) or _KOREAN.search(text):
        return True
    if any(word in finite_verbs() for word in words):
        return True
    pairs = itertools.pairwise(words)
    return any(first in _SUBJECTS and second not in _NOT_VERBS for first, second in pairs)


def is_prose(line: str) -> bool:
    """Whether a line of a code block is a sentence to be read, not code."""
    bare = re.sub(r"\A\s*(?:#+|//+|--|;|\*|/\*|<!--|%|REM\b)\s*", "", line)
    commented = bare != line.lstrip()
    if _CODE_SIGNS.search(bare) or words_in(bare) < 4:
        return False
    ended = bare.rstrip(" \t\n*/->").endswith((".", "!", "。", "।", "؟"))
    return states(bare) and (ended or not commented)
