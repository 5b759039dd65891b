"""ΔS: the cosine distance of unit embeddings, its zones, its gate, and its aggregation over k snippets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from exllama_guard.core.measures import FloatArray, Gate, Measure, NotScored, Reason, Zone
from exllama_guard.core.ports import Embedder
from exllama_guard.core.snippets import Origin, Snippet, words
from exllama_guard.core.turns import Distances, PairDistance
from exllama_guard.errors import EmbedderError

# One MiniLM forward of 64 passages takes about a second on two cores; a file of 1 MB has 1,500 passages.
_SNIPPETS_EMBEDDED = 64
_SENTENCES_EMBEDDED = 64
_NOT_EMBEDDED = NotScored(Reason.TOO_MANY, f"the {_SNIPPETS_EMBEDDED} closest by their words were embedded")

# Zone borders of the seed study (docs/measures.md): closed below, open above.
_ZONES = ((0.40, Zone.SAFE), (0.60, Zone.TRANSIT), (0.85, Zone.RISK))


def cosine_distance(a: FloatArray, b: FloatArray) -> Measure:
    """1 - cos(a, b) in [0, 2] of vectors of any length; NotScored where one has length 0 or is not finite."""
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if not np.isfinite(lengths):
        return NotScored(Reason.EMBEDDER_FAILED, "a vector holds NaN or Inf; check the setting 'embedder'")
    if lengths == 0.0:
        return NotScored(Reason.ZERO_VECTOR)
    cosine = float(np.dot(a.astype(np.float64), b.astype(np.float64))) / lengths
    return 1.0 - max(-1.0, min(1.0, cosine))


def zone_of(distance: Measure) -> Zone | None:
    """Safe below 0.40, transit below 0.60, risk below 0.85, else danger; None where there is no number."""
    if isinstance(distance, NotScored):
        return None
    return next((zone for border, zone in _ZONES if distance < border), Zone.DANGER)


def distance_gate(distance: Measure, accept: float = 0.45, reject: float = 0.60) -> Gate:
    """PASS up to `accept`, FAIL from `reject`, REVIEW between; defaults from the seed study, for MiniLM."""
    if isinstance(distance, NotScored):
        return Gate.NOT_MEASURED
    if distance <= accept:
        return Gate.PASS
    return Gate.FAIL if distance >= reject else Gate.REVIEW


def first_choices(snippets: Sequence[Snippet]) -> tuple[int, ...]:
    """Index of the snippet that each source put first, in no order; all of a source that ranks nothing.

    A source ranks by score (highest first) or, without scores, by its order; the passages of an attached file
    stand in the file's order, which says nothing. Ranks of two sources cannot be held against each other.
    """
    ranked = _ranked_first(snippets)
    origins = {snippets[index].origin for index in ranked}
    return ranked + tuple(i for i, snippet in enumerate(snippets) if snippet.origin not in origins)


def _ranked_first(snippets: Sequence[Snippet]) -> tuple[int, ...]:
    """The first choice of each source that ranks."""
    best: dict[Origin, tuple[float, int]] = {}
    for index, snippet in enumerate(snippets):
        if snippet.score is None and snippet.origin is Origin.ATTACHMENT:
            continue
        rank = (float("-inf") if snippet.score is None else snippet.score, -index)
        best[snippet.origin] = max(best.get(snippet.origin, rank), rank)
    return tuple(-place for _, place in best.values())


def pair_distance(
    text: FloatArray, snippets: Sequence[FloatArray | None], *, first: Sequence[int], cited: Sequence[int]
) -> PairDistance:
    """Distances of one vector to each of k snippet vectors (None: not embedded), and their four aggregates.

    `top1` is the least of the first choices'; `cited` the mean over the cited.
    """
    each = tuple(_NOT_EMBEDDED if row is None else cosine_distance(text, row) for row in snippets)
    scored = [value for value in each if not isinstance(value, NotScored)]
    nothing = NotScored(Reason.ZERO_VECTOR)
    of_cited = [value for value in (each[index] for index in cited) if not isinstance(value, NotScored)]
    of_first = [value for value in (each[index] for index in first) if not isinstance(value, NotScored)]
    unscored = each[first[0]] if first else nothing
    return PairDistance(
        each=each,
        top1=min(of_first, default=unscored),
        min=min(scored, default=nothing),
        mean=sum(scored) / len(scored) if scored else nothing,
        cited=sum(of_cited) / len(of_cited) if of_cited else NotScored(Reason.NO_CITATIONS),
    )


def no_distances(why: NotScored, embedder_id: str | None = None) -> Distances:
    """Every distance of a turn not scored, for one reason."""
    pair = PairDistance(each=(), top1=why, min=why, mean=why, cited=why)
    return Distances(embedder_id, pair, pair, why, why, why)


def _by_sentence(text: str, embedder: Embedder) -> FloatArray:
    """Mean of the sentences' vectors by their length, shape (d,): a growing answer costs its last sentence.

    A text of more than 64 sentences is embedded by windows instead, as the embedder does it.

    Raises:
        EmbedderError: The model is missing or failed.
    """
    from exllama_guard.grounding.support.text import sentence_ranges  # brings all of support along

    sentences = [text[start:end] for start, end in sentence_ranges(text)]
    if not 0 < len(sentences) <= _SENTENCES_EMBEDDED:
        sentences = [text]
    vectors = embedder.embed(sentences)
    weights = np.array([max(1, len(sentence)) for sentence in sentences], dtype=np.float32)
    mean: FloatArray = (weights / weights.sum()) @ vectors
    return mean


def _worth_embedding(snippets: Sequence[Snippet], text: str, cited: Sequence[int]) -> list[int]:
    """Indices, in order, of the snippets to embed: all, or of many those that share most words."""
    if len(snippets) <= _SNIPPETS_EMBEDDED:
        return list(range(len(snippets)))
    wanted = set(words(text))
    always = {*cited, *_ranked_first(snippets)}
    by_overlap = sorted(
        range(len(snippets)),
        key=lambda index: (
            index not in always,
            -len(wanted.intersection(words(snippets[index].text))),
            index,
        ),
    )
    return sorted(by_overlap[:_SNIPPETS_EMBEDDED])


def _to_anchor(retrieved: Sequence[FloatArray | None], first: Sequence[int], anchored: FloatArray) -> Measure:
    """Distance of the anchor to the nearest of the first choices."""
    return pair_distance(anchored, retrieved, first=first, cited=()).top1


def embed_ahead(question: str, snippets: Sequence[Snippet], embedder: Embedder) -> Iterator[None]:
    """Lets a remembering embedder see the question and the snippets before there is an answer, step by step.

    Raises:
        EmbedderError: The model is missing or failed.
    """
    if len(snippets) <= _SNIPPETS_EMBEDDED:
        for text in (question, *(snippet.text for snippet in snippets)):
            embedder.embed([text])
            yield


def measure_distances(
    question: str,
    answer: str,
    snippets: Sequence[Snippet],
    *,
    cited: Sequence[int],
    anchor: Snippet | None,
    embedder: Embedder | None,
) -> Distances:
    """Every ΔS of a turn, per snippet, never of snippets joined together.

    Args:
        question: The user's question.
        answer: The answer, whole or so far.
        snippets: Retrieved passages, best first.
        cited: Indices of the snippets that the answer cites.
        anchor: The passage that the answer must rest on, given or proxy.
        embedder: None where none could be loaded.
    """
    if embedder is None:
        return no_distances(NotScored(Reason.EMBEDDER_MISSING))
    chosen = _worth_embedding(snippets, f"{question} {answer}", cited)
    texts = [question, anchor.text if anchor else "", *(snippets[i].text for i in chosen)]
    try:
        vectors = embedder.embed(texts)
        answered = _by_sentence(answer, embedder)
    except EmbedderError as error:
        return no_distances(NotScored(Reason.EMBEDDER_FAILED, str(error)), embedder.id)
    asked, anchored = vectors[:2]
    retrieved: list[FloatArray | None] = [None] * len(snippets)
    for index, vector in zip(chosen, vectors[2:], strict=True):
        retrieved[index] = vector
    first = first_choices(snippets)
    no_question = None if question.strip() else NotScored(Reason.NO_QUESTION)
    no_answer = None if answer.strip() else NotScored(Reason.EMPTY_ANSWER)
    no_snippets = None if snippets else NotScored(Reason.NO_SNIPPETS)
    no_anchor = None if anchor else NotScored(Reason.NO_ANCHOR)

    def to_snippets(vector: FloatArray, why_not: NotScored | None) -> PairDistance:
        if why_not is not None:
            return PairDistance(each=(), top1=why_not, min=why_not, mean=why_not, cited=why_not)
        return pair_distance(vector, retrieved, first=first, cited=cited)

    return Distances(
        embedder_id=embedder.id,
        question_context=to_snippets(asked, no_snippets or no_question),
        answer_context=to_snippets(answered, no_snippets or no_answer),
        context_anchor=no_snippets or no_anchor or _to_anchor(retrieved, first, anchored),
        answer_anchor=no_answer or no_anchor or cosine_distance(answered, anchored),
        question_answer=no_question or no_answer or cosine_distance(asked, answered),
    )
