# ruff: noqa: S607, C901, PERF401 (a training script: long tables of words and fields)
"""Training text for the verifier, written as gzipped JSON lines by `train_verifier.py prepare`.

Reads public sets from checkouts the caller made (none is part of this project) and the development
sets; licences are listed in the verifier's decision page. Rows of the development sets keep their
set's name in `set`, so that a fold can leave a whole set out; all other rows have `set` = "".

Fields: e evidence, h claim, y label (2 entailed, 1 neutral, 0 contradicted, -1 not entailed),
s spans of h known to be false (null: unknown), src source, set.
"""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
import subprocess
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import verifier_rules as rules

Row = dict[str, Any]
LABELS = {"entailment": 2, "neutral": 1, "contradiction": 0, "e": 2, "n": 1, "c": 0}
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"'“(]?[A-Z0-9])|\n+|(?<= \.) +")
_SHORT = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|Inc|Ltd|Co|Corp|No|vs|etc|U\.S|U\.K|[A-Z])\.|\b[A-Z]\.)$")


def sentences(text: str) -> list[str]:
    """The text's sentences in order (a plain rule: enough for choosing evidence)."""
    out: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        piece = text[start : match.start()].strip()
        if "\n" not in match.group() and _SHORT.search(piece):
            continue
        if piece:
            out.append(piece)
        start = match.end()
    last = text[start:].strip()
    return [*out, last] if last else out


def _blob(checkout: Path, path: str) -> bytes:
    for folder in (checkout / "repo", checkout / "repo" / ".git", checkout):
        done = subprocess.run(
            ["git", f"--git-dir={folder}", "show", f"HEAD:{path}"], capture_output=True, check=False
        )
        if done.returncode == 0:
            return done.stdout
    raise FileNotFoundError(f"{path} is not in {checkout}")


def _table(checkout: Path, path: str) -> Iterator[dict[str, str]]:
    text = _blob(checkout, path).decode("utf-8-sig")
    yield from csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)


def _row(e: str, h: str, y: int, src: str, s: list[tuple[int, int]] | None = None, set_: str = "") -> Row:
    return {
        "e": e.strip().strip('"'),
        "h": h.strip().strip('"') if s is None else h,
        "y": y,
        "s": s,
        "src": src,
        "set": set_,
    }


def nli_rows(root: Path) -> list[Row]:
    """Rows of the public inference sets under `root` (one checkout a folder, named owner+name)."""
    out: list[Row] = []
    conj = root / "swarnaHub+ConjNLI"
    for name in ("adversarial_train_15k", "conj_dev"):
        out += [
            _row(r["Premise"], r["Hypothesis"], LABELS[r["Label"].strip()], "conjnli")
            for r in _table(conj, f"data/NLI/{name}.tsv")
            if r["Label"] and r["Label"].strip() in LABELS
        ]
    cad = root / "acmi-lab+counterfactually-augmented-data"
    out += [
        _row(r["sentence1"], r["sentence2"], LABELS[r["gold_label"]], "cad")
        for name in ("train", "dev", "test")
        for r in _table(cad, f"NLI/all_combined/{name}.tsv")
        if r["gold_label"] in LABELS
    ]
    for name in ("and", "or"):
        out += [
            _row(r["ori_sentence"], r["new_sentence"], LABELS[r["gold_label"]], "help")
            for r in _table(root / "verypluming+HELP", f"output_en/leskexppmb_{name}.tsv")
        ]
    out += [
        _row(r["sentence1"], r["sentence2"], LABELS[r["gold_label"]], "med")
        for r in _table(root / "verypluming+MED", "MED.tsv")
    ]
    semi = root / "nyu-mll+semi-automatic-nli"
    for name in ("sim_wiki", "translate_wiki"):
        lines = _blob(semi, f"data/{name}/train.jsonl").decode().splitlines()
        out += [
            _row(r["premise"], r["hypothesis"], LABELS[r["label"]], name)
            for r in map(json.loads, lines)
            if r["label"] in LABELS
        ]
    mnli = (
        _blob(root / "Alicia-Parrish+ling_in_loop", "tasks/raw_data/mnli/data/mnli/val.jsonl")
        .decode()
        .splitlines()
    )
    out += [
        _row(r["premise"], r["hypothesis"], LABELS[r["label"]], "mnli_dev") for r in map(json.loads, mnli)
    ]
    archive = zipfile.ZipFile(io.BytesIO(_blob(root / "BIU-NLP+Breaking_NLI", "breaking_nli_dataset.zip")))
    name = next(n for n in archive.namelist() if n.endswith(".jsonl"))
    out += [
        _row(r["sentence1"], r["sentence2"], LABELS[r["gold_label"]], "breaking")
        for r in map(json.loads, archive.read(name).decode().splitlines())
    ]
    return out


def fm2_claims(root: Path) -> list[dict[str, Any]]:
    """Claims of Fool Me Twice with their evidence (the files of the checkout that can be had)."""
    checkout = root / "google-research+fool-me-twice"
    return [
        json.loads(line)
        for name in ("dev", "test")
        for line in _blob(checkout, f"dataset/{name}.jsonl").decode().splitlines()
    ]


def fm2_rows(claims: Sequence[dict[str, Any]], rng: random.Random) -> list[Row]:
    """Each claim with its gold evidence alone and among retrieved sentences; and without it (neutral)."""
    out: list[Row] = []
    for claim in claims:
        y = 2 if claim["label"] == "SUPPORTS" else 0
        gold = [g["text"] for g in claim["gold_evidence"]]
        rest = [r["text"] for r in claim["retrieved_evidence"] if r["text"] not in gold]
        out.append(_row(" ".join(gold), claim["text"] if "text" in claim else claim["claim"], y, "fm2"))
        for _ in range(2):
            mixed = [*gold, *rng.sample(rest, min(len(rest), rng.randint(1, 6)))]
            rng.shuffle(mixed)
            out.append(_row(" ".join(mixed), claim["text"] if "text" in claim else claim["claim"], y, "fm2"))
    return out


class Lexicon:
    """Names and nouns of a body of text, from which false replacements are drawn."""

    def __init__(self, texts: Sequence[str]) -> None:
        names: Counter[str] = Counter()
        nouns: Counter[str] = Counter()
        for text in texts:
            names.update(m.group() for m in rules.names_of(text))
            nouns.update(re.findall(r"\b(?:the|a) ([a-z]{4,})\b", text))
        self.names = [n for n, _ in names.most_common(6000)]
        self.nouns = [n for n, count in nouns.most_common(1500) if count > 1]


def edited_rows(
    documents: Sequence[Sequence[str]], rng: random.Random, src: str, set_: str, per_sentence: int = 1
) -> list[Row]:
    """Restated (entailed), falsified (not entailed) and absent (neutral) sentences of the documents."""
    lexicon = Lexicon([s for d in documents for s in d])
    out: list[Row] = []
    for document in documents:
        usable = [i for i, s in enumerate(document) if 40 <= len(s) <= 320]
        local = [m.group() for s in document for m in rules.names_of(s)]
        for i in usable:
            for _ in range(per_sentence):
                names = local if rng.random() < 0.6 and len(set(local)) > 3 else lexicon.names
                room = rng.choice([0, 0, 1, 2, 4, 6])
                low = max(0, i - rng.randint(0, room))
                evidence = document[low : low + 1 + room]
                if document[i] not in evidence:
                    evidence = [document[i]]
                text = " ".join(evidence)
                out.append(_row(text, rules.restate(document[i], rng, 3), 2, src, [], set_))
                edit = rules.falsify(rules.restate(document[i], rng, 1), rng, names, lexicon.nouns)
                if edit:
                    out.append(_row(text, edit[0], -1, src, edit[1], set_))
                if rng.random() < 0.25 and len(document) > 3:
                    other = document[rng.randrange(len(document))]
                    if other not in text and len(other) > 40:
                        out.append(_row(text, rules.restate(other, rng, 1), 1, src + "_absent", None, set_))
    return out


def question_rows(paragraphs: Sequence[dict[str, Any]], rng: random.Random) -> list[Row]:
    """Question with its right answer (entailed) and with other answers of the paragraph (not entailed)."""
    out: list[Row] = []
    for paragraph in paragraphs:
        asked = [(q["question"].strip(), q["answers"][0]["text"]) for q in paragraph["qas"]]
        for question, answer in asked:
            out.append(_row(paragraph["context"], f"{question} {answer}.", 2, "xquad"))
            wrong = [
                a for _, a in asked if a.lower() not in answer.lower() and answer.lower() not in a.lower()
            ]
            alike = [
                a
                for a in wrong
                if a[:1].isdigit() == answer[:1].isdigit() and a[:1].isupper() == answer[:1].isupper()
            ]
            for bad in rng.sample(alike or wrong, min(2, len(alike or wrong))):
                out.append(_row(paragraph["context"], f"{question} {bad}.", -1, "xquad"))
    return out


def general_rows(sources: Path, xquad: Path, rng: random.Random) -> list[Row]:
    """All rows that come from no development set."""
    nli = nli_rows(sources)
    claims = fm2_claims(sources)
    paragraphs = [
        p for article in json.loads(xquad.read_text(encoding="utf-8"))["data"] for p in article["paragraphs"]
    ]
    seen: set[str] = set()
    pages: list[list[str]] = []
    for claim in claims:
        page = []
        for item in [*claim["gold_evidence"], *claim["retrieved_evidence"]]:
            if item["text"] not in seen and item["text"][:1].isupper():
                seen.add(item["text"])
                page.append(item["text"])
        pages.append(page)
    out = nli + fm2_rows(claims, rng) + question_rows(paragraphs, rng)
    out += edited_rows([sentences(p["context"]) for p in paragraphs], rng, "xquad_text", "", 4)
    out += edited_rows(pages, rng, "fm2_text", "", 2)
    lexicon = Lexicon([r["h"] for r in nli])
    for row in nli:
        if row["y"] == 2 and rng.random() < 0.8:
            edit = rules.falsify(row["h"], rng, lexicon.names, lexicon.nouns)
            if edit:
                out.append(_row(row["e"], edit[0], -1, row["src"] + "_edited", edit[1]))
    return out


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
    from exllama_guard.core.records import ClaimKind, make_snippet
    from exllama_guard.core.support.claims import pieces_of
    from exllama_guard.core.support.evidence import Encoder, Library

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
                    _row(
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
                        out.append(_row(evidence, claim, 2, f"dev_each_{budget}", [], name))
            if not record["supported"]:
                continue
            unit = record["budgets"][rng.choice(list(record["budgets"]))]
            for _ in range(3):
                edit = rules.falsify(
                    rules.restate(record["answer"], rng, 1), rng, lexicon.names, lexicon.nouns
                )
                if edit:
                    out.append(_row(unit["whole"], edit[0], -1, "dev_edited", edit[1], name))
            out.append(
                _row(unit["whole"], rules.restate(record["answer"], rng, 3), 2, "dev_restated", [], name)
            )
            for evidence, claim in zip(unit["each"], unit.get("claims", record["claims"]), strict=True):
                edit = rules.falsify(claim, rng, lexicon.names, lexicon.nouns)
                if edit and len(record["claims"]) > 1:
                    out.append(_row(evidence, edit[0], -1, "dev_edited", edit[1], name))
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
                _row(
                    a["answer"], b["answer"], y, "dev_pair", spans if b["supported"] or spans else None, name
                )
            )
            if len(a["claims"]) == len(b["claims"]) > 1 and rng.random() < 0.5:
                for x, c in zip(a["claims"], b["claims"], strict=True):
                    bad = [m.span() for m in re.finditer(r"\w+", c) if m.group().lower() not in words]
                    if b["supported"] or bad:
                        out.append(
                            _row(
                                a["answer"] if rng.random() < 0.5 else x,
                                c,
                                2 if b["supported"] else -1,
                                "dev_pair",
                                [] if b["supported"] else bad,
                                name,
                            )
                        )
    return out
