"""What a knowledge folder of 300 real files gives for questions, for follow-ups and for talk.

    python tests/bench/retrieval.py [--vectors FOLDER] [--sealed]

Questions and follow-ups (retrieval_data/) were written before retrieval was measured on them: each with words
that stand in the right passage alone. Talk is ordinary/chat-b.jsonl and, with --sealed, chat-c.jsonl, which
are for the last run. Counted: the right passage is the first, or among the first three, of what goes into the
prompt; talk with any passage in the prompt. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "extensions" / "exllama_guardrails"), str(Path(__file__).parent)]
warnings.simplefilter("ignore")  # of the modules whose pages are made

from exllama_guard.sources import KnowledgeFolder  # noqa: E402
from kept_vectors import KeptEmbedder  # noqa: E402
from retrieval_corpus import write_corpus  # noqa: E402

HERE = Path(__file__).parent
K = 4  # snippets a question, as the setting has it


def share(count: int, of: int) -> str:
    """`count` of `of` with its interval."""
    z, p = 1.96, count / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return f"{count:4}/{of:<4} {100 * p:5.1f} %  ({100 * (middle - half):.1f} to {100 * (middle + half):.1f})"


def lines_of(name: str) -> list[list[str]]:
    """The fields of one file of questions."""
    return [line.split("\t") for line in (HERE / "retrieval_data" / name).read_text("utf-8").splitlines()]


def place(knowledge: KnowledgeFolder, holds: str, question: str, earlier: Sequence[str] = ()) -> int:
    """The rank of the first snippet with the words; 0 where none has them."""
    found = knowledge.search(question, earlier, K).snippets
    told = (re.sub(r"\s+", " ", snippet.text) for snippet in found)
    return next((rank for rank, text in enumerate(told, 1) if holds in text), 0)


def talk_of(names: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Messages that have nothing to do with the files, each with the messages before it."""
    rows = [
        json.loads(line)
        for name in names
        for line in (HERE / "ordinary" / name).read_text("utf-8").splitlines()
    ]
    return [(row["q"], tuple(turn["user"] for turn in row["before"] or ())) for row in rows]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=Path, default=Path(tempfile.gettempdir()) / "bench-vectors")
    parser.add_argument("--sealed", action="store_true", help="read chat-c.jsonl, too")
    parser.add_argument("--show", action="store_true", help="name what was not found, or let through")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "documents"
        files = write_corpus(folder)
        knowledge = KnowledgeFolder(
            folder, KeptEmbedder("", options.vectors), cache_folder=Path(made) / "cache"
        )
        status = knowledge.refresh()
        print(f"{files} files, {status.snippets} passages, {len(status.problems)} problems")
        questions = [(place(knowledge, holds, asked), asked) for holds, asked in lines_of("questions.tsv")]
        followups = [
            (place(knowledge, holds, asked, [before]), f"{before} / {asked}")
            for holds, before, _, asked in lines_of("followups.tsv")
        ]
        for name, ranks in (("questions", questions), ("follow-ups", followups)):
            print(f"{name:28} first        {share(sum(rank == 1 for rank, _ in ranks), len(ranks))}")
            print(f"{name:28} first three  {share(sum(0 < rank <= 3 for rank, _ in ranks), len(ranks))}")
            if options.show:
                print(*(f"    {rank} {asked}" for rank, asked in ranks if not 0 < rank <= 3), sep="\n")
        talk = talk_of(["chat-b.jsonl", *(["chat-c.jsonl"] if options.sealed else [])])
        let = [
            (asked, found) for asked, before in talk if (found := knowledge.search(asked, before, K).snippets)
        ]
        print(f"{'talk':28} let through  {share(len(let), len(talk))}")
        if options.show:
            print(*(f"    {asked[:70]!r}: {found[0].source_url}" for asked, found in let), sep="\n")


if __name__ == "__main__":
    main()
