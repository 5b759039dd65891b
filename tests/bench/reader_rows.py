"""Writes the statements that a loaded model is measured on as a reader, from the ordinary answers of part t.

    python tests/bench/reader_rows.py

200 statements, half of them right, one a document, chosen by the hash of document and question: of a right
answer one of its statements, of a wrong one the statement that was made wrong. Part c is not read.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "extensions" / "exllama_guardrails"))

from exllama_guard.core.snippets import make_snippet  # noqa: E402
from exllama_guard.core.turns import ClaimKind  # noqa: E402
from exllama_guard.grounding.support import AnswerScorer  # noqa: E402

ORDINARY = Path(__file__).parent / "ordinary"
OUT = ROOT / "extensions/exllama_guardrails/exllama_guard/second_reader/data/rows.jsonl"
EACH = 100  # right statements, and wrong ones
MOST_CHARACTERS = 1600  # of a document
LEAST_CHARACTERS = 25  # of a statement
NOT_STATED = "false-abstention"  # says that something is not there: no statement of the document


def read(name: str) -> list[dict]:
    return [json.loads(line) for line in (ORDINARY / name).read_text(encoding="utf-8").splitlines()]


def drawn(*texts: str) -> int:
    return int(hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12], 16)


def statements(document: str, question: str, answer: str) -> list[str]:
    report = AnswerScorer((make_snippet(document, position=0),), question).score(answer)
    return [
        claim.text
        for claim in report.claims
        if claim.kind is ClaimKind.CLAIM
        and isinstance(claim.support, float)
        and len(claim.text) >= LEAST_CHARACTERS
    ]


def right_row(item: dict, document: str) -> tuple[str, str] | None:
    answer = item["right"]
    for change in item.get("also", [])[: drawn(item["doc"], item["q"], "also") % 2]:
        answer = answer.replace(change["from"], change["to"], 1)
    told = statements(document, item["q"], answer)
    return (answer, told[drawn(answer) % len(told)]) if told else None


def wrong_row(item: dict, document: str) -> tuple[str, str] | None:
    changes = [change for change in item["wrong"] if change["kind"] != NOT_STATED]
    if not changes:
        return None
    change = changes[drawn(item["doc"], item["q"], "wrong") % len(changes)]
    answer = item["right"].replace(change["from"], change["to"], 1)
    known = set(statements(document, item["q"], item["right"]))
    new = [text for text in statements(document, item["q"], answer) if text not in known]
    return (answer, new[-1]) if answer != item["right"] and new else None


def main() -> None:
    documents = {doc["doc"]: doc["text"] for doc in read("docs-t.jsonl")}
    items = sorted(read("items-t.jsonl"), key=lambda item: drawn(item["doc"], item["q"]))
    rows, taken, left = [], set(), {True: EACH, False: EACH}
    for item in items:
        document, right = documents[item["doc"]], bool(drawn(item["q"], item["doc"]) % 2)
        if item["doc"] in taken or not left[right] or len(document) > MOST_CHARACTERS:
            continue
        made = right_row(item, document) if right else wrong_row(item, document)
        if made is None:
            continue
        taken.add(item["doc"])
        left[right] -= 1
        answer, statement = made
        rows.append(
            {"doc": item["doc"], "q": item["q"], "answer": answer, "statement": statement, "right": right}
        )
    OUT.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"doc": name, "text": documents[name]} for name in sorted(taken)] + rows
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    OUT.write_text(text, encoding="utf-8")
    print(f"{len(rows)} statements, {sum(row['right'] for row in rows)} right, {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
