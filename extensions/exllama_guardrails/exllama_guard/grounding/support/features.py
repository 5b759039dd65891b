"""What is measured of one claim against its evidence, as named numbers that mean the same on any text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from exllama_guard.core.turns import Finding, Severity
from exllama_guard.grounding.support.alignment import Match, sentences_read, stands_beside
from exllama_guard.grounding.support.dates import dates_of
from exllama_guard.grounding.support.evidence import Found, Library
from exllama_guard.grounding.support.lexicon import Relation
from exllama_guard.grounding.support.quantities import quantities_of, with_years
from exllama_guard.grounding.support.text import Word

NEGATIONS = frozenset(
    [
        "not",
        "n't",
        "never",
        "no",
        "none",
        "nobody",
        "nothing",
        "neither",
        "nor",
        "without",
        "cannot",
        "cant",
        "unable",
        "fail",
        "failed",
        "fails",
        "refuse",
        "refused",
        "refuses",
        "deny",
        "denied",
        "denies",
        "lack",
        "lacks",
        "lacked",
        "unlikely",
        "hardly",
        "rarely",
        "nowhere",
        "nicht",
        "kein",
        "keine",
        "nie",
        "pas",
        "jamais",
        "nunca",
        "ningún",
    ]
)
_STRENGTH = frozenset(
    [
        "all",
        "every",
        "only",
        "never",
        "always",
        "none",
        "most",
        "few",
        "many",
        "exclusively",
        "entirely",
        "solely",
        "first",
        "last",
        "best",
        "worst",
        "least",
        "sole",
        "unanimously",
        "completely",
        "fully",
        "both",
        "single",
        "each",
        "any",
        "almost",
        "nearly",
        "must",
        "may",
        "might",
        "could",
        "possibly",
        "probably",
        "likely",
        "certainly",
        "definitely",
    ]
)
_FIRST_PERSON = frozenset(["i", "me", "my", "mine", "we", "our", "us", "you", "your"])


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was found on one claim before it is scored."""

    words: tuple[Word, ...]
    found: Found
    matches: tuple[Match, ...]
    text: str


def features_of(
    measured: Measured, library: Library, findings: Sequence[Finding], language: str = "en"
) -> dict[str, float]:
    """Named features of one claim; those of the embedder are absent without one."""
    features = _lexical(measured, library)
    conflicts = [finding for finding in findings if finding.severity is Severity.CONFLICT]
    features["conflicts"] = float(min(2, len(conflicts)))
    features |= _relations(measured.matches, library)
    features |= _quantities(measured, library, language)
    features |= _polarity(measured, library)
    features |= _sentence_similarity(measured.found)
    features |= _word_similarity(measured.matches)
    return features


def _share(matches: Sequence[Match], hits: Sequence[bool]) -> float:
    total = sum(match.word.weight for match in matches)
    return sum(m.word.weight for m, hit in zip(matches, hits, strict=True) if hit) / total if total else 0.0


def _lexical(measured: Measured, library: Library) -> dict[str, float]:
    matches, found = measured.matches, measured.found
    near = _near(measured, library)
    loose = [word for word in measured.words if word.stem not in near]
    missing = [m for m in matches if not m.in_top]
    absent = [m for m in matches if not m.anywhere]
    stems = [m.word.stem for m in matches]
    window = [
        word.stem
        for index in range(found.window.first, found.window.last + 1)
        for word in library.sentences[index].words
        if word.is_content
    ]
    top = [[w.stem for w in library.sentences[i].words if w.is_content] for i in found.top]
    pairs = set(itertools.pairwise(stems))
    held = {pair for run in [window, *top] for pair in itertools.pairwise(run)}
    return {
        "precision_window": _share(matches, [m.in_window for m in matches]),
        "precision_top": _share(matches, [m.in_top for m in matches]),
        "precision_all": _share(matches, [m.anywhere for m in matches]),
        "precision_every_word": 1.0 - len(loose) / len(measured.words) if measured.words else 0.0,
        "loose_words": math.log1p(len(loose)),
        "loose_function_words": math.log1p(sum(not word.is_content for word in loose)),
        "pair_precision": len(pairs & held) / len(pairs) if pairs else 0.0,
        "order": _in_order(stems, window),
        "missing_count": math.log1p(len(missing)),
        "missing_weight": max((m.word.weight for m in missing), default=0.0),
        "absent_count": math.log1p(len(absent)),
        "missing_names": float(min(3, sum(m.word.is_name for m in missing))),
        "absent_names": float(min(3, sum(m.word.is_name for m in absent))),
        "words": math.log1p(len(matches)),
        "evidence_sentences": math.log1p(len(library.sentences)),
    }


def _near(measured: Measured, library: Library) -> set[str]:
    """Stems of every word, function words too, of the sentences that a claim is compared with."""
    return {word.stem for index in sentences_read(measured.found) for word in library.sentences[index].words}


def _in_order(stems: Sequence[str], window: Sequence[str]) -> float:
    """Longest common subsequence over the claim's content words, [0, 1]."""
    from rapidfuzz.distance import LCSseq

    return float(LCSseq.similarity(stems, window)) / len(stems) if stems else 0.0


def _relations(matches: Sequence[Match], library: Library) -> dict[str, float]:
    loose = [m for m in matches if not m.in_top and not m.word.is_number]
    count = {kind: sum(m.relation is kind for m in loose) for kind in Relation}
    out = {f"related_{kind.value}": float(min(3, count[kind])) for kind in Relation}
    out["opposite_aligned"] = float(
        any(m.relation is Relation.OPPOSITE and stands_beside(m, matches, library) for m in loose)
    )
    return out


def _quantities(measured: Measured, library: Library, language: str) -> dict[str, float]:
    near = [library.sentences[index].text for index in sentences_read(measured.found)]
    held = [q for text in near for q in with_years(text, language)]
    stated = quantities_of(measured.text, language)
    missing = [q for q in stated if not any(q.agrees(other) for other in held)]
    rivals = [q for q in missing if any(o.unit == q.unit and (q.unit or o.noun == q.noun) for o in held)]
    dates = dates_of(measured.text)
    known = [d for text in near for d in dates_of(text)]
    lost = [d for d in dates if not any(d.within(other) for other in known)]
    return {
        "numbers": float(min(3, len(stated))),
        "numbers_missing": float(min(2, len(missing))),
        "numbers_rivalled": float(min(2, len(rivals))),
        "dates_missing": float(min(2, len(lost))),
        "dates_rivalled": float(any(d.conflicts(other) for d in lost for other in known)),
    }


def _polarity(measured: Measured, library: Library) -> dict[str, float]:
    claim = {word.norm for word in measured.words}
    window = {
        word.norm
        for index in range(measured.found.window.first, measured.found.window.last + 1)
        for word in library.sentences[index].words
    }
    near = window.union(*({word.norm for word in library.sentences[i].words} for i in measured.found.top))
    negated, evidence_negated = bool(claim & NEGATIONS), bool(window & NEGATIONS)
    return {
        "negation_added": float(negated and not evidence_negated),
        "negation_dropped": float(evidence_negated and not negated),
        "negation_both": float(negated and evidence_negated),
        "strength_added": float(min(2, len((claim & _STRENGTH) - near))),
        "first_person": float(min(2, len((claim & _FIRST_PERSON) - near))),
    }


def _sentence_similarity(found: Found) -> dict[str, float]:
    if found.similarity is None:
        return {}
    return {
        "cosine": found.similarity,
        "cosine_second": found.second or 0.0,
        "cosine_window": found.window.similarity or 0.0,
    }


def _word_similarity(matches: Sequence[Match]) -> dict[str, float]:
    known = [(m, m.similarity) for m in matches if m.similarity is not None]
    if not known:
        return {}
    values = sorted(value for _, value in known)
    loose = [value for match, value in known if not match.in_top]
    firm = [value for match, value in known if match.in_top]
    weight = sum(match.word.weight for match, _ in known) or 1.0
    return {
        "word_mean": sum(match.word.weight * value for match, value in known) / weight,
        "word_least": values[0],
        "word_second": values[1] if len(values) > 1 else values[0],
        "word_third": values[2] if len(values) > 2 else values[-1],
        "loose_least": min(loose, default=1.0),
        "loose_mean": sum(loose) / len(loose) if loose else 1.0,
        "firm_least": min(firm, default=0.0),
        "firm_mean": sum(firm) / len(firm) if firm else 0.0,
        "short_fall": sum(max(0.0, 0.7 - value) for value in values),
    }
