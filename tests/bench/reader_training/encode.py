"""Writes everything that the reader is trained on and tried on as token ids, for `fit.py`.

    python tests/bench/reader_training/encode.py OUT.npz --checkouts FOLDER --shared FOLDER \
        [--written a,t,u] [--tried b,c] [--lots 2]

FOLDER of checkouts: bare repositories owner+name/repo. FOLDER shared: the development data (grounding_dev.jsonl,
rag_dev.jsonl, xquad_en.json, off_limits.txt). Written parts: tests/bench/ordinary. What is tried is not trained on.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
BENCH = ROOT / "tests" / "bench"
sys.path[:0] = [str(ROOT / "extensions" / "exllama_guardrails"), str(BENCH), str(Path(__file__).parent)]

import verifier_data  # noqa: E402 - needs the path
from exllama_guard.core.snippets import make_snippet  # noqa: E402
from exllama_guard.grounding.reading import Evidence, words_in  # noqa: E402
from exllama_guard.verifiers.reader import WEIGHTS, open_tokenizer, prompt_of  # noqa: E402
from public_rows import OffLimits, Row, public_rows  # noqa: E402
from written_rows import WORDS, Reading, Statement, as_asked, readings  # noqa: E402

_MOST_CHARACTERS = 14_000  # of a document that evidence is chosen from
_tokenizer = None


def evidence_of(text: str, asked: Sequence[str]) -> str:
    """What the extension gives a reader of one document."""
    if words_in(text) <= WORDS:
        return text.strip()
    snippet = make_snippet(text[:_MOST_CHARACTERS], position=0)
    return Evidence((snippet,)).reading([one for one in asked if one], WORDS)


def reading_of(row: Row) -> Reading:
    """A public row as a reading of one statement."""
    wrong = row.wrong or ()
    evidence = evidence_of(row.evidence, [row.answer, row.question])
    about = 1 if row.question else -1
    return Reading(row.source, "", evidence, row.question, about, (Statement(row.answer, row.label, wrong),))


def encoded(group: Sequence[Reading]) -> list[dict]:
    """Token ids of a group's readings and where what is asked."""
    global _tokenizer
    if _tokenizer is None:
        _tokenizer = open_tokenizer(WEIGHTS)
    out = []
    for reading in group:
        texts = [one.text for one in reading.statements]
        prompt = prompt_of(_tokenizer, reading.evidence, reading.question, texts)
        read = reading.statements[: len(prompt.places)]
        loud = [
            start + index
            for one, start in zip(read, prompt.starts, strict=True)
            for index, (low, high) in enumerate(
                _tokenizer.encode("\n" + one.text, add_special_tokens=False).offsets
            )
            if any(low - 1 < b and a < high - 1 and high > low for a, b in one.wrong)
        ]
        out.append(
            {
                "source": reading.source,
                "ids": prompt.ids,
                "text_at": prompt.text_at,
                "about_at": prompt.about,
                "about": reading.about if reading.question else -1,
                "places": prompt.places,
                "starts": prompt.starts,
                "labels": [one.label for one in read],
                "marked": [int(bool(one.wrong) or one.label in (2, 3)) for one in read],
                "pairs": [one.pair for one in read],
                "loud": [at for at in loud if at < len(prompt.ids)],
            }
        )
    return out


def _public(row: Row) -> list[dict]:
    return encoded([reading_of(row)])


def _development(shared: Path) -> Iterator[Row]:
    for line in (shared / "grounding_dev.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        texts = [one if isinstance(one, str) else one["text"] for one in row["snippets"]]
        yield Row(
            "dev_" + row["set"],
            "\n".join(texts),
            row.get("question") or "",
            row["answer"],
            2 if row["supported"] else -1,
        )
    for line in (shared / "rag_dev.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        yield Row(
            row["set"],
            "\n".join(row["snippets"]),
            row.get("question") or "",
            row["answer"],
            2 if row["supported"] else -1,
        )


def _sampled(rows: Iterable[Row], most: int) -> list[Row]:
    by: dict[str, list[Row]] = {}
    for row in rows:
        by.setdefault(row.source, []).append(row)
    rng = random.Random(5)
    return [row for some in by.values() for row in rng.sample(some, min(most, len(some)))]


class Sink:
    """Rows as flat arrays."""

    def __init__(self) -> None:
        self.flat: dict[str, list[np.ndarray]] = {
            name: [] for name in ("ids", "places", "starts", "labels", "marked", "pairs", "loud")
        }
        self.heads: list[tuple[int, ...]] = []
        self.sources: list[str] = []

    def add(self, group: Sequence[dict], number: int, tried: bool) -> None:
        for row in group:
            for name, parts in self.flat.items():
                parts.append(np.array(row[name], dtype=np.uint16 if name == "ids" else np.int16))
            if row["source"] not in self.sources:
                self.sources.append(row["source"])
            source = self.sources.index(row["source"])
            self.heads.append((source, number, int(tried), row["text_at"], row["about_at"], row["about"]))

    def save(self, path: Path) -> None:
        arrays = {"heads": np.array(self.heads, dtype=np.int32), "sources": np.array(self.sources)}
        for name, parts in self.flat.items():
            arrays[name] = np.concatenate(parts)
            arrays["n_" + name] = np.array([len(one) for one in parts], dtype=np.int32)
        np.savez(path, **arrays)


def _keys(path: Path, groups: Sequence[Sequence[Reading]]) -> None:
    """Which statements the tried rows hold, in order."""
    lines = [
        json.dumps({"item": one.group, "answer": index, "texts": [s.text for s in one.statements]})
        for group in groups
        for index, one in enumerate(group)
    ]
    path.write_text("".join(line + "\n" for line in lines), "utf-8")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("out", type=Path)
    ask.add_argument("--checkouts", type=Path, required=True)
    ask.add_argument("--shared", type=Path, required=True)
    ask.add_argument("--written", default="a,t")
    ask.add_argument("--tried", default="b,c")
    ask.add_argument("--lots", type=int, default=2)
    ask.add_argument("--pairs", type=int, default=60_000, help="short pairs of public inference sets at most")
    ask.add_argument("--only-written", action="store_true")
    said = ask.parse_args()
    sink, count = Sink(), Counter()
    off = OffLimits(said.shared / "off_limits.txt")
    with ProcessPoolExecutor(2) as pool:
        number = 0
        groups = [g for part in said.written.split(",") for g in readings(part, said.lots)]
        groups += [g for part in said.tried.split(",") for g in as_asked(part)]
        for group, rows in zip(groups, pool.map(encoded, groups, chunksize=16), strict=True):
            sink.add(rows, number, tried=group[0].source in said.tried.split(","))
            count[group[0].source] += len(rows)
            number += 1
        keys = [g for g in groups if g[0].source in said.tried.split(",")]
        _keys(said.out.with_suffix(".keys.jsonl"), keys)
        print("written", dict(count), flush=True)
        if not said.only_written:
            rows = [r for r in public_rows(said.checkouts, said.shared / "xquad_en.json") if not off.holds(r)]
            rng = random.Random(7)
            pairs = [
                Row(
                    "pair_" + one["src"],
                    one["e"],
                    "",
                    one["h"],
                    one["y"],
                    None if one["s"] is None else tuple(map(tuple, one["s"])),
                )
                for one in verifier_data.general_rows(said.checkouts, said.shared / "xquad_en.json", rng)
            ]
            rows += [r for r in rng.sample(pairs, min(said.pairs, len(pairs))) if not off.holds(r)]
            tried = _sampled(_development(said.shared), 250)
            for row, one in zip(
                [*rows, *tried], pool.map(_public, [*rows, *tried], chunksize=64), strict=True
            ):
                sink.add(one, number, tried=number >= len(groups) + len(rows))
                count[row.source] += 1
                number += 1
    sink.save(said.out)
    print(dict(count), sum(map(len, sink.flat["ids"])), "tokens")


if __name__ == "__main__":
    main()
