"""Text cut into sentences and words with their places; many languages, no model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from exllama_guard.core.snippets import Span
from exllama_guard.grounding.support.boundaries import line_sentences
from exllama_guard.grounding.support.lexicon import irregular, weight_of
from exllama_guard.grounding.support.quantities import without_markers

# Numbers with their separators, abbreviations with dots, single Han/kana signs, words (with n't split off).
_TOKEN = re.compile(
    r"-(?:LRB|RRB|LSB|RSB)-"
    r"|\d+(?:[.,:/]\d+)*"
    r"|(?:[A-Z]\.){2,}"
    r"|[\u3040-\u30ff\u3400-\u9fff]"
    r"|n['’]t\b"
    r"|[^\W\d_](?:(?!n['’]t\b)[^\W\d_])*(?:['’](?!(?:s|ve|re|ll|d|m)\b)[^\W\d_]+)?",
    re.UNICODE,
)

_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "of",
        "in",
        "on",
        "at",
        "by",
        "to",
        "for",
        "from",
        "with",
        "as",
        "into",
        "onto",
        "upon",
        "over",
        "under",
        "about",
        "between",
        "among",
        "through",
        "during",
        "after",
        "before",
        "above",
        "below",
        "and",
        "or",
        "but",
        "nor",
        "so",
        "yet",
        "if",
        "then",
        "than",
        "because",
        "while",
        "although",
        "though",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "am",
        "do",
        "does",
        "did",
        "doing",
        "have",
        "has",
        "had",
        "having",
        "will",
        "would",
        "shall",
        "should",
        "can",
        "could",
        "may",
        "might",
        "must",
        "it",
        "its",
        "he",
        "she",
        "they",
        "them",
        "his",
        "her",
        "hers",
        "him",
        "their",
        "theirs",
        "we",
        "us",
        "our",
        "ours",
        "you",
        "your",
        "yours",
        "i",
        "me",
        "my",
        "mine",
        "who",
        "whom",
        "whose",
        "which",
        "what",
        "when",
        "where",
        "why",
        "how",
        "there",
        "here",
        "also",
        "such",
        "own",
        "same",
        "other",
        "another",
        "each",
        "both",
        "either",
        "s",
        "t",
        "ve",
        "re",
        "ll",
        "d",
        "m",
        "not",
        "n't",
        "up",
        "out",
        "off",
        "down",
        "just",
        "very",
        "too",
        "only",
        "more",
        "most",
        "some",
        "any",
        "all",
        "no",
        "lrb",
        "rrb",
        "lsb",
        "rsb",
        "however",
        "therefore",
        "thus",
        "moreover",
        "furthermore",
        "additionally",
        "overall",
        "including",
    ]
)
_LONGEST_STEMMED = 64  # a longer run of letters is no word
_PTB = frozenset(("-LRB-", "-RRB-", "-LSB-", "-RSB-"))


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its place in the analysed text, its stem, and what it is."""

    start: int
    end: int
    text: str
    norm: str  # case-folded
    stem: str
    weight: float  # how much it tells, [0, 1]; 0 for function words
    is_name: bool  # capitalised where a common word would not be
    is_number: bool

    @property
    def is_content(self) -> bool:
        """True for a word that tells something."""
        return self.weight > 0.0


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence: its place in the whole text and its words; their places count from `span.start`."""

    text: str
    span: Span
    words: tuple[Word, ...]


@lru_cache(maxsize=65536)
def stem_of(norm: str) -> str:
    """The stem that equates forms of one word ("bought", "buys"); English rules, others keep their form."""
    lemma = irregular(norm)
    if not lemma.isascii() or not 4 <= len(lemma) <= _LONGEST_STEMMED:
        return lemma[:-1] if lemma.endswith("s") and len(lemma) == 3 else lemma
    return str(_stemmer().stemWord(lemma))


def words_of(text: str) -> tuple[Word, ...]:
    """The words of one sentence, in order."""
    out: list[Word] = []
    matches = list(_TOKEN.finditer(without_markers(text)))
    capitals = sum(1 for match in matches if match.group()[0].isupper())
    shouting = len(matches) > 2 and capitals > 0.7 * len(matches)
    for index, match in enumerate(matches):
        raw = match.group()
        if raw in _PTB:
            continue
        norm = raw.casefold().replace("’", "'").replace(".", "" if raw[0].isalpha() else ".")
        number = raw[0].isdigit()
        acronym = len(raw) > 1 and raw.isupper()
        weight = 1.0 if number or acronym else 0.0 if norm in _STOP else weight_of(norm)
        start_of_sentence = index == 0 or _before(text, match.start()) in '.:!?"“•*'
        name = (
            raw[0].isupper()
            and weight > 0.0
            and not shouting
            and (not start_of_sentence or acronym or weight >= 1.0)
        )
        out.append(
            Word(
                match.start(), match.end(), raw, norm, norm if number else stem_of(norm), weight, name, number
            )
        )
    return tuple(out)


def _before(text: str, at: int) -> str:
    """The last character before `at` that is no white space; "" where there is none."""
    while at and text[at - 1].isspace():
        at -= 1
    return text[at - 1 : at]


def sentences_of(text: str, language: str = "en") -> tuple[Sentence, ...]:
    """The sentences of `text` in order, each line of a list or table on its own; none without a word."""
    return tuple(
        Sentence(text[start:end], Span(start, end), words)
        for start, end in sentence_ranges(text, language)
        if (words := words_of(text[start:end]))
    )


def sentence_ranges(text: str, language: str = "en") -> Iterable[tuple[int, int]]:
    """Start and end of each sentence, without the white space around it."""
    for line in re.finditer(r"[^\n]+", text):
        for first, last in line_sentences(line.group(), language):
            start, end = line.start() + first, line.start() + last
            while start < end and text[start].isspace():
                start += 1
            while end > start and text[end - 1].isspace():
                end -= 1
            if start < end:
                yield start, end


@lru_cache(maxsize=1)
def _stemmer():  # type: ignore[no-untyped-def]  # noqa: ANN202 - the library has no types
    import snowballstemmer

    return snowballstemmer.stemmer("english")
