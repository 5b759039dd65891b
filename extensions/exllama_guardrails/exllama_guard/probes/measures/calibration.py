"""Where the limits of ΔS lie for one embedder: between the right passages and the nearest wrong ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exllama_guard.core.ports import Embedder
from exllama_guard.errors import UserError
from exllama_guard.probes.gold import read_gold

_LEAST_PAIRS = 20  # fewer pairs place no limit: one odd question would move it
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Pairs:
    """Questions, and for each the index of its passage among `passages`."""

    questions: tuple[str, ...]
    passages: tuple[str, ...]
    anchor: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one limit says about the pairs: shares in [0, 1]."""

    limit: float
    anchors_accepted: float
    decoys_accepted: float

    @property
    def balanced_accuracy(self) -> float:
        """Mean share of right decisions on anchors and on decoys, [0, 1]."""
        return (self.anchors_accepted + 1.0 - self.decoys_accepted) / 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """Distances of a gold set by one embedder, and what the seed's and the placed limits say about it.

    `accept` is the limit with the best balanced accuracy between anchors and nearest decoys; beyond `reject`
    lies one right passage in twenty.
    """

    embedder_id: str
    pairs: int
    anchor: npt.NDArray[np.float64]  # ΔS of each question to its passage
    decoy: npt.NDArray[np.float64]  # ΔS of each question to the nearest other passage
    nearest_right: float  # share of questions whose own passage is the nearest
    seed: Verdict
    placed: Verdict
    accept: float
    reject: float


def read_pairs(path: Path) -> Pairs:
    """The pairs of a gold set (JSON lines with `question` and `anchor`) or of a file in SQuAD form.

    Raises:
        UserError: The file cannot be read, or has too few pairs or fewer than two passages.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name another file.") from error
    return pairs_in(text, path.name)


def pairs_in(text: str, name: str) -> Pairs:
    """The pairs of a gold set's text; `name` stands in messages.

    Raises:
        UserError: The text is in neither form, or has too few pairs or fewer than two passages.
    """
    found = _squad(text)
    if found is None:
        gold = read_gold(text.splitlines())
        found = [(item.question, item.anchor.text) for item in gold.items if item.anchor is not None]
    passages = tuple(dict.fromkeys(passage for _, passage in found))
    if len(found) < _LEAST_PAIRS or len(passages) < 2:
        raise UserError(
            f"{name} has {len(found)} questions with an anchor and {len(passages)} different anchors; "
            f"at least {_LEAST_PAIRS} questions and 2 anchors are needed to place a limit."
        )
    place = {passage: index for index, passage in enumerate(passages)}
    return Pairs(tuple(q for q, _ in found), passages, tuple(place[passage] for _, passage in found))


def calibrate(pairs: Pairs, embedder: Embedder, *, seed: float = 0.45) -> Calibration:
    """The calibration of one embedder on these pairs.

    Args:
        pairs: At least two passages.
        embedder: The embedder that the limit is for.
        seed: The limit in use now, to compare with (default: the seed study's).

    Raises:
        EmbedderError: The embedder is missing or failed.
    """
    questions = _embedded(pairs.questions, embedder)
    passages = _embedded(pairs.passages, embedder)
    distance = 1.0 - np.clip(questions @ passages.T, -1.0, 1.0)
    rows = np.arange(len(pairs.questions))
    anchor = distance[rows, list(pairs.anchor)]
    others = distance.copy()
    others[rows, list(pairs.anchor)] = np.inf
    decoy = others.min(axis=1)
    accept = _best_limit(anchor, decoy)
    reject = max(accept, float(np.quantile(anchor, 0.95)))
    return Calibration(
        embedder_id=embedder.id,
        pairs=len(rows),
        anchor=anchor,
        decoy=decoy,
        nearest_right=float((anchor < decoy).mean()),
        seed=_verdict(seed, anchor, decoy),
        placed=_verdict(accept, anchor, decoy),
        accept=accept,
        reject=reject,
    )


def _embedded(texts: Sequence[str], embedder: Embedder) -> npt.NDArray[np.float64]:
    batches = [embedder.embed(texts[first : first + _BATCH]) for first in range(0, len(texts), _BATCH)]
    return np.concatenate(batches).astype(np.float64)


def _best_limit(anchor: npt.NDArray[np.float64], decoy: npt.NDArray[np.float64]) -> float:
    """The cut between two neighbouring distances with the best balanced accuracy, to four places."""
    values = np.unique(np.concatenate([anchor, decoy]))
    cuts = np.concatenate([values[:1], (values[:-1] + values[1:]) / 2, values[-1:]])
    accepted = np.searchsorted(np.sort(anchor), cuts, side="right") / len(anchor)
    wrong = np.searchsorted(np.sort(decoy), cuts, side="right") / len(decoy)
    return round(float(cuts[int(np.argmax(accepted - wrong))]), 4)


def _verdict(limit: float, anchor: npt.NDArray[np.float64], decoy: npt.NDArray[np.float64]) -> Verdict:
    return Verdict(limit, float((anchor <= limit).mean()), float((decoy <= limit).mean()))


def _squad(text: str) -> list[tuple[str, str]] | None:
    """Question and paragraph pairs of a file in SQuAD form; None where it is of another form."""
    try:
        data = json.loads(text)
    except ValueError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("data"), list):
        return None
    try:
        return [
            (str(qa["question"]), str(paragraph["context"]))
            for article in data["data"]
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"The file looks like SQuAD but has no {error} where it belongs; each article needs paragraphs "
            "with context and qas, each qa a question."
        ) from error
