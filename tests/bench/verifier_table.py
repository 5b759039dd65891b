"""Training text of the verifier as arrays, and the batches that are drawn from it."""

from __future__ import annotations

import gzip
import json
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

Row = dict[str, Any]
WIDTHS = (32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512)
SEPARATOR = 102


@dataclass(frozen=True, slots=True)
class Table:
    """Encoded rows in flat arrays: tokens, segments, marks (0/1, -1 unknown), starts, lengths, y, set."""

    ids: np.ndarray
    kinds: np.ndarray
    marks: np.ndarray
    start: np.ndarray
    length: np.ndarray
    y: np.ndarray
    set: np.ndarray

    def save(self, path: Path) -> None:
        """Writes a compressed file."""
        np.savez_compressed(path, **{k: getattr(self, k) for k in self.__slots__})

    @staticmethod
    def load(path: Path) -> Table:
        """The table of a file that `save` wrote."""
        with np.load(path) as found:
            return Table(**{k: found[k] for k in found.files})


def read_rows(path: Path) -> list[Row]:
    """Rows of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows as a gzipped JSON-lines file."""
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


def open_tokenizer(base: Path, max_tokens: int) -> Any:
    """The base model's tokenizer, cutting the longer of the two texts at `max_tokens`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens, strategy="longest_first")
    return tokenizer


def encode(tokenizer: Any, rows: Sequence[Row]) -> Table:
    """The rows as a table; a token is marked 1 where it overlaps a span known to be false."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for at in range(0, len(rows), 4096):
        part = rows[at : at + 4096]
        for row, got in zip(part, tokenizer.encode_batch([(r["e"], r["h"]) for r in part]), strict=True):
            kinds = np.array(got.type_ids, dtype=np.uint8)
            ids = np.array(got.ids, dtype=np.uint16)
            marks = np.full(len(ids), -1, dtype=np.int8)
            spans = row.get("s")
            if spans is not None or row["y"] == 2:
                edges = np.array(got.offsets)
                own = (kinds == 1) & (edges[:, 1] > edges[:, 0])
                marks[own] = 0
                for s, e in spans or ():
                    marks[own & (edges[:, 0] < e) & (edges[:, 1] > s)] = 1
            parts.append((ids, kinds, marks))
    length = np.array([len(p[0]) for p in parts], dtype=np.int32)
    start = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)
    names = np.array([r.get("set", "") for r in rows])
    return Table(
        *(np.concatenate([p[i] for p in parts]) for i in range(3)),
        start,
        length,
        np.array([r["y"] for r in rows], dtype=np.int8),
        names,
    )


def batches(
    length: np.ndarray, chosen: np.ndarray, tokens: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, int]]:
    """Shuffled (row numbers, padded width) with at most `tokens` padded tokens each."""
    out: list[tuple[np.ndarray, int]] = []
    low = 0
    for width in WIDTHS:
        mine = chosen[(length[chosen] > low) & (length[chosen] <= width)]
        rng.shuffle(mine)
        size = max(1, tokens // width)
        out += [(mine[i : i + size], width) for i in range(0, len(mine), size)]
        low = width
    return [out[i] for i in rng.permutation(len(out))]


def gather(table: Table, numbers: np.ndarray, width: int) -> dict[str, torch.Tensor]:
    """The rows as padded tensors."""
    places = np.arange(width)
    mask = places < table.length[numbers, None]
    where = np.where(mask, table.start[numbers, None] + places, 0)
    got = {
        "ids": np.where(mask, table.ids[where], 0).astype(np.int64),
        "kinds": np.where(mask, table.kinds[where], 0).astype(np.int64),
        "marks": np.where(mask, table.marks[where], -1).astype(np.int64),
        "mask": mask.astype(np.int64),
        "y": table.y[numbers].astype(np.int64),
    }
    return {k: torch.from_numpy(v) for k, v in got.items()}


def stream(
    table: Table, plan: Sequence[tuple[np.ndarray, int]], device: str
) -> Iterator[dict[str, torch.Tensor]]:
    """The planned batches on the device, made ahead by a thread."""
    ready: queue.Queue[dict[str, torch.Tensor] | None] = queue.Queue(8)

    def fill() -> None:
        for numbers, width in plan:
            batch = gather(table, numbers, width)
            ready.put({k: v.pin_memory() for k, v in batch.items()} if device == "cuda" else batch)
        ready.put(None)

    threading.Thread(target=fill, daemon=True).start()
    while (batch := ready.get()) is not None:
        yield {k: v.to(device, non_blocking=True) for k, v in batch.items()}
