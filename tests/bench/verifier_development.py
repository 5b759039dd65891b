# ruff: noqa: C901 (a training script: long tables of words and fields)
"""Training text for the verifier from the development sets: answers, and evidence chosen for them."""

from __future__ import annotations

import json
import math
import random
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import verifier_rules as rules
from verifier_data import Lexicon, Row, edited_rows, row_of, sentences


def mean_pooled(model: Any, tokenizer: Any) -> Any:
    """A function from texts to unit mean-pooled vectors of the model, shape (n, width)."""
    import torch

    @torch.no_grad()
    def embed(texts: Sequence[str]) -> np.ndarray:
        out = []
        for start in range(0, len(texts), 256):
            batch = tokenizer(
                list(texts[start : start + 256]),
                padding=True,
                truncation=True,
                max_length=256,
                return_tensors="pt",
            )
            hidden = model(**batch).last_hidden_state * batch["attention_mask"].unsqueeze(-1)
            out.append(torch.nn.functional.normalize(hidden.sum(1), dim=-1).numpy())
        return np.concatenate(out)

    return embed


class EvidenceChooser:
    """Chooses a document's sentences for a claim by idf overlap and embedding, within a token budget."""

    def __init__(self, embed: Any, count_tokens: Any) -> None:
        self.embed = embed
        self.count_tokens = count_tokens

    def choose(
        self,
        document: Sequence[str],
        vectors: np.ndarray,
        tokens: Sequence[int],
        claims: Sequence[str],
        claim_vectors: np.ndarray,
        budget: int,
    ) -> str:
        """The chosen sentences in document order, joined by spaces; at most `budget` tokens."""
        if sum(tokens) <= budget or len(document) == 1:
            return " ".join(document)
        bags = [Counter(re.findall(r"\w+", s.lower())) for s in document]
        df = Counter(w for b in bags for w in b)
        idf = {w: math.log(1 + len(document) / c) for w, c in df.items()}
        score = np.zeros(len(document))
        for claim, vector in zip(claims, claim_vectors, strict=True):
            words = set(re.findall(r"\w+", claim.lower()))
            whole = sum(idf.get(w, math.log(1 + len(document))) for w in words) or 1.0
            overlap = np.array([sum(idf[w] for w in words if w in b) / whole for b in bags])
            score = np.maximum(score, 0.5 * overlap + 0.5 * vectors @ vector)
        order = [int(i) for i in np.argsort(-score)]
        best = order[0]
        queue = [best, *order[1:3], best - 1, best + 1, *order[3:]]
        taken: set[int] = set()
        left = budget
        for i in queue:
            if 0 <= i < len(document) and i not in taken and tokens[i] <= left:
                taken.add(i)
                left -= tokens[i]
        return " ".join(document[i] for i in sorted(taken)) or document[best][: budget * 4]


def development_rows(path: Path, chooser: EvidenceChooser, budgets: Sequence[int]) -> list[Row]:
    """One record a development answer: label, sentences, and evidence for each sentence and budget."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    documents: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        key = tuple(row["snippets"])
        if key not in documents:
            documents[key] = [s for snippet in row["snippets"] for s in sentences(snippet)]
    flat = sorted(
        {s for d in documents.values() for s in d}
        | {s for r in rows for s in [*sentences(r["answer"]), r["answer"]]},
        key=len,
    )
    matrix = chooser.embed(flat)
    where = {s: i for i, s in enumerate(flat)}
    size = dict(zip(flat, chooser.count_tokens(flat), strict=True))
    out: list[Row] = []
    for row in rows:
        document = documents[tuple(row["snippets"])]
        vectors = matrix[[where[s] for s in document]]
        tokens = [size[s] for s in document]
        claims = sentences(row["answer"])
        claim_vectors = matrix[[where[c] for c in claims]]
        record: Row = {
            "id": row["id"],
            "set": row["set"],
            "supported": row["supported"],
            "question": row["question"],
            "answer": row["answer"],
            "claims": claims,
            "budgets": {},
        }
        record["delta_s"] = 1.0 - float(np.max(vectors @ matrix[where[row["answer"]]]))
        record["document"] = zlib.crc32("\n".join(row["snippets"]).encode())
        for budget in budgets:
            record["budgets"][str(budget)] = {
                "whole": chooser.choose(document, vectors, tokens, claims, claim_vectors, budget),
                "each": [
                    chooser.choose(document, vectors, tokens, [c], claim_vectors[i : i + 1], budget)
                    for i, c in enumerate(claims)
                ],
            }
        out.append(record)
    return out


def add_product_windows(records: Sequence[Row], path: Path) -> None:
    """Adds to each record the claims and the evidence windows the extension itself would ask about."""
    from exllama_guard.core.snippets import make_snippet
    from exllama_guard.core.turns import ClaimKind
    from exllama_guard.grounding.support.claims import pieces_of
    from exllama_guard.grounding.support.evidence import Encoder, Library

    libraries: dict[tuple[str, ...], Library] = {}
    snippets = {
        row["id"]: tuple(row["snippets"])
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    }
    for record in records:
        key = snippets[record["id"]]
        if key not in libraries:
            libraries[key] = Library(
                [make_snippet(s, position=i) for i, s in enumerate(key)], "en", Encoder(None)
            )
        library = libraries[key]
        claims, windows = [], []
        for piece in pieces_of(record["answer"]):
            if piece.kind is ClaimKind.CLAIM and any(w.is_content for w in piece.words):
                claims.append(piece.text)
                windows.append(library.text(library.find(piece.words, None).window)[0])
        if not claims:
            claims, windows = record["claims"], record["budgets"]["160"]["each"]
        whole = " ".join(dict.fromkeys(windows))
        record["budgets"]["window"] = {"claims": claims, "each": windows, "whole": whole}


def development_documents(path: Path, rng: random.Random) -> dict[str, list[list[str]]]:
    """Each set's documents as sentences; of a very long one a stretch of 12 sentences."""
    out: dict[str, list[list[str]]] = defaultdict(list)
    seen: set[tuple[str, ...]] = set()
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        if tuple(row["snippets"]) in seen:
            continue
        seen.add(tuple(row["snippets"]))
        found = [s for snippet in row["snippets"] for s in sentences(snippet)]
        start = rng.randrange(len(found) - 12) if len(found) > 60 else 0
        out[row["set"]].append(found[start : start + 12] if len(found) > 60 else found)
    return out


def development_training(
    records: Sequence[Row], documents: dict[str, list[list[str]]], rng: random.Random
) -> list[Row]:
    """Training rows made of development answers: as they are, edited, and against each other's wording."""
    out: list[Row] = []
    for name in sorted({r["set"] for r in records}):
        mine = [r for r in records if r["set"] == name]
        lexicon = Lexicon([r["answer"] for r in mine])
        by_document: dict[int, list[Row]] = defaultdict(list)
        for record in mine:
            by_document[record["document"]].append(record)
            for budget, unit in record["budgets"].items():
                out.append(
                    row_of(
                        unit["whole"],
                        record["answer"],
                        2 if record["supported"] else -1,
                        f"dev_{budget}",
                        [] if record["supported"] else None,
                        name,
                    )
                )
                if record["supported"] and len(record["claims"]) > 1:
                    for evidence, claim in zip(
                        unit["each"], unit.get("claims", record["claims"]), strict=True
                    ):
                        out.append(row_of(evidence, claim, 2, f"dev_each_{budget}", [], name))
            if not record["supported"]:
                continue
            unit = record["budgets"][rng.choice(list(record["budgets"]))]
            for _ in range(3):
                edit = rules.falsify(
                    rules.restate(record["answer"], rng, 1), rng, lexicon.names, lexicon.nouns
                )
                if edit:
                    out.append(row_of(unit["whole"], edit[0], -1, "dev_edited", edit[1], name))
            out.append(
                row_of(unit["whole"], rules.restate(record["answer"], rng, 3), 2, "dev_restated", [], name)
            )
            for evidence, claim in zip(unit["each"], unit.get("claims", record["claims"]), strict=True):
                edit = rules.falsify(claim, rng, lexicon.names, lexicon.nouns)
                if edit and len(record["claims"]) > 1:
                    out.append(row_of(evidence, edit[0], -1, "dev_edited", edit[1], name))
        if name.startswith("summedits"):
            out += _paraphrase_rows(by_document, rng, name)
        out += edited_rows(documents[name], rng, "dev_text", name)
    return out


def _paraphrase_rows(by_document: dict[int, list[Row]], rng: random.Random, name: str) -> list[Row]:
    out: list[Row] = []
    for group in by_document.values():
        good = [r for r in group if r["supported"]]
        words = {w for r in good for w in re.findall(r"\w+", r["answer"].lower())}
        pairs = [(a, b) for a in good for b in group if a is not b]
        for a, b in rng.sample(pairs, min(len(pairs), 220)):
            spans = (
                []
                if b["supported"]
                else [m.span() for m in re.finditer(r"\w+", b["answer"]) if m.group().lower() not in words]
            )
            y = 2 if b["supported"] else -1
            out.append(
                row_of(
                    a["answer"], b["answer"], y, "dev_pair", spans if b["supported"] or spans else None, name
                )
            )
            if len(a["claims"]) == len(b["claims"]) > 1 and rng.random() < 0.5:
                for x, c in zip(a["claims"], b["claims"], strict=True):
                    bad = [m.span() for m in re.finditer(r"\w+", c) if m.group().lower() not in words]
                    if b["supported"] or bad:
                        out.append(
                            row_of(
                                a["answer"] if rng.random() < 0.5 else x,
                                c,
                                2 if b["supported"] else -1,
                                "dev_pair",
                                [] if b["supported"] else bad,
                                name,
                            )
                        )
    return out
