"""Fits which passages help with a message (sources/knowledge_search.py) and writes it with its figures.

    python tests/bench/fit_retrieval.py ../shared/data/xquad_en.json [--vectors FOLDER] [--write]

A passage that helps is the paragraph of an XQuAD question. One that does not is the best one for that
question in a folder without its article, or for a message that asks nothing of documents (chat-a.jsonl and
requests.jsonl) in the folder of all paragraphs and in the one of the invented documents. The limit lets 1 of
100 messages of the second kind through. Figures are of paragraphs and messages that the model was not
fitted on (5 folds).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "extensions" / "exllama_guardrails"), str(Path(__file__).parent)]

from exllama_guard.core.snippets import make_snippet  # noqa: E402
from exllama_guard.grounding import talk_of  # noqa: E402
from exllama_guard.sources.knowledge_document import read_document  # noqa: E402
from exllama_guard.sources.knowledge_index import Index  # noqa: E402
from exllama_guard.sources.knowledge_scale import WEIGHTS_FILE, Scale, measured_scale  # noqa: E402
from exllama_guard.sources.knowledge_search import Asked, Passage, ranked  # noqa: E402
from fit_relevance import fitted  # noqa: E402
from kept_vectors import KeptEmbedder  # noqa: E402

FOLDS = 5
JUNK = 0.01
ORDINARY = Path(__file__).parent / "ordinary"


def rows_of(name: str) -> list[dict[str, object]]:
    """The rows of one file of ordinary messages."""
    return [json.loads(line) for line in (ORDINARY / name).read_text("utf-8").splitlines()]


def index_of(embedder: KeptEmbedder, texts: Sequence[str], scale: Scale | None = None) -> Index:
    """The index of passages as they are."""
    snippets = [
        make_snippet(text, position=number, source_url=f"{number}") for number, text in enumerate(texts)
    ]
    vectors = embedder.embed(texts)
    return Index.of(
        embedder.id, snippets, vectors, texts, scale or measured_scale(embedder.embed, texts, vectors)
    )


def best(index: Index, embedder: KeptEmbedder, message: str, k: int = 1) -> tuple[Passage, ...]:
    return ranked(index, Asked(embedder.embed([message]), message), k)


def documents() -> list[str]:
    """The passages of the invented documents."""
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows_of("docs-a.jsonl"):
            path = Path(folder) / f"{row['doc']}.md"
            path.write_text(str(row["text"]), encoding="utf-8")
            found += read_document(path, path.name).embedded_texts
    return found


Row: TypeAlias = tuple[float, float, float, int, str, int]


def row_of(passage: Passage, message: str, scale: Scale, helps: int, kind: str, group: int) -> Row:
    """The three measures of a passage beside a message, whether it helps, and what kind of pair that is."""
    return scale.near(passage.cosine), passage.share, talk_of(message).confidence, helps, kind, group


def rows_over(
    embedder: KeptEmbedder, paragraphs: Sequence[tuple[int, dict[str, Any]]], whole: Index
) -> list[Row]:
    """The pairs of both kinds; `paragraphs` with the number of their article, `whole` over all of them."""
    scale, rows = whole.scale, []
    without = {
        number: index_of(embedder, [p["context"] for other, p in paragraphs if other != number], scale)
        for number in {number for number, _ in paragraphs}
    }
    for place, (number, paragraph) in enumerate(paragraphs):
        for question in (asked["question"] for asked in paragraph["qas"]):
            rows += [
                row_of(own, question, scale, 1, "question, its paragraph", place)
                for own in best(whole, embedder, question, 4)
                if own.row == place
            ]
            other = best(without[number], embedder, question)[0]
            rows.append(row_of(other, question, scale, 0, "question, no article", place))
    messages = [str(row["q"]) for name in ("chat-a.jsonl", "requests.jsonl") for row in rows_of(name)]
    for index in (whole, index_of(embedder, documents(), scale)):
        for place, message in enumerate(messages):
            rows += [row_of(one, message, scale, 0, "talk", place) for one in best(index, embedder, message)]
    return rows


def main() -> None:
    """Prints the figures; with --write stores the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--vectors", type=Path, default=Path(tempfile.gettempdir()) / "bench-vectors")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    embedder = KeptEmbedder("", options.vectors)
    articles = json.loads(options.data.read_text("utf-8"))["data"]
    paragraphs = [(number, p) for number, article in enumerate(articles) for p in article["paragraphs"]]
    whole = index_of(embedder, [p["context"] for _, p in paragraphs])
    scale = whole.scale
    rows = rows_over(embedder, paragraphs, whole)
    x = np.array([row[:3] for row in rows])
    y = np.array([row[3] for row in rows], dtype=float)
    kinds = np.array([row[4] for row in rows])
    folds = np.array([row[5] for row in rows]) % FOLDS
    share = {kind: 1.0 / (kinds == kind).sum() for kind in set(kinds)}
    weight = np.array([share[kind] * (2.0 if helps else 1.0) for kind, helps in zip(kinds, y, strict=True)])
    weight *= len(rows) / weight.sum()
    scores = np.zeros(len(rows))
    for fold in range(FOLDS):
        theta = fitted(x[folds != fold], y[folds != fold], weight[folds != fold])
        scores[folds == fold] = 1 / (1 + np.exp(-(theta[0] + x[folds == fold] @ theta[1:])))
    limit = float(np.quantile(scores[kinds == "talk"], 1 - JUNK))
    figures: dict[str, float] = {}
    for kind in dict.fromkeys(kinds):
        figures[f"let through, {kind}"] = round(float((scores[kinds == kind] >= limit).mean()), 3)
        figures[f"rows, {kind}"] = int((kinds == kind).sum())
    theta = fitted(x, y, weight)
    limit = float(np.quantile(1 / (1 + np.exp(-(theta[0] + x @ theta[1:])))[kinds == "talk"], 1 - JUNK))
    for name, value in figures.items():
        print(f"{name:40} {value}")
    print("scale", scale, "bias, near, shared, talk", theta, "limit", limit)
    if options.write:
        WEIGHTS_FILE.parent.mkdir(exist_ok=True)
        stored = {
            "provenance": {
                "script": "tests/bench/fit_retrieval.py",
                "date": datetime.now(timezone.utc).date().isoformat(),
                "data": f"{options.data.name}, ordinary/chat-a.jsonl and requests.jsonl; {len(rows)} rows",
                "folds": "5, by paragraph and by message; `left_out` figures are of what was left out",
                "embedder": embedder.id,
                "limit": f"lets {JUNK:.0%} of the messages through that ask nothing of documents",
                "left_out": figures,
            },
            "scales": {embedder.id: {"low": round(scale.low, 4), "high": round(scale.high, 4)}},
            "bias": round(float(theta[0]), 5),
            "near": round(float(theta[1]), 5),
            "shared": round(float(theta[2]), 5),
            "talk": round(float(-theta[3]), 5),
            "limit": round(limit, 5),
        }
        WEIGHTS_FILE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
