"""Content words of a text as stems with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]+|[^\W\d_](?:[^\W_]|['’](?=\w)|[\u0900-\u097f])*"
)
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")
_STOP = frozenset(
    """a an the of in on at to for from by with and or but so as is are was were be been being has have had do does did
    it its this that these those there here he she they them his her their we you your i my our us not no nor if then
    than when while which who whom whose what where why how all any each both more most some such only own same too very
    can could will would shall should may might must also just about into over under up down out off again further once
    per between during before after above below because until against through around approximately roughly nearly almost
    least most total altogether sum yes well s t re ve ll d m o'clock sure here's document text according based it's
    der die das den dem des ein eine einen einem einer und oder aber ist sind war waren wird werden hat haben im in am an
    auf aus bei mit nach von vom zu zum zur für über unter bis um es er sie wir ihr nicht kein keine auch nur noch so
    le la les l un une des du de d et ou mais est sont était a ont au aux en dans sur pour par avec sans ce cette ces il
    elle ils elles on ne pas plus que qui se sa son ses leur vous nous y el los las uno una unos unas del al con sin por
    para como es son fue ser ha han su sus lo se que no sí más o e il lo gli i uno della dello dei degli delle nel nella
    che è sono di da con su per tra non si o os as um uma do da dos das no na nos nas ao à é são foi em por mais het een
    van en op te dat voor met is zijn и в на с по из за к о у от до не что это как для""".split()
)


@dataclass(frozen=True, slots=True)
class Term:
    """A content word at [start, end) and its stem."""

    start: int
    end: int
    stem: str


@lru_cache(maxsize=32768)
def stem_of(word: str) -> str:
    """A short form that the forms of one word share; crude, the same for every language."""
    word = word.casefold().replace("’", "'")
    word = re.sub(r"'s?\Z", "", word)
    if not word.isascii():
        if "\u0600" <= word[:1] <= "\u06ff":
            word = re.sub(r"\A(?:و?ال|لل)(?=\w{3})", "", word)
            return re.sub(r"(?:ات|ون|ين|ة|ه)\Z", "", word)[:5]
        return word[:5]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
        if word.endswith("ie"):
            word = word[:-2] + "y"
    for ending in ("ingly", "edly", "ing", "ed", "er", "ly", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:7]


@lru_cache(maxsize=8192)
def terms_of(text: str) -> tuple[Term, ...]:
    """The content words of `text` in order; pairs of signs where words are not parted by spaces."""
    out = []
    for match in _WORD.finditer(text):
        word = match.group()
        if _WIDE.match(word):
            pairs = range(len(word) - 1) if len(word) > 1 else range(1)
            out += [Term(match.start() + i, match.start() + i + 2, word[i : i + 2]) for i in pairs]
        elif word.casefold() not in _STOP:
            out.append(Term(match.start(), match.end(), stem_of(word)))
    return tuple(out)


_LETTERS = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=8192)
def words_of(text: str) -> frozenset[str]:
    """All words of `text`, case-folded: a quick look whether a reader has anything to read."""
    return frozenset(_LETTERS.findall(text.casefold()))


def has_digit(text: str) -> bool:
    """Whether an ASCII digit is in a plain text."""
    return _DIGIT.search(text) is not None


_DIGIT = re.compile("[0-9]")


def stems_of(text: str) -> frozenset[str]:
    """The stems of the content words of `text`."""
    return frozenset(term.stem for term in terms_of(text))


def is_stop(word: str) -> bool:
    """Whether a word carries no content."""
    return word.casefold() in _STOP
