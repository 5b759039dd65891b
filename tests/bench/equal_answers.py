"""Places the cosine from which two answers count as one: `python tests/bench/equal_answers.py DATA_FOLDER`.

Pairs of known standing, each judged by the whole rule (numbers, polarity, cosine) and by the cosine alone:
  equal       two different summaries of one text that are both right (SummEdits)
  one fact    a right summary and one with a single wrong fact, of one text (SummEdits); a claim that an
              evidence supports beside one that it refutes (FEVER symmetric)
  one topic   two sentences of one paragraph that answer different questions (XQuAD)
The cut is the one with the best balanced accuracy of equal against the mean of the two others. To see how far
it depends on the texts, it is also placed without each set and read on it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "extensions" / "exllama_guardrails"))

from exllama_guard.embedders.sentence_transformers import load_embedder  # noqa: E402
from exllama_guard.probes.measures.agreement import EQUAL_COSINE, numbers_of, polarity_of  # noqa: E402 - needs the path

PAIRS = 400  # of one kind from one set
CUTS = np.round(np.arange(0.50, 0.991, 0.01), 2)
EQUAL, FACT, TOPIC = "equal", "one fact", "one topic"
Pair = tuple[str, str, str, str]  # set, kind, two texts


def grounding_pairs(path: Path, draw: random.Random) -> list[Pair]:
    """Pairs of SummEdits and FEVER symmetric."""
    texts: dict[tuple[str, str], dict[int, list[str]]] = defaultdict(lambda: {0: [], 1: []})
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["set"].startswith(("summedits", "fever")):
            texts[row["set"], "\n".join(row["snippets"])][int(row["supported"])].append(row["answer"].strip())
    found: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for (name, _), by_label in texts.items():
        right, wrong = sorted(set(by_label[1])), sorted(set(by_label[0]))
        if name != "fever_symmetric":  # two right claims there may say different things
            found[name, EQUAL] += [(name, EQUAL, a, b) for a, b in itertools.combinations(right, 2)]
        found[name, FACT] += [(name, FACT, a, b) for a in right for b in wrong]
    return [pair for kind in sorted(found) for pair in draw.sample(found[kind], min(PAIRS, len(found[kind])))]


def topic_pairs(path: Path, draw: random.Random) -> list[Pair]:
    """Sentences of one paragraph of XQuAD that hold the answers of different questions."""
    found: list[Pair] = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            sentences = re.split(r"(?<=[.!?])\s+", paragraph["context"])
            holding = []
            for question in paragraph["qas"]:
                answer = question["answers"][0]["text"]
                holding += [one for one in sentences if answer in one][:1]
            found += [("xquad", TOPIC, a, b) for a, b in itertools.combinations(sorted(set(holding)), 2)]
    return draw.sample(found, min(2 * PAIRS, len(found)))


def balanced(cosine: np.ndarray, kind: np.ndarray, cut: float) -> float:
    """Mean of the share of equal pairs joined and of the different ones kept apart, each kind the same."""
    joined = cosine >= cut
    apart = [1.0 - joined[kind == one].mean() for one in (FACT, TOPIC) if (kind == one).any()]
    return float((joined[kind == EQUAL].mean() + np.mean(apart)) / 2)


def place(cosine: np.ndarray, kind: np.ndarray) -> float:
    """The cut with the best balanced accuracy; of several the middle one."""
    scores = np.array([balanced(cosine, kind, cut) for cut in CUTS])
    best = CUTS[scores >= scores.max() - 1e-9]
    return float(best[len(best) // 2])


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", default="")
    options = parser.parse_args()
    draw = random.Random(0)  # noqa: S311 - a sample, not a secret
    pairs = grounding_pairs(options.data / "grounding_dev.jsonl", draw)
    pairs += topic_pairs(options.data / "xquad_en.json", draw)
    texts = sorted({text for pair in pairs for text in pair[2:]})
    embedder = load_embedder(options.embedder)
    vectors = dict(zip(texts, embedder.embed(texts), strict=True))
    facts = {text: (numbers_of(text), polarity_of(text)) for text in texts}
    raw = np.array([float(vectors[a] @ vectors[b]) for *_, a, b in pairs])
    ruled = np.where([facts[a] == facts[b] for *_, a, b in pairs], raw, -1.0)
    kind = np.array([pair[1] for pair in pairs])
    name = np.array([pair[0] for pair in pairs])
    print(f"embedder {embedder.id}; " + ", ".join(f"{(kind == k).sum()} {k}" for k in (EQUAL, FACT, TOPIC)))
    print("\n           |      whole rule joins          |    cosine alone joins")
    print("cosine cut | equal | one fact | one topic   | equal | one fact | one topic")
    for cut in (0.60, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95):
        shares = [f"{(c[kind == k] >= cut).mean():8.0%}" for c in (ruled, raw) for k in (EQUAL, FACT, TOPIC)]
        print(f"   {cut:.2f}    | " + " ".join(shares[:3]) + "  | " + " ".join(shares[3:]))
    for title, cosine in (("whole rule", ruled), ("cosine alone", raw)):
        cut = place(cosine, kind)
        print(
            f"\n{title}: best cut {cut:.2f}, balanced accuracy {balanced(cosine, kind, cut):.3f}; "
            f"at {EQUAL_COSINE:.2f} in use {balanced(cosine, kind, EQUAL_COSINE):.3f}"
        )
        for left in sorted(set(name)):
            rest = name != left
            print(f"  placed without {left:22} {place(cosine[rest], kind[rest]):.2f}")


if __name__ == "__main__":
    main()
