"""The snippets prepared once a turn, and the windows of them that carry a claim best."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.ports import Embedder, TokenEmbedder, TokenVectors
from exllama_guard.core.snippets import Snippet, Span
from exllama_guard.grounding.support.boundaries import sound
from exllama_guard.grounding.support.dates import Date, dates_of
from exllama_guard.grounding.support.quantities import Quantity, with_years
from exllama_guard.grounding.support.text import Sentence, Word, sentences_of

_EMBED_ALL = 48  # up to so many sentences all are embedded
_EMBED_AT_ONCE = 4  # ahead: while a model writes, it waits for the rest of a step
_CANDIDATES = 24  # beyond, so many a claim, chosen by their words
_TOP = 5  # sentences that a claim is compared with word by word
_SIMILARITY_SHARE = 0.5  # what a cosine counts beside the overlap when windows are ranked
_WIDER = 0.03  # what each further sentence of a window must add
_READ_WORDS = 120  # what a verifier reads for a claim, about 160 word pieces
_MOST_SENTENCES = 20_000
_LONGEST_WORD = 64  # a longer run of letters has no other spelling; comparing two costs their product
_TEXTS_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Encoded:
    """A sentence's vector and, where the embedder gives them, one vector for each of its words."""

    sentence: FloatArray
    words: FloatArray | None


@dataclass(frozen=True, slots=True)
class Window:
    """1-3 consecutive sentences of one snippet, by their indices."""

    first: int
    last: int
    overlap: float
    similarity: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """What the snippets hold on one claim: the best window, and the best sentences anywhere, best first."""

    window: Window
    top: tuple[int, ...]
    similarity: float | None  # highest cosine of the claim to a sentence
    second: float | None


class Encoder:
    """Vectors of sentences and their words, remembered by text. Not shared between threads."""

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder
        self._known: dict[str, Encoded] = {}

    def encode(self, items: Sequence[tuple[str, tuple[Word, ...]]]) -> list[Encoded] | None:
        """One entry an item; None without an embedder.

        Raises:
            EmbedderError: The model is missing or failed.
        """
        if self._embedder is None:
            return None
        missing = {text: words for text, words in items if text not in self._known}
        if missing:
            texts = list(missing)
            if isinstance(self._embedder, TokenEmbedder):
                vectors = self._embedder.embed_tokens([sound(text) for text in texts])
                new = [
                    Encoded(v.sentence, _by_word(v, missing[t])) for t, v in zip(texts, vectors, strict=True)
                ]
            else:
                plain = self._embedder.embed([sound(text) for text in texts])
                new = [Encoded(vector, None) for vector in plain]
            if len(self._known) + len(new) > _TEXTS_REMEMBERED:
                self._known = {text: self._known[text] for text, _ in items if text in self._known}
            self._known.update(zip(texts, new, strict=True))
        return [self._known[text] for text, _ in items]


def _by_word(vectors: TokenVectors, words: tuple[Word, ...]) -> FloatArray:
    """Shape (words, d): the mean of each word's pieces with length 1; zeros beyond the model's window."""
    width = vectors.sentence.shape[0]
    out = np.zeros((len(words), width), dtype=np.float32)
    if not len(vectors.offsets):
        return out
    starts, ends = vectors.offsets[:, 0], vectors.offsets[:, 1]
    for row, word in enumerate(words):
        low = int(np.searchsorted(ends, word.start, side="right"))
        high = int(np.searchsorted(starts, word.end, side="left"))
        if low < high:
            out[row] = vectors.tokens[low:high].mean(axis=0)
    lengths = np.linalg.norm(out, axis=1, keepdims=True)
    np.divide(out, lengths, out=out, where=lengths > 0)
    return out


class Library:
    """The sentences of the snippets, indexed by their words."""

    def __init__(self, snippets: Sequence[Snippet], language: str, encoder: Encoder) -> None:
        self.snippets = tuple(snippets)
        self._encoder = encoder
        self.sentences: list[Sentence] = []
        self.owner: list[int] = []  # index of the snippet that a sentence belongs to
        for index, snippet in enumerate(self.snippets):
            for sentence in sentences_of(snippet.text, language):
                if len(self.sentences) < _MOST_SENTENCES:
                    self.sentences.append(sentence)
                    self.owner.append(index)
        self.stems: list[frozenset[str]] = [
            frozenset(word.stem for word in sentence.words if word.is_content) for sentence in self.sentences
        ]
        self._holders: dict[str, list[int]] = defaultdict(list)
        for index, stems in enumerate(self.stems):
            for stem in stems:
                self._holders[stem].append(index)
        self._quantities: tuple[Quantity, ...] | None = None
        self._dates: tuple[Date, ...] | None = None
        self._spellings: list[str] | None = None

    def quantities(self, language: str) -> tuple[Quantity, ...]:
        """Every number of the snippets, read once."""
        if self._quantities is None:
            self._quantities = tuple(
                quantity for sentence in self.sentences for quantity in with_years(sentence.text, language)
            )
        return self._quantities

    def dates(self) -> tuple[Date, ...]:
        """Every date of the snippets, read once."""
        if self._dates is None:
            self._dates = tuple(date for sentence in self.sentences for date in dates_of(sentence.text))
        return self._dates

    def holds_like(self, norm: str) -> bool:
        """True when the snippets hold a word that is this one in another spelling or form, or its initial."""
        from rapidfuzz import fuzz, process

        if self._spellings is None:
            self._spellings = sorted(
                {
                    word.norm
                    for sentence in self.sentences
                    for word in sentence.words
                    if not word.is_number and len(word.norm) <= _LONGEST_WORD
                }
            )
        if not 4 <= len(norm) <= _LONGEST_WORD:
            return False
        return process.extractOne(norm, self._spellings, scorer=fuzz.ratio, score_cutoff=85) is not None

    def holds(self, stem: str) -> bool:
        """True when some snippet holds a content word with this stem."""
        return stem in self._holders

    def rarity(self, stem: str) -> float:
        """Inverse document frequency over the sentences, >= 0.69."""
        return math.log(2.0 + len(self.sentences) / (1 + len(self._holders.get(stem, ()))))

    def text(self, window: Window) -> tuple[str, Span]:
        """The window's text as it stands in its snippet, and its place there."""
        span = Span(self.sentences[window.first].span.start, self.sentences[window.last].span.end)
        return self.snippets[self.owner[window.first]].text[span.start : span.end], span

    def reading(self, found: Found) -> str:
        """What a verifier is given for a claim: all sentences where they are few, else the best, in order."""
        if sum(len(sentence.words) for sentence in self.sentences) <= _READ_WORDS:
            return " ".join(sentence.text for sentence in self.sentences)
        window = list(range(found.window.first, found.window.last + 1))
        queue = [*window, *found.top[:3], window[0] - 1, window[-1] + 1, *found.top[3:]]
        taken: set[int] = set()
        left = _READ_WORDS
        for index in queue:
            if not 0 <= index < len(self.sentences) or index in taken:
                continue
            size = len(self.sentences[index].words)
            if size <= left or not taken:
                taken.add(index)
                left -= size
        return " ".join(self.sentences[index].text for index in sorted(taken))

    def like(self, index: int, share: float, least: int) -> list[int]:
        """Sentences of other snippets that share `share` of the words of both, and `least` words."""
        mine = self.stems[index]
        common: dict[int, int] = defaultdict(int)
        for stem in mine:
            for other in self._holders[stem]:
                if self.owner[other] != self.owner[index]:
                    common[other] += 1
        return sorted(
            other
            for other, count in common.items()
            if count >= least and count >= share * max(len(mine), len(self.stems[other]))
        )

    def encoded(self, indices: Iterable[int]) -> list[Encoded] | None:
        """Vectors of these sentences; None without an embedder.

        Raises:
            EmbedderError: The model is missing or failed.
        """
        return self._encoder.encode([(self.sentences[i].text, self.sentences[i].words) for i in indices])

    def encode_ahead(self) -> Iterator[None]:
        """Encodes all sentences where every claim will need them all, some at each step.

        Raises:
            EmbedderError: The model is missing or failed.
        """
        if len(self.sentences) <= _EMBED_ALL:
            for first in range(0, len(self.sentences), _EMBED_AT_ONCE):
                self.encoded(range(first, min(first + _EMBED_AT_ONCE, len(self.sentences))))
                yield

    def find(self, words: Sequence[Word], claim: Encoded | None) -> Found:
        """The best window for a claim; any sentence where none shares a word with it. Needs a sentence."""
        weights = {word.stem: word.weight * self.rarity(word.stem) for word in words if word.is_content}
        total = sum(weights.values()) or 1.0
        overlap = self._overlaps(weights, total)
        candidates = self._candidates(overlap)
        score = {i: overlap.get(i, 0.0) for i in candidates}
        cosine: dict[int, float] = {}
        if claim is not None:
            vectors = self.encoded(candidates)
            assert vectors is not None  # noqa: S101 - a claim is encoded by the same encoder
            matrix = np.stack([vector.sentence for vector in vectors])
            cosine = dict(zip(candidates, (matrix @ claim.sentence).tolist(), strict=True))
            score = {i: score[i] + _SIMILARITY_SHARE * cosine[i] for i in candidates}
        top = tuple(sorted(candidates, key=lambda i: (-score[i], i))[:_TOP])
        window = self._widest(top, weights, total, cosine)
        ranked = sorted(cosine.values(), reverse=True)
        return Found(
            window,
            top,
            ranked[0] if ranked else None,
            (ranked[1] if len(ranked) > 1 else 0.0) if ranked else None,
        )

    def _overlaps(self, weights: dict[str, float], total: float) -> dict[int, float]:
        overlap: dict[int, float] = defaultdict(float)
        for stem, weight in weights.items():
            for index in self._holders.get(stem, ()):
                overlap[index] += weight / total
        return overlap

    def _candidates(self, overlap: dict[int, float]) -> list[int]:
        if len(self.sentences) <= _EMBED_ALL:
            return list(range(len(self.sentences)))
        best = sorted(overlap, key=lambda i: (-overlap[i], i))[:_CANDIDATES]
        return best or list(range(_TOP))

    def _widest(
        self, top: Sequence[int], weights: dict[str, float], total: float, cosine: dict[int, float]
    ) -> Window:
        best, best_score = Window(top[0], top[0], 0.0, cosine.get(top[0])), -math.inf
        for centre in top[:3]:
            for first, last in self._around(centre):
                held = frozenset().union(*self.stems[first : last + 1])
                share = sum(weight for stem, weight in weights.items() if stem in held) / total
                similarity = max((cosine[i] for i in range(first, last + 1) if i in cosine), default=None)
                score = share + _SIMILARITY_SHARE * (similarity or 0.0) - _WIDER * (last - first)
                if score > best_score:
                    best, best_score = Window(first, last, share, similarity), score
        return best

    def _around(self, centre: int) -> Iterable[tuple[int, int]]:
        for first in range(centre - 2, centre + 1):
            for last in range(centre, first + 3):
                inside = first >= 0 and last < len(self.sentences)
                if inside and self.owner[first] == self.owner[last] == self.owner[centre]:
                    yield first, last
