"""What the verdict says of ordinary answers: rates with intervals, and by kind of fault.

    python tests/bench/ordinary.py PART [--no-embedder] [--every N] [--save FILE] [--show KIND|right]

PART is a, b, c, d, t or u (tests/bench/ordinary/README.md; d is sealed). The joint model's points are
fitted on a and t; b and c are read. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "extensions" / "exllama_guardrails"), str(Path(__file__).parent)]

from auroc import auroc  # noqa: E402 - needs the path
from exllama_guard.core.measures import Gate  # noqa: E402 - needs the path
from exllama_guard.core.snippets import Snippet, make_snippet  # noqa: E402 - needs the path
from exllama_guard.core.turns import Finish, TurnReport, TurnRequest  # noqa: E402 - needs the path
from exllama_guard.grounding.scoring import Limits, score_turn  # noqa: E402 - needs the path
from exllama_guard.grounding.support.scorer import AnswerScorer  # noqa: E402 - needs the path
from ordinary_answers import Answer, Item, items  # noqa: E402 - needs the path

_embedder: Any = None


def _ready(embedded: bool) -> None:
    global _embedder
    if embedded:
        import torch

        torch.set_num_threads(1)
        from exllama_guard.embedders.sentence_transformers import load_embedder

        _embedder = load_embedder()
        _embedder.warm()  # a missing embedder is an error here, not another variant


def read_item(item: Item, reader: Any = None) -> list[dict[str, Any]]:
    """A row for each answer of a question: verdict, support, and every statement with its features."""
    snippets = tuple(make_snippet(text, position=index) for index, text in enumerate(item.documents))
    scorer = AnswerScorer(snippets, item.question, _embedder, reader=reader)
    rows = []
    for answer in item.answers:
        turn = _turn(item, snippets, answer.text, scorer)
        report = turn.support
        weighed = scorer.weighed(answer.text)
        statements = [
            _statement(claim, answer, *weighed[claim.span])
            for claim in report.claims
            if claim.gate is not Gate.NOT_MEASURED
        ]
        support = report.support if isinstance(report.support, float) else None
        rows.append(
            {
                "item": item.identity,
                "lang": item.lang,
                "fault": answer.fault,
                "gate": turn.verdict.gate.value,
                "reasons": list(turn.verdict.reasons),
                "relevance": turn.relevance.relevance
                if isinstance(turn.relevance.relevance, float)
                else None,
                "support": support,
                "question": item.question,
                "answer": answer.text,
                "changed": answer.text[answer.changed[0] : answer.changed[1]],
                "replaced": answer.replaced,
                "statements": statements,
            }
        )
    return rows


def _turn(item: Item, snippets: tuple[Snippet, ...], answer: str, scorer: AnswerScorer) -> TurnReport:
    request = TurnRequest(turn_id=item.identity, question=item.question, snippets=snippets)
    return score_turn(request, answer, Finish.COMPLETE, scorer=scorer, embedder=_embedder, limits=Limits())


def _statement(claim: Any, answer: Answer, plain: str, features: dict[str, float]) -> dict[str, Any]:
    start, end = answer.changed
    changed = claim.span.start < end and start < claim.span.end
    return {
        "text": plain,
        "kind": claim.kind.value,
        "wrong": bool(answer.fault) and changed,
        "changed": changed,
        "gate": claim.gate.value,
        "support": claim.support,
        "features": features,
        "findings": [(f.severity.value, f.kind.value, f.message) for f in claim.findings],
    }


def wilson(hits: int, of: int) -> tuple[float, float, float]:
    """Share with its 95 % interval."""
    if not of:
        return float("nan"), 0.0, 1.0
    z, share = 1.96, hits / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * ((share * (1 - share) + z * z / (4 * of)) / of) ** 0.5 / (1 + z * z / of)
    return share, centre - half, centre + half


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    cells = []
    for gate in ("PASS", "REVIEW", "FAIL", "NOT_MEASURED"):
        share, low, high = wilson(sum(row["gate"] == gate for row in rows), len(rows))
        cells.append(f"{gate.lower()} {100 * share:5.1f} % ({100 * low:.0f}-{100 * high:.0f})")
    return f"{name:24s} {len(rows):5d}  " + "  ".join(cells)


def table(rows: list[dict[str, Any]]) -> None:
    """Prints the rates of good and wrong answers, then the wrong ones by kind."""
    good = [row for row in rows if not row["fault"]]
    wrong = [row for row in rows if row["fault"]]
    print(_line("good", good))
    print(_line("wrong", wrong))
    values = [row["support"] if row["support"] is not None else -1.0 for row in rows]
    print(f"AUROC of support, answers: {auroc([not row['fault'] for row in rows], values):.3f}")
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in wrong:
        by_kind[row["fault"]].append(row)
    for kind, some in sorted(by_kind.items(), key=lambda pair: -len(pair[1])):
        print(_line(f"  {kind}", some))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("part", choices=("a", "b", "c", "d", "t", "u"))
    ask.add_argument("--no-embedder", action="store_true")
    ask.add_argument("--every", type=int, default=1, help="read each Nth question only")
    ask.add_argument("--save", type=Path, help="the rows as JSON lines")
    ask.add_argument("--show", help="print what is said of the right answers or of one kind of fault")
    said = ask.parse_args()
    chosen = list(items(said.part))[:: said.every]
    started = time.perf_counter()
    with ProcessPoolExecutor(2, initializer=partial(_ready, not said.no_embedder)) as pool:
        rows = [row for some in pool.map(read_item, chosen, chunksize=4) for row in some]
    print(f"{len(chosen)} questions, {len(rows)} answers, {time.perf_counter() - started:.0f} s")
    table(rows)
    if said.save:
        said.save.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    for row in rows:
        if said.show and (row["fault"] or "right") == said.show:
            _show(row)


def _show(row: dict[str, Any]) -> None:
    print(f"\n{row['item']} {row['gate']} {row['changed']!r}\n  Q {row['question']}\n  {row['reasons']}")
    for one in row["statements"]:
        if one["changed"] or not row["fault"]:
            print(f"  {one['gate']:7s} {one['support']:.2f} {one['text']}")
            for finding in one["findings"]:
                print(f"          {finding}")


if __name__ == "__main__":
    main()
