# ruff: noqa: S607, PERF401 (a training script: long tables of words and fields)
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
import random
import re
import subprocess
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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


def row_of(e: str, h: str, y: int, src: str, s: list[tuple[int, int]] | None = None, set_: str = "") -> Row:
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
            row_of(r["Premise"], r["Hypothesis"], LABELS[r["Label"].strip()], "conjnli")
            for r in _table(conj, f"data/NLI/{name}.tsv")
            if r["Label"] and r["Label"].strip() in LABELS
        ]
    cad = root / "acmi-lab+counterfactually-augmented-data"
    out += [
        row_of(r["sentence1"], r["sentence2"], LABELS[r["gold_label"]], "cad")
        for name in ("train", "dev", "test")
        for r in _table(cad, f"NLI/all_combined/{name}.tsv")
        if r["gold_label"] in LABELS
    ]
    for name in ("and", "or"):
        out += [
            row_of(r["ori_sentence"], r["new_sentence"], LABELS[r["gold_label"]], "help")
            for r in _table(root / "verypluming+HELP", f"output_en/leskexppmb_{name}.tsv")
        ]
    out += [
        row_of(r["sentence1"], r["sentence2"], LABELS[r["gold_label"]], "med")
        for r in _table(root / "verypluming+MED", "MED.tsv")
    ]
    semi = root / "nyu-mll+semi-automatic-nli"
    for name in ("sim_wiki", "translate_wiki"):
        lines = _blob(semi, f"data/{name}/train.jsonl").decode().splitlines()
        out += [
            row_of(r["premise"], r["hypothesis"], LABELS[r["label"]], name)
            for r in map(json.loads, lines)
            if r["label"] in LABELS
        ]
    mnli = (
        _blob(root / "Alicia-Parrish+ling_in_loop", "tasks/raw_data/mnli/data/mnli/val.jsonl")
        .decode()
        .splitlines()
    )
    out += [
        row_of(r["premise"], r["hypothesis"], LABELS[r["label"]], "mnli_dev") for r in map(json.loads, mnli)
    ]
    archive = zipfile.ZipFile(io.BytesIO(_blob(root / "BIU-NLP+Breaking_NLI", "breaking_nli_dataset.zip")))
    name = next(n for n in archive.namelist() if n.endswith(".jsonl"))
    out += [
        row_of(r["sentence1"], r["sentence2"], LABELS[r["gold_label"]], "breaking")
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
        said = claim["text"] if "text" in claim else claim["claim"]
        out.append(row_of(" ".join(gold), said, y, "fm2"))
        for _ in range(2):
            mixed = [*gold, *rng.sample(rest, min(len(rest), rng.randint(1, 6)))]
            rng.shuffle(mixed)
            out.append(row_of(" ".join(mixed), said, y, "fm2"))
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
                out.append(row_of(text, rules.restate(document[i], rng, 3), 2, src, [], set_))
                edit = rules.falsify(rules.restate(document[i], rng, 1), rng, names, lexicon.nouns)
                if edit:
                    out.append(row_of(text, edit[0], -1, src, edit[1], set_))
                if rng.random() < 0.25 and len(document) > 3:
                    other = document[rng.randrange(len(document))]
                    if other not in text and len(other) > 40:
                        out.append(row_of(text, rules.restate(other, rng, 1), 1, src + "_absent", None, set_))
    return out


def question_rows(paragraphs: Sequence[dict[str, Any]], rng: random.Random) -> list[Row]:
    """Question with its right answer (entailed) and with other answers of the paragraph (not entailed)."""
    out: list[Row] = []
    for paragraph in paragraphs:
        asked = [(q["question"].strip(), q["answers"][0]["text"]) for q in paragraph["qas"]]
        for question, answer in asked:
            out.append(row_of(paragraph["context"], f"{question} {answer}.", 2, "xquad"))
            wrong = [
                a for _, a in asked if a.lower() not in answer.lower() and answer.lower() not in a.lower()
            ]
            alike = [
                a
                for a in wrong
                if a[:1].isdigit() == answer[:1].isdigit() and a[:1].isupper() == answer[:1].isupper()
            ]
            for bad in rng.sample(alike or wrong, min(2, len(alike or wrong))):
                out.append(row_of(paragraph["context"], f"{question} {bad}.", -1, "xquad"))
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
                out.append(row_of(row["e"], edit[0], -1, row["src"] + "_edited", edit[1]))
    return out
