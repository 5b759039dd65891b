"""Whether this model is of use as a reader: its signals on statements of known standing, with intervals."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exllama_guard.core.measures import NotScored, Reason
from exllama_guard.core.turns import ClaimSupport, TurnReport
from exllama_guard.errors import BackendError
from exllama_guard.second_reader.joining import Join, Signals, fitted, points_of
from exllama_guard.second_reader.model import LoadedReader
from exllama_guard.second_reader.signals import contrast_of, judge
from exllama_guard.second_reader.window import window_of

__all__ = ["Figure", "KnownStatement", "ReaderReport", "assessed", "known_statements", "measure_reader"]

ROWS = Path(__file__).parent / "data" / "rows.jsonl"
_FOLDS = 10
_DRAWS = 1000  # of the bootstrap, over documents
_SEED = 7
_LEAST_ROWS = 40  # fewer decide nothing

Floats = npt.NDArray[np.float64]
CheckAnswer = Callable[[str, str, str], TurnReport]  # question, document, answer


@dataclass(frozen=True, slots=True)
class KnownStatement:
    """A statement of an ordinary answer beside its document, and whether the document supports it."""

    question: str
    document: str
    answer: str
    statement: str
    right: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """How well one score tells right from wrong: AUROC [0, 1] with its 95 % interval, balanced accuracy."""

    auroc: float
    low: float
    high: float
    balanced: float

    def in_words(self) -> str:
        """Such as `.66, .58-.73`."""
        return f"{_short(self.auroc)}, {_short(self.low)}–{_short(self.high)}"


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """One model measured as a reader. `gain` is the AUROC of all joined less that of support alone."""

    model: str
    model_hash: str
    loader: str
    statements: int
    support: Figure
    judge: Figure
    contrast: Figure | None  # None: the loader does not tell what it takes
    joined: Figure
    gain: float
    gain_low: float
    gain_high: float
    join: Join
    prompt_tokens: int
    took_s: float
    at_s: float  # seconds since the epoch

    @property
    def is_of_use(self) -> bool:
        """Whether the interval of the gain lies above zero: only then is the model asked."""
        return self.gain_low > 0.0

    def sentence(self) -> str:
        """What this means, in one sentence."""
        gain = f"{self.gain:+.2f}, {self.gain_low:+.2f} to {self.gain_high:+.2f}"
        if self.is_of_use:
            return (
                f"This model reads statements with {_short(self.judge.auroc)} of 1 and makes the verdict "
                f"better ({gain}): it is asked about undecided statements."
            )
        if self.judge.low <= 0.5:
            return f"This model reads no better than chance ({self.judge.in_words()}): not asked."
        return (
            f"This model reads better than chance ({self.judge.in_words()}), but adds nothing to what is "
            f"checked already ({gain}): not asked."
        )


def _short(share: float) -> str:
    return f"{share:.2f}".removeprefix("0")


@cache
def known_statements(path: Path = ROWS) -> tuple[KnownStatement, ...]:
    """The shipped statements; `second_reader/data/README.md` says where they come from."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    documents = {line["doc"]: line["text"] for line in lines if "text" in line}
    return tuple(
        KnownStatement(line["q"], documents[line["doc"]], line["answer"], line["statement"], line["right"])
        for line in lines
        if "answer" in line
    )


def measure_reader(
    rows: Sequence[KnownStatement],
    reader: LoadedReader,
    check: CheckAnswer,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[KnownStatement, Signals]]:
    """The signals of each row that `check` finds as a statement of its answer.

    Raises:
        BackendError: The model is gone, failed, or its loader gives no log-probabilities.
        Stopped: The reading was ended.
    """
    found = []
    for number, row in enumerate(rows):
        progress(number, len(rows))
        report = check(row.question, row.document, row.answer)
        claim = _claim_of(row, report)
        if claim is None or claim.evidence is None or not isinstance(claim.support, float):
            continue
        evidence = window_of(report.request.snippets, claim.evidence)
        judged = judge(reader, evidence, claim.text)
        if isinstance(judged, NotScored) and judged.reason is Reason.NOT_SUPPORTED:
            raise BackendError(f"This model cannot be measured as a reader: {judged.detail or judged}.")
        contrast = contrast_of(reader, evidence, row.question, claim.text)
        least = contrast if isinstance(contrast, NotScored) else contrast.least
        found.append((row, Signals(claim.support, judged, least)))
    progress(len(rows), len(rows))
    return found


def assessed(
    measured: Sequence[tuple[KnownStatement, Signals]],
    *,
    model: str,
    model_hash: str,
    loader: str,
    prompt_tokens: int = 0,
    took_s: float = 0.0,
) -> ReaderReport:
    """The report of what was measured; every joined score is read out of fold, by document.

    Raises:
        BackendError: Too few statements were measured, or the judge gave no number.
    """
    usable = [(row, signals) for row, signals in measured if isinstance(signals.judge, float)]
    right = np.array([row.right for row, _ in usable], dtype=bool)
    if min(int(right.sum()), int((~right).sum())) < _LEAST_ROWS // 2:
        raise BackendError(
            f"This model gave a judgement of {len(usable)} of {len(measured)} statements; "
            f"{_LEAST_ROWS} are needed. It is not asked."
        )
    signals = [one for _, one in usable]
    groups = _numbered([row.document for row, _ in usable])
    x = np.array([one.features() for one in signals], dtype=np.float64)
    folds = groups % _FOLDS
    joined = np.zeros(len(signals))
    for fold in range(_FOLDS):
        train = [index for index in range(len(signals)) if folds[index] != fold]
        join = fitted([signals[index] for index in train], right[train].tolist())
        for index in np.flatnonzero(folds == fold):
            joined[index] = join.support(signals[index])
    scores = {"support": x[:, 0], "judge": x[:, 1], "contrast": x[:, 2], "joined": joined}
    drawn = _drawn(scores, right, groups)
    figures = {name: _figure(score, drawn[name], right, folds) for name, score in scores.items()}
    gains = drawn["joined"] - drawn["support"]
    whole = fitted(signals, right.tolist())
    accept, reject = points_of(joined, right)
    told = any(isinstance(one.contrast, float) for one in signals)
    return ReaderReport(
        model=model,
        model_hash=model_hash,
        loader=loader,
        statements=len(signals),
        support=figures["support"],
        judge=figures["judge"],
        contrast=figures["contrast"] if told else None,
        joined=figures["joined"],
        gain=figures["joined"].auroc - figures["support"].auroc,
        gain_low=float(np.quantile(gains, 0.025)),
        gain_high=float(np.quantile(gains, 0.975)),
        join=Join(whole.weights, whole.bias, accept, reject),
        prompt_tokens=prompt_tokens,
        took_s=took_s,
        at_s=time.time(),
    )


def _claim_of(row: KnownStatement, report: TurnReport) -> ClaimSupport | None:
    """The claim of the report that is the row's statement."""
    return next((claim for claim in report.support.claims if claim.text == row.statement), None)


def _numbered(names: Sequence[str]) -> npt.NDArray[np.int64]:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def auroc(scores: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Share of pairs of a right and a wrong statement that are in order, [0, 1]; ties count half."""
    order = np.unique(scores, return_inverse=True)[1]
    counts = np.bincount(order)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[order]
    n = int(right.sum())
    m = len(right) - n
    return float((ranks[right].sum() - n * (n + 1) / 2) / (n * m)) if n and m else 0.5


def _drawn(
    scores: dict[str, Floats], right: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64]
) -> dict[str, Floats]:
    """AUROC of each score in each draw of documents."""
    draw = np.random.default_rng(_SEED)
    members = [np.flatnonzero(groups == group) for group in range(int(groups.max()) + 1)]
    found: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(_DRAWS):
        rows = np.concatenate([members[i] for i in draw.integers(0, len(members), len(members))])
        for name, score in scores.items():
            found[name].append(auroc(score[rows], right[rows]))
    return {name: np.array(values) for name, values in found.items()}


def _figure(
    score: Floats, drawn: Floats, right: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64]
) -> Figure:
    low, high = (float(value) for value in np.quantile(drawn, (0.025, 0.975)))
    return Figure(auroc(score, right), low, high, _balanced(score, right, folds))


def _balanced(score: Floats, right: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64]) -> float:
    """Balanced accuracy of the cut that is best on the other folds, [0, 1]."""
    said = np.zeros(len(score), dtype=bool)
    for fold in range(_FOLDS):
        here, there = folds == fold, folds != fold
        cuts = np.unique(score[there])
        gains = [
            float((score[there][right[there]] >= cut).mean() + (score[there][~right[there]] < cut).mean())
            for cut in cuts
        ]
        said[here] = score[here] >= cuts[int(np.argmax(gains))]
    return float((said[right].mean() + (~said[~right]).mean()) / 2)
