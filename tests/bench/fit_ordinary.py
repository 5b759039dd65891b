"""Fits the weights of the facts and of the joint model on the ordinary answers, and chooses the points.

    python tests/bench/fit_ordinary.py ROWS.jsonl            measures parts a, t and b into ROWS (minutes)
    python tests/bench/fit_ordinary.py ROWS.jsonl --write    fits on a and t, chooses points on b, writes data files

Weights are logistic, with signs held where a sign is a law (a conflict can never raise support). The variant
without an embedder is fitted on the same rows without the embedder's features. Part c is never opened here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "extensions" / "exllama_guardrails"), str(Path(__file__).parent)]

import ordinary  # noqa: E402 - needs the path
from auroc import auroc  # noqa: E402 - needs the path
from ordinary_answers import Item, items  # noqa: E402 - needs the path

from exllama_guard.grounding.facts import doubt, numbers  # noqa: E402 - needs the path
from exllama_guard.grounding.support.joint import ABSENCE, JOINT_FILE  # noqa: E402 - needs the path

FITTED, CHOSEN = ("a", "t"), "b"
VALUES = frozenset(
    "computed number table-cell version-or-id unit date time comparator per-unit weekday-or-month sign "
    "currency count conversion magnitude".split()
)  # kinds of fault that change a value
LOWERS = (
    "number_conflict", "word_conflict", "number_absent", "word_absent", "weakly_held", "doubt", "conflicts",
    "absent_count", "absent_names", "missing_names", "numbers_missing", "numbers_rivalled", "dates_missing",
    "dates_rivalled", "opposite_aligned", "short_fall", "negation_added", "negation_dropped", "strength_added",
)  # fmt: skip
RAISES = ("wording", "held", "precision_all", "precision_every_word", "word_mean", "word_least", "cosine")
OF_ABSENCE = ("precision_top", "precision_all", "precision_every_word", "pair_precision", "order", "words")
GOOD_PASS, GOOD_FAIL = 0.88, 0.02  # shares of good statements' answers that the points aim at
_seen: list[dict[str, Any]] = []


def measured(item: Item) -> list[dict[str, Any]]:
    """The rows of one question, each statement with the features of its values."""
    _seen.clear()
    numbers.doubt_of = _recorded  # type: ignore[assignment]
    rows = ordinary.read_item(item)
    for row in rows:
        for one in row["statements"]:
            one["values"] = [value for value in _seen if value["statement"] == one["text"]]
    return rows


def _recorded(case: Any, found: Any, fact: Any) -> float:
    features = doubt.doubt_features(case, found, fact)
    place = {"statement": case.statement, "start": found.value.start, "end": found.value.end}
    _seen.append({**place, "text": found.text, "features": features})
    return doubt.doubt_of(case, found, fact)


def fitted(
    rows: Sequence[Mapping[str, float]], labels: Sequence[int], ridge: float = 1.0
) -> dict[str, float]:
    """Logistic weights by name, the bias under ""; both labels weigh the same in all."""
    from scipy.optimize import minimize

    names = sorted(rows[0])
    x = np.array([[row[name] for name in names] for row in rows])
    y = np.array(labels, dtype=float)
    scale = x.std(axis=0) + 1e-6
    x = np.hstack([x / scale, np.ones((len(x), 1))])
    weigh = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    penalty = np.append(np.full(len(names), ridge), 0.0)
    bounds = [_bound(name) for name in names] + [(None, None)]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        p = 1.0 / (1.0 + np.exp(-np.clip(z, -30, 30)))
        value = float(weigh @ (np.logaddexp(0, z) - y * z)) + 0.5 * float(penalty @ (w * w))
        return value, x.T @ (weigh * (p - y)) + penalty * w

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds)
    weights = {name: float(w / s) for name, w, s in zip(names, found.x, scale, strict=False)}
    return {**weights, "": float(found.x[-1])}


def _bound(name: str) -> tuple[float | None, float | None]:
    return (None, 0.0) if name in LOWERS else (0.0, None) if name in RAISES else (None, None)


def score(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    """Log-odds."""
    return weights[""] + sum(w * features[name] for name, w in weights.items() if name)


def values_of(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, float], int]]:
    """Features and label (1: wrong) of the values; of a wrong answer those that the fault changed."""
    seen = set()
    for row in rows:
        if row["fault"] and row["fault"] not in VALUES:
            continue
        for one in row["statements"]:
            for value in one["values"]:
                if row["fault"] and not (one["changed"] and value["text"] in row["changed"] and value["text"] not in row["replaced"]):
                    continue
                key = (row["item"], one["text"], value["start"], bool(row["fault"]))
                if key not in seen:
                    seen.add(key)
                    yield value["features"], int(bool(row["fault"]))


def statements_of(rows: Sequence[dict[str, Any]], kind: str) -> Iterator[tuple[dict[str, float], int]]:
    """Features and label (1: supported) of the statements; of a wrong answer the one that the fault changed."""
    seen = set()
    for row in rows:
        for one in row["statements"]:
            key = (row["item"], one["text"], one["wrong"])
            if one["kind"] != kind or (row["fault"] and not one["changed"]) or key in seen:
                continue
            seen.add(key)
            yield one["features"], int(not one["wrong"])


def chosen(rows: Sequence[dict[str, Any]], weights: Mapping[str, float]) -> dict[str, float]:
    """Points on the probability for the rates of good answers: the least supported statement decides."""
    least = sorted(
        min(ordinary_probability(weights, one["features"]) for one in row["statements"] if one["kind"] == "claim")
        for row in rows
        if not row["fault"] and any(one["kind"] == "claim" for one in row["statements"])
    )
    accept = least[int((1 - GOOD_PASS) * len(least))]
    reject = least[int(GOOD_FAIL * len(least))]
    return {"cut": round((accept + reject) / 2, 4), "accept": round(accept, 4), "reject": round(reject, 4)}


def ordinary_probability(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    return 1.0 / (1.0 + float(np.exp(-np.clip(score(weights, features), -30, 30))))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("rows", type=Path)
    ask.add_argument("--write", action="store_true")
    ask.add_argument("--every", type=int, default=1, help="of part t read each Nth question only")
    said = ask.parse_args()
    if not said.write:
        _measure(said.rows, said.every)
        return
    rows = [json.loads(line) for line in said.rows.read_text("utf-8").splitlines()]
    parts = {
        variant: [
            [row for row in rows if row["embedded"] is embedded and row["item"][0] in some]
            for some in (FITTED, (CHOSEN,))
        ]
        for variant, embedded in (("words", True), ("plain", False))
    }
    _write_doubt(*parts["words"])
    _write_joint(parts)


def _measure(path: Path, every: int) -> None:
    with path.open("w", encoding="utf-8") as out:
        for embedded in (True, False):
            with ProcessPoolExecutor(2, initializer=partial(ordinary._ready, embedded)) as pool:
                for part in (*FITTED, CHOSEN):
                    some = list(items(part))[:: every if part == "t" else 1]
                    for rows in pool.map(measured, some, chunksize=4):
                        out.writelines(json.dumps({**row, "embedded": embedded}, ensure_ascii=False) + "\n" for row in rows)
                    print(part, len(some), "with embedder" if embedded else "without", flush=True)


def _write_doubt(fit: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    x, y = zip(*values_of(fit), strict=True)
    weights = fitted(x, y)
    z, truth = zip(*values_of(other), strict=True)
    print(f"values: {len(y)} fitted, {len(truth)} read, AUROC {auroc(truth, [score(weights, one) for one in z]):.3f}")
    doubt.DOUBT_FILE.write_text(
        json.dumps({"fitted_on": "parts a and t of tests/bench/ordinary", "weights": _rounded(weights)}, indent=1) + "\n"
    )


def _doubted(rows: Sequence[dict[str, Any]]) -> None:
    """Each statement's greatest doubt by the weights as they are now."""
    weights = json.loads(doubt.DOUBT_FILE.read_text(encoding="utf-8"))["weights"]
    for row in rows:
        for one in row["statements"]:
            each = [1 / (1 + np.exp(-score(weights, value["features"]))) for value in one["values"]]
            one["features"]["doubt"] = float(max(each, default=0.0))


def _write_joint(parts: Mapping[str, Sequence[list[dict[str, Any]]]]) -> None:
    raw = json.loads(JOINT_FILE.read_text(encoding="utf-8"))
    for variant, (fit, other) in parts.items():
        _doubted([*fit, *other])
        weights = _fitted_on(variant, statements_of(fit, "claim"), statements_of(other, "claim"))
        raw["variants"][variant] = _variant(weights, chosen(other, weights))
    fit, other = parts["words"]
    sides = [[({name: x[name] for name in OF_ABSENCE}, y) for x, y in statements_of(side, "refusal")] for side in (fit, other)]
    weights = _fitted_on(ABSENCE, *sides)
    likely = sorted(ordinary_probability(weights, x) for x, right in sides[0] if right)
    accept = round(likely[int((1 - GOOD_PASS) * len(likely))], 4)
    raw["variants"][ABSENCE] = _variant(weights, {"cut": accept, "accept": accept, "reject": 0.05})
    raw["provenance"] = {
        "fitted_on": "parts a and t of tests/bench/ordinary: hand-written ordinary answers in eleven languages",
        "points": "chosen on part b; variants with a reader were fitted on part b",
    }
    JOINT_FILE.write_text(json.dumps(raw, indent=1) + "\n")


def _fitted_on(
    name: str, fit: Iterable[tuple[dict[str, float], int]], other: Iterable[tuple[dict[str, float], int]]
) -> dict[str, float]:
    x, y = zip(*fit, strict=True)
    weights = fitted(x, y)
    z, truth = zip(*other, strict=True)
    read = auroc(truth, [score(weights, one) for one in z])
    print(f"{name}: {len(y)} fitted, {len(truth)} read, AUROC {read:.3f}")
    return weights


def _variant(weights: Mapping[str, float], points: Mapping[str, float]) -> dict[str, Any]:
    kept = {name: w for name, w in _rounded(weights).items() if name and w}
    return {"weights": kept, "bias": round(weights[""], 4), "points": dict(points)}


def _rounded(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: round(w, 4) for name, w in weights.items()}


if __name__ == "__main__":
    main()
