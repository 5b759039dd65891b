"""Each word of a claim beside the word of the evidence that answers to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exllama_guard.grounding.support.evidence import Encoded, Found, Library
from exllama_guard.grounding.support.lexicon import Relation, relation
from exllama_guard.grounding.support.text import Word

_BESIDE = 4  # words on each side of a word that count as its surroundings
_ORDER = (
    Relation.SAME,
    Relation.OPPOSITE,
    Relation.BROADER,
    Relation.NARROWER,
    Relation.SIBLING,
    Relation.NONE,
)


@dataclass(frozen=True, slots=True)
class Place:
    """One word of the evidence: the sentence's index and the word's index in it."""

    sentence: int
    word: int


@dataclass(frozen=True, slots=True)
class Match:
    """One content word of a claim and its nearest words in the evidence."""

    word: Word
    in_window: bool
    in_top: bool
    anywhere: bool
    relation: Relation  # to the related word of the best sentences; SAME where it is in them
    related: Place | None
    similarity: float | None  # highest cosine to a word of the best sentences, in context
    nearest: Place | None

    @property
    def missing(self) -> bool:
        """True when neither the word nor one of the same meaning is in the best sentences."""
        return not self.in_top and self.relation is not Relation.SAME


def align(
    words: Sequence[Word],
    library: Library,
    found: Found,
    claim: Encoded | None,
    top: Sequence[Encoded] | None,
) -> tuple[Match, ...]:
    """One match for each content word of the claim, in order."""
    window = frozenset().union(*library.stems[found.window.first : found.window.last + 1])
    sentences = _read(found)
    near = frozenset().union(*(library.stems[i] for i in sentences))
    places = [
        Place(index, position)
        for index in sentences
        for position, word in enumerate(library.sentences[index].words)
        if word.is_content
    ]
    similarity = _similarities(words, places, sentences, claim, top)
    out = []
    for row, word in enumerate(words):
        if not word.is_content:
            continue
        in_top = word.stem in near
        kind, related = (Relation.SAME, None) if in_top else _relate(word, places, library)
        nearest, cosine = None, None
        if similarity is not None and places:
            column = int(np.argmax(similarity[row]))
            nearest, cosine = places[column], float(similarity[row, column])
        out.append(
            Match(word, word.stem in window, in_top, library.holds(word.stem), kind, related, cosine, nearest)
        )
    return tuple(out)


def _read(found: Found) -> tuple[int, ...]:
    """Indices of the sentences compared word by word: the window's and the best ones."""
    window = range(found.window.first, found.window.last + 1)
    return tuple(dict.fromkeys([*window, *found.top]))


def sentences_read(found: Found) -> tuple[int, ...]:
    """Indices of the sentences that `align` reads, in its order; what to encode for it."""
    return _read(found)


def _similarities(
    words: Sequence[Word],
    places: Sequence[Place],
    sentences: Sequence[int],
    claim: Encoded | None,
    top: Sequence[Encoded] | None,
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]] | None:
    """Shape (words, places): cosines; None where the embedder gives no vectors of words."""
    if claim is None or claim.words is None or top is None or not places:
        return None
    by_sentence = {index: encoded.words for index, encoded in zip(sentences, top, strict=True)}
    rows = []
    for index in sentences:
        vectors = by_sentence[index]
        chosen = [place.word for place in places if place.sentence == index]
        if vectors is not None and chosen:
            rows.append(vectors[chosen])
    return np.asarray(claim.words @ np.concatenate(rows).T, dtype=np.float32)


def _relate(word: Word, places: Sequence[Place], library: Library) -> tuple[Relation, Place | None]:
    """The closest relation that the word has to a word of these places."""
    best, related = Relation.NONE, None
    if word.is_number or word.is_name:
        return best, related
    for place in places:
        other = library.sentences[place.sentence].words[place.word]
        if other.is_number:
            continue
        kind = relation(word.norm, other.norm)
        if _ORDER.index(kind) < _ORDER.index(best):
            best, related = kind, place
            if kind is Relation.SAME:
                break
    return best, related


def stands_beside(match: Match, matches: Sequence[Match], library: Library) -> bool:
    """True when the claim's content words beside a word stand beside its related word of the evidence too."""
    if match.related is None:
        return False
    at = next(index for index, other in enumerate(matches) if other is match)
    stems = [other.word.stem for other in matches]
    beside = set(stems[max(0, at - 2) : at] + stems[at + 1 : at + 3])
    words = library.sentences[match.related.sentence].words
    around = words[max(0, match.related.word - _BESIDE) : match.related.word + _BESIDE + 1]
    return bool(beside) and len(beside & {word.stem for word in around}) >= min(2, len(beside))
