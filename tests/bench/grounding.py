"""How often the support score is right: AUROC and balanced accuracy by set, two baselines, and its cost.

    python tests/bench/grounding.py ../shared/data/grounding_dev.jsonl \
        [--no-embedder] [--verifier] [--shipped]

Rows of a set that the weights were fitted on are scored by the weights of the fold that left this set out
(tests/bench/support_folds.json), rows of other sets by the shipped weights; --shipped takes the shipped
weights for all, which is in sample for the development sets. An answer that is not scored (it claims nothing)
ranks last and counts as not supported. Balanced accuracy is at the model's own operating point. With
--verifier the built-in verifier joins; its weights saw the development sets, so these figures are in sample
(figures out of fold: docs/decisions/support-score.md).

Baselines: the highest cosine of the answer to a snippet ("ΔS only") and the share of the answer's words that
stand in a snippet ("token precision"); their balanced accuracy is at the best cut on the rows themselves,
which favours them. Milliseconds are medians an answer: all on the clock, then the processor time without the
embedder, which a busy machine does not lengthen.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from auroc import auroc

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "extensions" / "exllama_guardrails"))

from exllama_guard.core.measures import FloatArray  # noqa: E402
from exllama_guard.core.ports import TokenVectors  # noqa: E402
from exllama_guard.core.snippets import make_snippet, words  # noqa: E402
from exllama_guard.grounding.support import AnswerScorer  # noqa: E402
from exllama_guard.grounding.support.model import read_weights  # noqa: E402

FOLDS_FILE = Path(__file__).parent / "support_folds.json"


class TimedEmbedder:
    """The real embedder, with what it cost and a memory of the texts that it has seen."""

    id = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        from exllama_guard.embedders.sentence_transformers import load_embedder

        self._inner = load_embedder()
        self._known: dict[str, TokenVectors] = {}
        self.seconds = 0.0  # of the calling thread's processor time

    def embed(self, texts: Sequence[str]) -> FloatArray:
        return np.stack([vectors.sentence for vectors in self.embed_tokens(texts)])

    def embed_tokens(self, texts: Sequence[str]) -> tuple[TokenVectors, ...]:
        started = time.thread_time()
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            self._known.update(zip(missing, self._inner.embed_tokens(missing), strict=True))
        out = tuple(self._known[text] for text in texts)
        if len(self._known) > 6000:
            self._known.clear()
        self.seconds += time.thread_time() - started
        return out


def balanced_accuracy(labels: np.ndarray, supported: np.ndarray) -> float:
    """Mean of the shares of right decisions among the supported and among the unsupported."""
    return float((supported[labels == 1].mean() + (~supported[labels == 0]).mean()) / 2)


def best_accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Balanced accuracy at the best cut."""
    return max(balanced_accuracy(labels, scores >= cut) for cut in np.unique(scores))


def token_precision(answer: str, snippets: Sequence[str]) -> float:
    """Share of the answer's words that stand in a snippet."""
    held = {word for snippet in snippets for word in words(snippet)}
    said = words(answer)
    return sum(word in held for word in said) / len(said) if said else 0.0


def main() -> None:
    """Scores every row and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--no-embedder", action="store_true")
    parser.add_argument("--verifier", action="store_true")
    parser.add_argument("--shipped", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="score every n-th row only")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.data.read_text(encoding="utf-8").splitlines()][
        :: options.every
    ]
    folds = {} if options.shipped else json.loads(FOLDS_FILE.read_text(encoding="utf-8"))
    variant = "plain" if options.no_embedder else "words"
    weights = {name: read_weights(parts[variant]) for name, parts in folds.items()}
    embedder = TimedEmbedder()
    verifier = None
    if options.verifier:
        from exllama_guard.verifiers.built_in import BuiltInVerifier

        verifier = BuiltInVerifier()
    results = []
    key, scorer = None, None
    for row in rows:
        if key != (row["set"], row["snippets"]):
            key = (row["set"], row["snippets"])
            snippets = [make_snippet(text, position=i) for i, text in enumerate(row["snippets"])]
            scorer = AnswerScorer(
                snippets,
                row["question"],
                None if options.no_embedder else embedder,
                verifier,
                weights=weights.get(row["set"]),
            )
        before, started, own = embedder.seconds, time.perf_counter(), time.thread_time()
        report = scorer.score(row["answer"])
        spent, own = time.perf_counter() - started, time.thread_time() - own
        own -= embedder.seconds - before
        scored = isinstance(report.support, float)
        vectors = embedder.embed([row["answer"], *row["snippets"]])
        results.append(
            (
                row["set"],
                row["supported"],
                report.support if scored else -1.0,
                report.supported is True,
                spent,
                own,
                float((vectors[1:] @ vectors[0]).max()),
                token_precision(row["answer"], row["snippets"]),
            )
        )
    report_table(results)


def report_table(results: list[tuple]) -> None:
    """Prints one line a set and the means."""
    sets = np.array([r[0] for r in results])
    labels, support, supported = (np.array([r[i] for r in results]) for i in (1, 2, 3))
    whole, own, cosine, precision = (np.array([r[i] for r in results]) for i in (4, 5, 6, 7))
    print(f"{'set':24s} {'rows':>5s} {'AUROC':>6s} {'bal.acc':>7s} {'ms':>6s} {'ms own':>6s} |"
          f" {'ΔS only':>7s} {'b.a.':>5s} | {'tok.prec':>8s} {'b.a.':>5s} | above better")  # fmt: skip
    lines = []
    for name in sorted(set(sets)):
        k = sets == name
        y = labels[k]
        figures = [
            auroc(y, support[k]),
            balanced_accuracy(y, supported[k]),
            float(np.median(whole[k])) * 1000,
            float(np.median(own[k])) * 1000,
            auroc(y, cosine[k]),
            best_accuracy(y, cosine[k]),
            auroc(y, precision[k]),
            best_accuracy(y, precision[k]),
        ]
        figures.append(figures[0] - max(figures[4], figures[6]))
        lines.append(figures)
        print_line(name, int(k.sum()), figures)
    print_line("mean", len(results), [float(np.mean(column)) for column in zip(*lines, strict=True)])


def print_line(name: str, rows: int, f: Sequence[float]) -> None:
    """Prints one line of the table."""
    print(f"{name:24s} {rows:5d} {f[0]:6.3f} {f[1]:7.3f} {f[2]:6.1f} {f[3]:6.1f} |"
          f" {f[4]:7.3f} {f[5]:5.3f} | {f[6]:8.3f} {f[7]:5.3f} | {f[8]:+.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
