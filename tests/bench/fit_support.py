"""Fits the weights of the support score, with one set left out in turn, and writes them with their figures.

    python tests/bench/fit_support.py ../shared/data/grounding_dev.jsonl --features FILE.pkl \
        [--verifier-scores oof_scores.jsonl] [--write]

Reads the development rows, measures every claim with the extension's own code (some minutes; kept in
FILE.pkl, a pickle: name only a file that this script wrote), fits one model a fold and one on all sets, for
each of what an embedder may give: vectors of words, of sentences only, or no embedder. Figures are of rows
that the model which scored them was not fitted on. The verifier's scores must be out of fold in the same
way: one JSON object a line with `id` and `worst_sentence`, the lowest probability of entailment over the
answer's sentences.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from auroc import auroc

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "extensions" / "exllama_guardrails"))

from exllama_guard.core.ports import Embedder  # noqa: E402
from exllama_guard.core.snippets import make_snippet  # noqa: E402
from exllama_guard.grounding.support.evidence import Encoder, Library  # noqa: E402
from exllama_guard.grounding.support.model import WEIGHTS_FILE  # noqa: E402
from exllama_guard.grounding.support.scorer import measure_pieces  # noqa: E402

FOLDS_FILE = Path(__file__).parent / "support_folds.json"
ASPECTS = 4
L2 = 3e-3
SHARPNESS = 2.0
# Added after the fit to what the aspects say: sets with one small edit in a summary teach that overlap says
# little, which does not hold for free replies. The size was chosen on the folds among 0, 1, 1.5, 2 and 4.
COMMON = {"precision_every_word": 1.5}
NO_CLAIM = -9.0  # an answer without a claim is never a pass
LEFT_OUT = ("evidence_sentences",)  # says which set a row is from, not how good it is
FREE = ("words", "numbers", "negation_both", "related_same", "related_broader", "related_narrower",
        "related_sibling", "related_none")  # fmt: skip
HARMFUL = ("conflicts", "missing", "absent", "numbers_", "dates_", "negation_", "strength", "first_",
           "opposite", "related_opposite", "short", "loose_words", "loose_function")  # fmt: skip
OF_WORDS = ("word_", "loose_least", "loose_mean", "firm_", "short_")


@dataclass(frozen=True)
class Bags:
    """Claims (rows of x) of answers: `owner` says whose, `labels` and `sets` are of the answers."""

    x: np.ndarray
    owner: np.ndarray
    labels: np.ndarray
    sets: np.ndarray


def measure(rows: Sequence[dict], embedder: Embedder | None) -> Iterator[list[dict[str, float]]]:
    """Features of each row's claims."""
    key, library = None, None
    for number, row in enumerate(rows):
        if key != row["snippets"]:
            key = row["snippets"]
            snippets = [make_snippet(text, position=i) for i, text in enumerate(key)]
            encoder = Encoder(embedder)
            library = Library(snippets, "en", encoder)
        yield [features for _, features in measure_pieces(row["answer"], library, encoder, "en")]
        if number % 500 == 0:
            print(f"measured {number} of {len(rows)}", flush=True)


def sign_of(name: str) -> int:
    """Which way a feature may push support: 1 up, -1 down, 0 either."""
    if name in FREE:
        return 0
    return -1 if name.startswith(HARMFUL) else 1


def balanced(sets: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights of the answers that make every set, and both labels in it, count alike; they add up to 1."""
    weights = np.zeros(len(labels))
    for name in set(sets):
        for label in (0, 1):
            chosen = (sets == name) & (labels == label)
            weights[chosen] = 1.0 / max(1, chosen.sum())
    return weights / weights.sum()


@dataclass(frozen=True)
class Model:
    """A fitted model before calibration."""

    mean: np.ndarray
    scale: np.ndarray
    aspects: np.ndarray
    offsets: np.ndarray
    bias: float
    common: np.ndarray  # log-odds a unit of each feature, outside the soft minimum

    def scores(self, bags: Bags) -> np.ndarray:
        """Log-odds of each answer: of its worst claim."""
        z = np.clip((bags.x - self.mean) / self.scale, -4, 4) @ self.aspects + self.offsets
        z = -np.logaddexp.reduce(-SHARPNESS * z, axis=1) / SHARPNESS + self.bias
        z = z + (bags.x - self.mean) @ self.common
        out = np.full(len(bags.labels), np.inf)
        np.minimum.at(out, bags.owner, z)
        return np.where(np.isinf(out), NO_CLAIM, out)


def fit(bags: Bags, names: Sequence[str], train: np.ndarray) -> Model:
    """Fits on the answers in `train`.

    Each set has an offset of its own, so that only differences within a set teach.
    """
    torch.manual_seed(0)
    has = np.zeros(len(bags.labels), bool)
    has[bags.owner] = True
    answers = np.flatnonzero(train & has)
    place = np.full(len(bags.labels), -1)
    place[answers] = np.arange(len(answers))
    rows = place[bags.owner] >= 0
    x = bags.x[rows]
    mean, scale = x.mean(0), x.std(0) + 1e-6
    x = torch.tensor(np.clip((x - mean) / scale, -4, 4), dtype=torch.float32)
    owner = torch.tensor(place[bags.owner[rows]])
    y = torch.tensor(bags.labels[answers], dtype=torch.float32)
    names_of_sets = sorted(set(bags.sets[answers]))
    which = torch.tensor([names_of_sets.index(s) for s in bags.sets[answers]])
    weight = torch.tensor(balanced(bags.sets[answers], bags.labels[answers]), dtype=torch.float32)
    sign = torch.tensor([sign_of(name) for name in names], dtype=torch.float32)[:, None]
    generator = torch.Generator().manual_seed(0)
    raw = (torch.randn(x.shape[1], ASPECTS, generator=generator) * 0.15).requires_grad_(True)
    offsets = torch.ones(ASPECTS).requires_grad_(True)
    per_set = torch.zeros(len(names_of_sets), requires_grad=True)

    def aspects() -> torch.Tensor:
        held = sign * torch.nn.functional.softplus(raw * 4 - 2) / 4
        return torch.where(sign == 0, raw, held)

    optimizer = torch.optim.LBFGS(
        [raw, offsets, per_set], max_iter=200, line_search_fn="strong_wolfe", history_size=20
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        each = x @ aspects() + offsets
        claim = -torch.logsumexp(-SHARPNESS * each, 1) / SHARPNESS
        top = torch.full((len(answers),), -1e9).scatter_reduce(0, owner, -SHARPNESS * claim, "amax").detach()
        total = torch.zeros(len(answers)).scatter_add(0, owner, torch.exp(-SHARPNESS * claim - top[owner]))
        pooled = -(top + torch.log(total)) / SHARPNESS
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            pooled + per_set[which], y, reduction="none"
        )
        loss = (weight * loss).sum() + L2 * (aspects() ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return Model(
        mean,
        scale,
        aspects().detach().numpy(),
        offsets.detach().numpy(),
        float(per_set.detach().mean()),
        np.array([COMMON.get(name, 0.0) for name in names]),
    )


def logistic(columns: np.ndarray, bags: Bags, chosen: np.ndarray, per_set: bool) -> tuple[np.ndarray, float]:
    """Weights and bias of a small logistic regression of the labels; with an offset a set where asked."""
    from sklearn.linear_model import LogisticRegression

    names = sorted(set(bags.sets[chosen]))
    extra = (
        np.stack([(bags.sets == n) * 1.0 for n in names[1:]], 1)
        if per_set
        else np.zeros((len(bags.labels), 0))
    )
    sample = balanced(bags.sets[chosen], bags.labels[chosen]) * chosen.sum()
    model = LogisticRegression(C=10.0, max_iter=2000)
    model.fit(np.hstack([columns, extra])[chosen], bags.labels[chosen], sample_weight=sample)
    own = model.coef_[0][: columns.shape[1]]
    shift = float(model.intercept_[0] + (model.coef_[0][columns.shape[1] :].sum() / len(names)))
    return own, shift


def points_of(p: np.ndarray, bags: Bags, chosen: np.ndarray) -> dict[str, float]:
    """Operating points: best mean balanced accuracy; 70 % sure of supported; 75 % sure of unsupported."""
    y, sets = bags.labels, bags.sets
    weight = balanced(sets, y)
    grid = np.arange(0.05, 0.96, 0.01)

    def accuracy(cut: float) -> float:
        of = [chosen & (sets == name) for name in set(sets[chosen])]
        return float(
            np.mean([((p[k & (y == 1)] >= cut).mean() + (p[k & (y == 0)] < cut).mean()) / 2 for k in of])
        )

    def share(mask: np.ndarray) -> float:
        return float(weight[mask & (y == 1)].sum() / max(1e-12, weight[mask].sum()))

    cut = max(grid, key=accuracy)
    accept = next((t for t in grid if t >= cut and share(chosen & (p >= t)) >= 0.70), cut + 0.1)
    reject = next((t for t in grid[::-1] if t <= cut and share(chosen & (p < t)) <= 0.25), cut - 0.2)
    return {"cut": round(float(cut), 3), "accept": round(float(accept), 3), "reject": round(float(reject), 3)}


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Probabilities of log-odds."""
    return 1.0 / (1.0 + np.exp(-np.clip(z, -30, 30)))


def out_of_fold(bags: Bags, names: Sequence[str]) -> tuple[np.ndarray, dict[str, Model]]:
    """Each answer's log-odds by the model that never saw its set, and these models."""
    scores = np.zeros(len(bags.labels))
    models = {}
    for name in sorted(set(bags.sets)):
        models[name] = fit(bags, names, bags.sets != name)
        scores[bags.sets == name] = models[name].scores(bags)[bags.sets == name]
    return scores, models


def described(
    model: Model,
    names: Sequence[str],
    scores: np.ndarray,
    said: np.ndarray | None,
    bags: Bags,
    chosen: np.ndarray,
) -> dict:
    """One variant's part of the weights file; calibration and points from out-of-fold scores in `chosen`."""
    has = chosen & (scores > NO_CLAIM)
    (slope,), shift = logistic(scores[:, None], bags, has, per_set=False)
    own = slope * scores + shift
    out = {
        "terms": {
            name: {
                "mean": round(float(m), 5),
                "scale": round(float(s), 5),
                "weights": [round(float(v), 5) for v in w],
            }
            for name, m, s, w in zip(names, model.mean, model.scale, model.aspects, strict=True)
        },
        "common": COMMON,
        "offsets": [round(float(v), 5) for v in model.offsets],
        "slope": round(float(slope), 5),
        "bias": round(float(slope * model.bias + shift), 5),
        "points": points_of(sigmoid(np.where(scores > NO_CLAIM, own, -30)), bags, chosen),
    }
    if said is None:
        out["verifier"] = {"own": 1.0, "weight": 0.5, "bias": 0.0, "ask_from": 0.05, "ask_to": 0.95}
        out["verifier"]["points"] = out["points"]
        return out
    (first, second), _ = logistic(np.stack([own, said], 1), bags, has, per_set=True)
    joined = first * own + second * said
    (again,), bias = logistic(joined[:, None], bags, has, per_set=False)
    joined = np.where(scores > NO_CLAIM, again * joined + bias, -30)
    out["verifier"] = {
        "own": round(float(again * first), 5), "weight": round(float(again * second), 5),
        "bias": round(float(bias), 5),
        "ask_from": 0.05, "ask_to": 0.95, "points": points_of(sigmoid(joined), bags, chosen),
    }  # fmt: skip
    return out


def joined_scores(part: dict, model: Model, raw: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Log-odds with the verifier's word for undecided answers, as the extension joins them."""
    own = part["slope"] * (raw - model.bias) + part["bias"]
    p = sigmoid(own)
    rule = part["verifier"]
    asked = (p >= rule["ask_from"]) & (p <= rule["ask_to"])
    out = np.where(asked, rule["own"] * own + rule["weight"] * said + rule["bias"], own)
    return np.where(raw > NO_CLAIM, out, -30)


def table(title: str, bags: Bags, scores: np.ndarray) -> dict[str, float]:
    """Prints and gives AUROC by set and their mean."""
    figures = {
        n: round(auroc(bags.labels[bags.sets == n], scores[bags.sets == n]), 3)
        for n in sorted(set(bags.sets))
    }
    figures["mean"] = round(float(np.mean(list(figures.values()))), 4)
    print(
        f"{title:34s}", " ".join(f"{name[-10:]} {value:.3f}" for name, value in figures.items()), flush=True
    )
    return figures


def main() -> None:
    """Fits, prints and, where asked, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--features", type=Path, required=True, help="where measured features are kept")
    parser.add_argument("--verifier-scores", type=Path)
    parser.add_argument("--write", action="store_true", help="write the weights and the folds' weights")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.data.read_text(encoding="utf-8").splitlines()]
    if not options.features.exists():
        from exllama_guard.embedders.sentence_transformers import load_embedder

        options.features.write_bytes(pickle.dumps(list(measure(rows, load_embedder()))))
    measured = pickle.loads(options.features.read_bytes())  # noqa: S301 - written by this script
    said = None
    if options.verifier_scores:
        told = {
            r["id"]: r["worst_sentence"]
            for r in map(json.loads, options.verifier_scores.read_text().splitlines())
        }
        given = np.array([told[row["id"]] for row in rows])
        said = np.log((given + 1e-3) / (1 - given + 1e-3))
    every = [name for name in next(c for claims in measured for c in claims) if name not in LEFT_OUT]
    chosen_names = {
        "words": every,
        "sentences": [n for n in every if not n.startswith(OF_WORDS)],
        "plain": [n for n in every if not n.startswith((*OF_WORDS, "cosine"))],
    }
    labels, sets = np.array([r["supported"] for r in rows]), np.array([r["set"] for r in rows])
    owner = np.array([i for i, claims in enumerate(measured) for _ in claims])
    result: dict = {"provenance": {}, "variants": {}}
    folds: dict = {}
    for variant, names in chosen_names.items():
        bags = Bags(np.array([[c[n] for n in names] for cs in measured for c in cs]), owner, labels, sets)
        scores, models = out_of_fold(bags, names)
        everything = np.ones(len(labels), bool)
        model = fit(bags, names, everything)
        part = described(model, names, scores, said, bags, everything)
        figures = {"left_out": table(f"{variant}, set left out", bags, scores)}
        figures["in_sample"] = table(f"{variant}, in sample", bags, model.scores(bags))
        for name, fold in models.items():
            others = sets != name
            folds.setdefault(name, {})[variant] = described(fold, names, scores, said, bags, others)
        if said is not None:
            out = np.zeros(len(labels))
            for name, fold in models.items():
                its = joined_scores(folds[name][variant], fold, scores, said)
                out[sets == name] = its[sets == name]
            figures["left_out_with_verifier"] = table(f"{variant} + verifier, set left out", bags, out)
        part["figures_auroc"] = figures
        result["variants"][variant] = part
    result["provenance"] = {
        "script": "tests/bench/fit_support.py",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "data": f"{options.data.name}: {len(rows)} rows of {len(set(sets))} public sets",
        "folds": "one set left out in turn; `left_out` figures are of rows of the set that was left out",
        "embedder": "all-MiniLM-L6-v2",
        "verifier": "out-of-fold scores of the built-in verifier"
        if said is not None
        else "not fitted; 0.5 by default",
        "lexicon": "WordNet 3.0",
    }
    if options.write:
        WEIGHTS_FILE.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        FOLDS_FILE.write_text(json.dumps(folds, separators=(",", ":")) + "\n", encoding="utf-8")
        print("wrote", WEIGHTS_FILE, "and", FOLDS_FILE)


if __name__ == "__main__":
    main()
