"""The names that a text gives to persons, places and things, as far as capitals tell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from exllama_guard.grounding.facts.parsing import Parsed
from exllama_guard.grounding.facts.tokens import Token
from exllama_guard.grounding.lexicon import lemmas_of, weight_of

_FILE = Path(__file__).parent / "data" / "names.txt"
_COMMON = 0.55  # an English word that tells less than this is a common one, whatever its capital
_RARE = 0.95  # one that tells more opens a sentence as part of a name
_SCRIPTS = ("en", "fr", "es", "it", "pt", "ru", "nl", "pl")  # whose capitals mark names
_JOIN = re.compile(
    r"(?:[ \u00a0]|[-’'&]| of | de | da | do | del | di | von | van | der | la | le | & ){1,2}\Z"
)
_OPENING = re.compile(r"(?:\A|[.!?:;*•\"“”„«(|\[>#]|\d[.)]|[–—-]\s)\s*\Z")


_UNITS_DE = frozenset(
    ["liter", "gramm", "meter", "minuten", "stunden", "tage", "wochen", "monate", "jahre", "prozent", "euro"]
)


@dataclass(frozen=True, slots=True)
class Name:
    """Characters [start, end) of a text that name somebody or something; `words` are case-folded."""

    start: int
    end: int
    text: str
    words: tuple[str, ...]


@lru_cache(maxsize=1)
def _lists() -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
    ordinary: list[str] = []
    short: dict[str, tuple[str, ...]] = {}
    section = ""
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line
        elif line and not line.startswith("#") and section == "[no-name]":
            ordinary += line.split()
        elif line and not line.startswith("#"):
            left, right = line.split("=")
            short[left] = tuple(right.split("|"))
    return frozenset(ordinary), short


def expansions(word: str) -> tuple[str, ...]:
    """What everybody knows a case-folded abbreviation to stand for; () for others."""
    return _lists()[1].get(word.replace(".", ""), ())


def names_of(text: Parsed) -> tuple[Name, ...]:
    """The names in a sentence, in order; none in scripts without capitals, in German only pairs of words."""
    if text.language not in (*_SCRIPTS, "de") or _shouts(text):
        return ()
    out: list[Name] = []
    run: list[Token] = []
    for token in text.tokens:
        joined = bool(run) and _JOIN.match(text.text[run[-1].end : token.start]) is not None
        if _is_capital(token):
            if run and not joined:
                out += _name(run, text)
                run = []
            run.append(token)
        elif run and not (token.norm in _PARTICLES and joined):
            out += _name(run, text)
            run = []
    return (*out, *_name(run, text))


_PARTICLES = frozenset(["of", "de", "da", "do", "del", "di", "van", "la", "le"])


def _shouts(text: Parsed) -> bool:
    """Whether capitals say nothing in a text: a title in which nearly every word has one."""
    words = [token for token in text.tokens if token.text[0].isalpha()]
    capitals = sum(token.text[0].isupper() for token in words)
    return len(words) > 4 and capitals > 0.75 * len(words)


def _is_capital(token: Token) -> bool:
    return token.text[0].isupper() or token.text[0] == "@"


def _name(run: list[Token], text: Parsed) -> list[Name]:
    tokens = [
        token for token in run if not _ordinary(token) and not any(sign.isdigit() for sign in token.text)
    ]
    if not tokens:
        return []
    opens = _OPENING.search(text.text, max(0, tokens[0].start - 4), tokens[0].start) is not None
    if opens and (text.language == "de" or not _marked(tokens[0])):
        known = text.language != "en" or bool(lemmas_of(tokens[0].norm)) or not tokens[0].content
        if len(tokens) == 1 or text.language == "de" or (known and not _tells_much(tokens[0], text.language)):
            tokens = tokens[1:]
    if not tokens or (text.language == "de" and len(tokens) < 2 and not _marked(tokens[0])):
        return []
    if text.language == "de" and any(token.norm in _UNITS_DE for token in tokens):
        return []
    if not any(_tells(token, text.language) for token in tokens) or _in_code(tokens[0], text.text):
        return []
    start, end = tokens[0].start, tokens[-1].end
    return [Name(start, end, text.text[start:end], tuple(token.norm for token in tokens))]


def _ordinary(token: Token) -> bool:
    ordinary = _lists()[0]
    return token.norm in ordinary or token.norm.removesuffix("s") in ordinary


def _in_code(token: Token, text: str) -> bool:
    """Whether a word stands between backticks, where other checks read it."""
    return text.count("`", 0, token.start) % 2 == 1


def _marked(token: Token) -> bool:
    """Whether a word is written as no common word is, wherever it stands."""
    return token.text[0] == "@" or (len(token.text) > 1 and token.text.isupper())


def _tells_much(token: Token, language: str) -> bool:
    return language == "en" and weight_of(token.norm) > _RARE


def _tells(token: Token, language: str) -> bool:
    """Whether a capitalised word is more than a common word written large."""
    if not token.content:
        return False
    if _marked(token):
        return True
    return language != "en" or weight_of(token.norm) > _COMMON
