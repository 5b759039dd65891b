"""A sentence as the checks of words read it: its words, what each is, and which of them a negation turns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from exllama_guard.grounding.facts import word_cues as cues
from exllama_guard.grounding.facts.signs import signs_of
from exllama_guard.grounding.facts.tokens import Token
from exllama_guard.grounding.lexicon import Relation, irregular, lemma_of, relation, weight_of

_TOKEN = re.compile(
    r"n['’]t\b|\d+(?:[.,:/]\d+)*|(?:[A-Z]\.){2,}|@[\w-]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+"
    r"|[^\W\d_](?:(?!n['’]t\b)[^\W_]|[\u0300-\u036f\u0900-\u097f\u064b-\u0652])*",
)
_MARKS = re.compile(r"[\u064b-\u0652\u0640]")  # Arabic vowel signs
_BREAK = re.compile(r"[,;:.!?()\[\]–—|，。；：、！？؛،।\n]")
_KNOWN = ("en", "de", "fr", "es", "pt", "it", "nl", "pl")  # Latin script, known by their commonest words
_SNOWBALL = {
    "de": "german", "fr": "french", "es": "spanish", "it": "italian", "pt": "portuguese", "ru": "russian",
    "nl": "dutch", "ar": "arabic", "hi": "hindi", "pl": "polish",
}  # fmt: skip
_PLACING = frozenset(["in", "at", "on", "by", "from", "among", "for", "with"])  # "not in" turns no word
_POSTPONED = ("de", "nl")  # languages whose "not" may stand behind what it turns
_SCOPE = 2  # content words behind a negation that it may turn


@dataclass(frozen=True, slots=True)
class Parsed:
    """A sentence with its words; `stems` are those of its content words."""

    text: str
    language: str
    tokens: tuple[Token, ...]
    stems: frozenset[str]
    denying: frozenset[int]  # where words stand that deny or bound: a negation, "only", "except"
    by_key: Mapping[str, tuple[Token, ...]] = field(compare=False)  # words by stem and by pair of opposites

    def denies(self, token: Token) -> bool:
        """Whether another word of its clause, or of a short one beside it, denies or bounds something."""
        beside = {one for one in (token.clause - 1, token.clause + 1) if self._short(one)} | {token.clause}
        return any(
            one.clause in beside and one.start in self.denying and one.start != token.start
            for one in self.tokens
        )

    def _short(self, clause: int) -> bool:
        return sum(one.content for one in self.tokens if one.clause == clause) < 3

    @property
    def content(self) -> tuple[Token, ...]:
        """Its content words, in order."""
        return tuple(token for token in self.tokens if token.content)


@lru_cache(maxsize=65536)
def stem_of(norm: str, language: str) -> str:
    """The stem that equates forms of one word of a language."""
    if language == "en":
        lemma = irregular(norm)
        if not lemma.isascii() or len(lemma) < 4:
            return lemma[:-1] if lemma.endswith("s") and len(lemma) == 3 else lemma
        return str(_stemmer("english").stemWord(lemma))
    name = _SNOWBALL.get(language)
    return str(_stemmer(name).stemWord(norm)) if name and len(norm) > 3 else norm


@lru_cache(maxsize=16)
def _stemmer(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the library has no types
    import snowballstemmer

    return snowballstemmer.stemmer(name)


def language_in(text: str, fallback: str) -> str:
    """The language of a text by its script, by its commonest words, or `fallback` where neither tells."""
    script = _script(text)
    if script:
        return script
    found = set(re.findall(r"[^\W\d_]+", text[:4000].casefold()))
    counts = {one: len(found & cues.words(f"common.{one}")) for one in _KNOWN}
    best = max(counts, key=lambda one: counts[one])
    if counts[best] >= 2 and counts[best] > counts.get(fallback, 0):
        return best
    return fallback if fallback in _KNOWN else "en"


_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("zh", re.compile(r"[\u3400-\u9fff]")),
    ("ko", re.compile(r"[\uac00-\ud7a3]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
)


def _script(text: str) -> str:
    short = text[:2000]
    latin = len(re.findall(r"[a-zA-Z]", short))
    for language, signs in _SCRIPTS:
        count = len(signs.findall(short))
        if count >= 2 and count * 2 > latin:
            return language
    return ""


@lru_cache(maxsize=8192)
def parsed(text: str, language: str) -> Parsed:
    """One sentence read in its own language; `language` is taken where the text does not tell."""
    own = language_in(text, language)
    tokens = signs_of(text, own) if own in ("zh", "ja", "ko") else _tokens(text, own)
    stems = frozenset(token.stem for token in tokens if token.content)
    return Parsed(text, own, tokens, stems, _denying(text, tokens, own), _by_key(tokens))


def _by_key(tokens: tuple[Token, ...]) -> dict[str, tuple[Token, ...]]:
    out: dict[str, list[Token]] = {}
    for token in tokens:
        out.setdefault(token.stem, []).append(token)
        for pair, _ in token.pairs:
            out.setdefault(f"#{pair}", []).append(token)
    return {key: tuple(found) for key, found in out.items()}


_DENYING = re.compile(
    r"[不没未无別勿免仅只除非拒禁]|ない|なく|ません|のみ|だけ|以外|ず[、。に]|否|未|않|없|못|안 |만 "
)
_NOT_ONLY = re.compile(
    r"\b(?:not (?:only|just|merely)|but also|nicht nur|sondern auch|(?:non|pas) seulement|mais aussi"
    r"|no s[oó]lo|sino también|non solo|ma anche|não só|mas também|не только|но и)\b",
    re.IGNORECASE,
)
_OPPOSED = re.compile(r"\A(?:un|non|in|im|il|ir|dis)")
_PREFIX = re.compile(r"(?:un|non|in|im|il|ir|dis)[a-z]{4,}\Z")


def _denying(text: str, tokens: tuple[Token, ...], language: str) -> frozenset[int]:
    """Where words stand that deny or bound something, in whatever words; "not only" does neither."""
    if language in ("zh", "ja", "ko"):
        places = [match.start() for match in _DENYING.finditer(text)]
        return frozenset(
            token.start for token in tokens if any(token.start <= place < token.end for place in places)
        )
    words = cues.words("deny") | cues.words(f"negation.{language}")
    idle = [match.span() for match in _NOT_ONLY.finditer(text)]
    return frozenset(
        token.start
        for token in tokens
        if (token.norm in words or (language == "en" and _opposed(token.norm)))
        and not any(low <= token.start < high for low, high in idle)
    )


@lru_cache(maxsize=8192)
def _opposed(norm: str) -> bool:
    """Whether an English word denies by its beginning: "unpaid", "incomplete"."""
    match = _PREFIX.match(norm)
    if match is None:
        return False
    rest = _OPPOSED.sub("", norm)
    return relation(norm, rest) is Relation.OPPOSITE or (
        norm.startswith(("un", "non")) and bool(lemma_of(rest))
    )


@dataclass(slots=True)
class _Raw:
    start: int
    end: int
    text: str
    norm: str
    clause: int
    sign: int = 1


def _raws(text: str, language: str) -> list[_Raw]:
    joints = cues.words(f"joint.{language}")
    out: list[_Raw] = []
    clause, at = 0, 0
    for match in _TOKEN.finditer(text):
        raw = match.group()
        norm = _MARKS.sub("", raw.casefold().replace("’", "'"))
        if _BREAK.search(text, at, match.start()) or norm in joints:
            clause += 1
        at = match.end()
        out.append(_Raw(match.start(), match.end(), raw, norm, clause))
    return out


def _is_content(raw: _Raw, language: str) -> bool:
    if raw.norm in cues.words(f"stop.{language}") or raw.norm in cues.words(f"negation.{language}"):
        return False
    return len(raw.norm) > 1 or raw.text.isdigit() or raw.text.isupper()


def _tokens(text: str, language: str) -> tuple[Token, ...]:
    raws = _raws(text, language)
    content = [_is_content(raw, language) for raw in raws]
    _turn(raws, content, language)
    out = []
    for index, raw in enumerate(raws):
        following = raws[index + 1].norm if index + 1 < len(raws) else ""
        pairs = _pairs(f"{raw.norm} {following}", language) or _pairs(raw.norm, language)
        number = raw.text[0].isdigit()
        norm = raw.norm
        if language == "en" and content[index] and _opposed(norm):
            norm = _OPPOSED.sub("", norm)
            raw.sign = -raw.sign
        stem = norm if number else stem_of(norm, language)
        out.append(
            Token(
                raw.start,
                raw.end,
                raw.text,
                raw.norm,
                stem,
                content[index],
                number,
                raw.clause,
                raw.sign,
                pairs,
            )
        )
    return tuple(out)


def _pairs(norm: str, language: str) -> tuple[tuple[int, int], ...]:
    """The pairs of opposites of a word: by itself, else by its stem where it is long enough to tell."""
    found = cues.opposites(language).get(norm)
    if found is not None or len(norm) < 6 or " " in norm:
        return found or ()
    return _pairs_by_stem(language).get(stem_of(norm, language), ())


@lru_cache(maxsize=16)
def _pairs_by_stem(language: str) -> dict[str, tuple[tuple[int, int], ...]]:
    return {
        stem_of(word, language): pairs
        for word, pairs in cues.opposites(language).items()
        if len(word) > 5 and " " not in word
    }


def _turn(raws: list[_Raw], content: list[bool], language: str) -> None:
    """Give the words that a negation turns their sign."""
    negations, halves = cues.words(f"negation.{language}"), cues.words(f"half.{language}")
    last = -9
    for index, raw in enumerate(raws):
        if raw.norm not in negations or _is_idle(raws, index):
            continue
        if raw.norm in halves and index - last <= 5 and raws[last].clause == raw.clause:
            continue
        if (
            raw.norm in ("no", "non", "não", "нет", "لا", "nein", "nie")
            and index == 0
            and index + 1 < len(raws)
            and raws[1].clause != raw.clause
        ):
            continue  # "No, …" answers and turns nothing
        last = index
        opens = index == 0 or raws[index - 1].clause != raw.clause
        placed = language == "en" and index + 1 < len(raws) and raws[index + 1].norm in _PLACING
        plain = (
            raw.norm not in cues.words("lacking") and not (opens and _contrasts(raws, index)) and not placed
        )
        _turn_behind(raws, content, index, language, -1 if plain else 0)


def _contrasts(raws: list[_Raw], at: int) -> bool:
    """Whether a negation that opens its clause sets a word against another (", not the vendor")."""
    if raws[at].norm not in cues.words("contrast"):
        return False
    return raws[at].norm != "no" or (at > 0 and raws[at - 1].clause != raws[at].clause)


def _turn_behind(raws: list[_Raw], content: list[bool], at: int, language: str, turn: int) -> None:
    behind = [
        i for i in range(at + 1, min(len(raws), at + 7)) if raws[i].clause == raws[at].clause and content[i]
    ]
    before = [i for i in range(max(0, at - 5), at) if raws[i].clause == raws[at].clause and content[i]]
    if not behind:
        for i in before[-1:] if language in (*_POSTPONED, "hi") else ():
            raws[i].sign *= turn
        return
    raws[behind[0]].sign *= turn
    for i in behind[1 : _SCOPE + 1]:
        raws[i].sign = 0
    if language in _POSTPONED or language == "hi":
        for i in before[-1:]:
            raws[i].sign = 0


def _is_idle(raws: list[_Raw], at: int) -> bool:
    """Whether a negation stands in a turn of phrase that denies nothing ("not only")."""
    norms = tuple(raw.norm for raw in raws[max(0, at - 2) : at + 4])
    here = min(2, at)
    idle = cues.phrases("idle")
    return any(
        norms[first : first + length] in idle
        for first in range(here + 1)
        for length in (2, 3, 4, 5)
        if first + length > here
    )


def weight(token: Token, language: str) -> float:
    """How much a content word tells, (0, 1]."""
    if token.number or language != "en":
        return 1.0
    return weight_of(token.norm)
