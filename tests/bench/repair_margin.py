"""By how much the support of equally supported answers differs: the margin that a new try must exceed.

    python tests/bench/repair_margin.py ../shared/data/grounding_dev.jsonl

Each document of the SummEdits sets has many summaries that differ by one small edit, which keeps what is
said or spoils it. Two with the same label are equally supported, so what their support differs by is noise.
Only pairs with the same verdict are read, because a better verdict decides by itself. Every set is scored by
the weights of the fold that left it out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "extensions" / "exllama_guardrails"))

from exllama_guard.core.snippets import make_snippet
from exllama_guard.grounding.support import AnswerScorer
from exllama_guard.grounding.support.model import read_weights
from grounding import FOLDS_FILE, TimedEmbedder


def main() -> None:
    """Scores every summary and prints the spread and what each margin would keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    path = parser.parse_args().data
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    folds = json.loads(FOLDS_FILE.read_text(encoding="utf-8"))
    documents = defaultdict(list)
    for row in rows:
        if row["set"].startswith("summedits"):
            documents[row["set"], tuple(row["snippets"])].append(row)
    embedder, equal, better = TimedEmbedder(), [], []
    for (name, texts), summaries in documents.items():
        snippets = [make_snippet(text, position=place) for place, text in enumerate(texts)]
        scorer = AnswerScorer(snippets, "", embedder, weights=read_weights(folds[name]["words"]))
        scored = [(row["supported"], scorer.score(row["answer"])) for row in summaries]
        scored = [(label, report) for label, report in scored if isinstance(report.support, float)]
        for (label, one), (other, two) in itertools.permutations(scored, 2):
            if one.gate is two.gate and other >= label:
                (better if other > label else equal).append(two.support - one.support)
    report_table(np.array(equal), np.array(better), len(documents))


def report_table(equal: np.ndarray, better: np.ndarray, documents: int) -> None:
    """Prints quantiles of the noise, and for each margin who would be kept."""
    print(f"{documents} documents; {len(equal)} pairs of equal label, {len(better)} whose second is better")
    for share in (0.5, 0.75, 0.9, 0.95):
        print(f"  {share:.0%} of the equal pairs differ by less than {np.quantile(np.abs(equal), share):.3f}")
    print("margin  kept though equal  kept and better  kept are the better of an unequal pair")
    for margin in (0.0, 0.02, 0.05, 0.08, 0.11, 0.15, 0.2):
        right, wrong = (better > margin).sum(), (better < -margin).sum()
        print(
            f"{margin:6.2f}  {(equal > margin).mean():17.1%}  {(better > margin).mean():15.1%}"
            f"  {right / (right + wrong):15.1%}"
        )


if __name__ == "__main__":
    main()
