"""Fits relevance (grounding/relevance.py) on public question/paragraph pairs and writes it with its figures.

    python tests/bench/fit_relevance.py ../shared/data/xquad_en.json [--write]

A relevant answer is the sentence of the paragraph that holds the answer; beside the question is another
sentence of the same paragraph that does not hold it (true, on the same subject, not what was asked), or a
sentence of another paragraph. Figures are of paragraphs that the model which scored them was not fitted on
(5 folds by paragraph). The limit is placed so that 2 of 100 right ordinary answers (part a) are called
beside: an answer in other words takes up less of the question than a sentence of a paragraph does.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "extensions" / "exllama_guardrails"), str(Path(__file__).parent)]

from exllama_guard.embedders.sentence_transformers import load_embedder  # noqa: E402
from exllama_guard.grounding.relevance import SHORTEST_ANSWER_WORDS, WEIGHTS_FILE, shared_words  # noqa: E402
from exllama_guard.grounding.support.text import sentence_ranges  # noqa: E402
from ordinary_answers import items  # noqa: E402

FOLDS = 5
FALSE_ALARMS = 0.02
L2 = 1.0


def pairs_of(path: Path) -> list[tuple[str, str, int, str, int]]:
    """(question, answer, relevant, kind, paragraph) rows."""
    chance = random.Random(7)  # noqa: S311 - a sample, not a secret
    paragraphs = [p for article in json.loads(path.read_text("utf-8"))["data"] for p in article["paragraphs"]]
    cut = [[p["context"][a:b] for a, b in sentence_ranges(p["context"])] for p in paragraphs]
    rows = []
    for number, paragraph in enumerate(paragraphs):
        for asked in paragraph["qas"]:
            spans = [answer["text"] for answer in asked["answers"]]
            holding = [s for s in cut[number] if any(span in s for span in spans)]
            others = [s for s in cut[number] if not any(span in s for span in spans)]
            far = chance.choice(cut[(number + 1 + chance.randrange(len(cut) - 1)) % len(cut)])
            chosen = [(holding[:1], 1, "holds the answer"), ([far], 0, "other paragraph")]
            chosen.append(([chance.choice(others)] if others else [], 0, "same paragraph"))
            for texts, relevant, kind in chosen:
                rows += [
                    (asked["question"], text, relevant, kind, number)
                    for text in texts
                    if len(text.split()) >= SHORTEST_ANSWER_WORDS
                    and isinstance(shared_words(asked["question"], text), float)
                ]
    return rows


def ordinary() -> list[tuple[str, str]]:
    """Questions of part a, each with its right answer, that relevance reads."""
    return [
        (item.question, answer.text)
        for item in items("a")
        for answer in item.answers
        if not answer.fault
        and len(answer.text.split()) >= SHORTEST_ANSWER_WORDS
        and isinstance(shared_words(item.question, answer.text), float)
    ]


def fitted(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Bias and weights of a logistic regression by Newton's method."""
    design = np.column_stack([np.ones(len(x)), x])
    theta = np.zeros(design.shape[1])
    ridge = L2 * np.diag([0.0, *np.ones(x.shape[1])])
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ theta))
        gradient = design.T @ (weight * (p - y)) + ridge @ theta
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + ridge
        theta -= np.linalg.solve(hessian, gradient)
    return theta


def main() -> None:
    """Prints the figures; with --write stores the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = pairs_of(options.data)
    embedder = load_embedder("")
    right = ordinary()
    texts = list(dict.fromkeys(text for row in (*rows, *right) for text in row[:2]))
    vectors = dict(zip(texts, embedder.embed(texts), strict=True))
    x = np.array([[float(vectors[q] @ vectors[a]), float(shared_words(q, a))] for q, a, *_ in rows])
    y = np.array([row[2] for row in rows], dtype=float)
    kinds = np.array([row[3] for row in rows])
    paragraph = np.array([row[4] for row in rows])
    weight = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    folds = paragraph % FOLDS
    scores = np.zeros(len(rows))
    for fold in range(FOLDS):
        theta = fitted(x[folds != fold], y[folds != fold], weight[folds != fold])
        scores[folds == fold] = 1 / (1 + np.exp(-(theta[0] + x[folds == fold] @ theta[1:])))
    theta = fitted(x, y, weight)
    near = np.array([[float(vectors[q] @ vectors[a]), float(shared_words(q, a))] for q, a in right])
    limit = float(np.quantile(1 / (1 + np.exp(-(theta[0] + near @ theta[1:]))), FALSE_ALARMS))
    placed = f"placed where {FALSE_ALARMS:.0%} of {len(right)} right ordinary answers (part a) fall below it"
    order = scores.argsort().argsort()
    ranks = (order[y == 1].sum() - (y == 1).sum() * ((y == 1).sum() - 1) / 2) / (
        (y == 1).sum() * (y == 0).sum()
    )
    figures = {"auroc": round(float(ranks), 3)}
    for kind in dict.fromkeys(kinds):
        figures[f"called beside, {kind}"] = round(float((scores[kinds == kind] < limit).mean()), 3)
        figures[f"rows, {kind}"] = int((kinds == kind).sum())
    for name, value in figures.items():
        print(f"{name:40} {value}")
    print("bias, near, shared", theta, "limit", limit)
    if options.write:
        WEIGHTS_FILE.parent.mkdir(exist_ok=True)
        stored = {
            "provenance": {
                "script": "tests/bench/fit_relevance.py",
                "date": datetime.now(timezone.utc).date().isoformat(),
                "data": f"{options.data.name}: sentences of its paragraphs as answers, {len(rows)} rows",
                "folds": "5, by paragraph; `left_out` figures are of paragraphs that were left out",
                "embedder": embedder.id,
                "limit": placed,
                "left_out": figures,
            },
            "bias": round(float(theta[0]), 5),
            "near": round(float(theta[1]), 5),
            "shared": round(float(theta[2]), 5),
            "limit": round(limit, 5),
        }
        WEIGHTS_FILE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
