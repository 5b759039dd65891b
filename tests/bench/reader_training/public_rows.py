# ruff: noqa: S607 (a training script)
"""Public rows that the reader is trained on, read from bare checkouts that the caller made.

Nothing of them is part of this project. Each row: evidence, question, answer, whether it is supported (2 supported,
1 absent, 0 contradicted, -1 one of the last two) and the spans of the answer that are known to be wrong.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

csv.field_size_limit(10**9)
SUPPORTED, ABSENT, CONTRADICTED, UNSUPPORTED = 2, 1, 0, -1


@dataclass(frozen=True, slots=True)
class Row:
    """One answer beside its evidence."""

    source: str
    evidence: str
    question: str
    answer: str
    label: int
    wrong: tuple[tuple[int, int], ...] | None = None  # characters of the answer; None: unknown


class Checkouts:
    """Files of bare checkouts: one folder owner+name each, with the git directory in `repo`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def text(self, name: str, path: str) -> str:
        return self._git(name, "show", f"HEAD:{path}").decode("utf-8-sig", "replace")

    def lines(self, name: str, path: str) -> Iterator[Any]:
        """The JSON lines of a file."""
        for line in self.text(name, path).splitlines():
            if line.strip():
                yield json.loads(line)

    def table(self, name: str, path: str, delimiter: str = "\t") -> Iterator[dict[str, str]]:
        quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
        yield from csv.DictReader(io.StringIO(self.text(name, path)), delimiter=delimiter, quoting=quoting)

    def paths(self, name: str) -> list[str]:
        return self._git(name, "ls-tree", "-r", "--name-only", "HEAD").decode().split("\n")

    def _git(self, name: str, *words: str) -> bytes:
        done = subprocess.run(
            ["git", f"--git-dir={self.root / name / 'repo'}", *words], capture_output=True, check=False
        )
        if done.returncode:
            raise FileNotFoundError(f"{name}: {words[-1]}")
        return done.stdout


def public_rows(root: Path, xquad: Path, seed: int = 7) -> Iterator[Row]:
    """Every public row."""
    files, rng = Checkouts(root), random.Random(seed)
    for rows in (
        _docnli(files),
        _cg2c(files),
        _bump(files),
        _faceval(files),
        _fib(files),
        _factcheck(files),
        _faithdial(files),
        _begin(files),
        _conda(files),
        _boolq(files),
        _spans(files),
        _wice_words(files),
        _xquads(files, xquad, rng),
    ):
        yield from rows


def _docnli(files: Checkouts) -> Iterator[Row]:
    for path in files.paths("salesforce+DocNLI"):
        if not re.search(r"Data/(?:binary-FEVER|MCTest)-NLI/.*\.txt$", path):
            continue
        source = "fever" if "FEVER" in path else "mctest"
        try:
            text = files.text("salesforce+DocNLI", path)
        except FileNotFoundError:
            continue
        for line in text.splitlines():
            cells = line.split("\t")
            if len(cells) >= 3:
                yield Row(
                    source, cells[1], "", cells[2], SUPPORTED if cells[0] == "entailment" else UNSUPPORTED
                )


def _cg2c(files: Checkouts) -> Iterator[Row]:
    text = files.text("derenlei+FactCG", "data/training_stage2/CG2C_doc.json")
    rows = (
        json.loads(text) if text.lstrip().startswith("[") else [json.loads(x) for x in text.splitlines() if x]
    )
    for row in rows:
        said = row["text_b"][0] if isinstance(row["text_b"], list) else row["text_b"]
        yield Row(
            "cg2c", row["text_a"], "", said, SUPPORTED if row["orig_label"] in (1, "1", True) else UNSUPPORTED
        )


def _bump(files: Checkouts) -> Iterator[Row]:
    for name in ("task1_dataset", "task2_dataset"):
        for row in json.loads(files.text("dataminr-ai+BUMP", f"data/{name}.json")):
            right, edited = row.get("reference_summary"), row.get("edited_summary")
            if right:
                yield Row("bump", row["article"], "", right, SUPPORTED)
            if edited:
                yield Row("bump", row["article"], "", edited, UNSUPPORTED)


def _faceval(files: Checkouts) -> Iterator[Row]:
    for row in files.table("BinWang28+FacEval", "human_result/FacEval_human_result.csv", ","):
        right = row["w/ Error"].strip().lower() == "no"
        yield Row("faceval", row["Dialogue"], "", row["Summary"], SUPPORTED if right else UNSUPPORTED)


def _fib(files: Checkouts) -> Iterator[Row]:
    for path in files.paths("r-three+fib"):
        if "multiple_choice" not in path or not path.endswith(".jsonl"):
            continue
        for row in files.lines("r-three+fib", path):
            choices, document = (
                row.get("list_choices") or row.get("choices"),
                row.get("input") or row.get("document"),
            )
            right = row.get("correct_choice", row.get("lbl", row.get("label")))
            if not choices or document is None:
                continue
            if not isinstance(right, int):
                right = choices.index(right) if right in choices else None
            if right is not None:
                for index, choice in enumerate(choices):
                    yield Row("fib", document, "", choice, SUPPORTED if index == right else UNSUPPORTED)


def _factcheck(files: Checkouts) -> Iterator[Row]:
    for row in files.lines("yuxiaw+Factcheck-GPT", "subtasks/subtask3_claim_evidence_stance.jsonl"):
        stance = row["stance"].lower()
        if "part" not in stance:
            label = (
                SUPPORTED
                if stance.startswith(("support", "complet"))
                else CONTRADICTED
                if stance.startswith("refut")
                else ABSENT
            )
            yield Row("factcheck", row["evidence"], "", row["claim"], label)


def _faithdial(files: Checkouts) -> Iterator[Row]:
    known = ("knowledge", "history", "begin_label", "vrm_label")
    for path in files.paths("McGill-NLP+FaithDial"):
        if not (path.startswith("data-audit/") and path.endswith(".csv")):
            continue
        for row in files.table("McGill-NLP+FaithDial", path, ","):
            label, column = (
                (row.get("begin_label") or "").lower().strip(),
                [k for k in row if k and k not in known],
            )
            if label and row.get("knowledge") and column and "generic" not in label and "uncoop" not in label:
                yield Row(
                    "faithdial",
                    row["knowledge"],
                    "",
                    row[column[0]] or "",
                    SUPPORTED if label == "entailment" else UNSUPPORTED,
                )


def _begin(files: Checkouts) -> Iterator[Row]:
    for path in ("cmu-dog/begin_dev_cmu.tsv", "topicalchat/begin_dev_tc.tsv"):
        for row in files.table("google+BEGIN-dataset", path):
            right = row["begin_label"] == "Fully attributable"
            yield Row("begin", row["knowledge"], "", row["response"], SUPPORTED if right else UNSUPPORTED)


_YES_NO = {"YES": "Yes.", "NO": "No.", "TRUE": "Yes.", "FALSE": "No."}
_NOT_SAID = "The text does not say."


def _conda(files: Checkouts) -> Iterator[Row]:
    """Questions on edited passages (negations kept, reworded, moved): the right answer and the others."""
    name = "AbhilashaRavichander+CondaQA"
    paths = [f"data/few-shot/test_splits/conda_fewshot_test_{n}.json" for n in range(1, 6)]
    seen = set()
    for path in ("data/condaqa_dev.json", *paths):
        try:
            rows = list(files.lines(name, path))
        except FileNotFoundError:
            continue
        for row in rows:
            passage, asked, label = row["sentence1"], row["sentence2"], str(row["label"]).strip()
            if (passage, asked) in seen:
                continue
            seen.add((passage, asked))
            unknown = label.upper().startswith("DON")
            right = _NOT_SAID if unknown else _YES_NO.get(label.upper(), label)
            yield Row("conda", passage, asked, right, SUPPORTED)
            others = (
                [one for one in ("Yes.", "No.") if one != right]
                if unknown or right in ("Yes.", "No.")
                else []
            )
            if not unknown and len(others) == 1:
                others.append(_NOT_SAID)
            for other in others:
                yield Row("conda", passage, asked, other, ABSENT if unknown else CONTRADICTED)


def _boolq(files: Checkouts) -> Iterator[Row]:
    for row in json.loads(files.text("allenai+contrast-sets", "BoolQ/boolq_perturbed.json"))["data"][1:]:
        asked = [(row["question"], row["answer"])]
        asked += [(one["perturbed_q"], one["answer"]) for one in row["perturbed_questions"]]
        for question, answer in asked:
            right = _YES_NO.get(str(answer).strip().upper())
            if right:
                yield Row("boolq", row["paragraph"], question, right, SUPPORTED)
                wrong = "No." if right == "Yes." else "Yes."
                yield Row("boolq", row["paragraph"], question, wrong, CONTRADICTED)


def _spans(files: Checkouts) -> Iterator[Row]:
    """Quoref and ROPES, original and perturbed: the answer of one question is wrong for its twin."""
    for path in (
        "quoref/quoref_original_subset_20191206_merged.json",
        "quoref/quoref_test_perturbations_20191206_merged.json",
        "ropes/data/ropes_contrast_set_original_032820.json",
        "ropes/data/ropes_contrast_set_032820.json",
    ):
        for article in json.loads(files.text("allenai+contrast-sets", path))["data"]:
            for paragraph in article["paragraphs"]:
                text = paragraph.get("context") or f"{paragraph['background']}\n\n{paragraph['situation']}"
                answers = {one["text"] for qa in paragraph["qas"] for one in qa["answers"]}
                for qa in paragraph["qas"]:
                    right = [one["text"] for one in qa["answers"]]
                    yield Row("spans", text, qa["question"], ", ".join(right) + ".", SUPPORTED)
                    for other in sorted(answers - set(right))[:2]:
                        if not any(other in one or one in other for one in right):
                            yield Row("spans", text, qa["question"], other + ".", UNSUPPORTED)


def _wice_words(files: Checkouts) -> Iterator[Row]:
    for row in files.lines("ryokamoi+wice", "data/non_supported_tokens/train.jsonl"):
        claim, wrong, at = row["claim"], [], 0
        for token, bad in zip(row["claim_tokens"], row["non_supported_spans"], strict=False):
            at = claim.find(token, at)
            if at < 0:
                wrong = None
                break
            if bad:
                wrong.append((at, at + len(token)))
            at += len(token)
        if wrong:
            yield Row("wice_words", "\n".join(row["evidence"]), "", claim, UNSUPPORTED, tuple(wrong))


_XQUAD = ("de", "es", "ru", "zh", "ar", "hi", "el", "tr", "vi", "ro")


def _xquads(files: Checkouts, english: Path, rng: random.Random) -> Iterator[Row]:
    """Each question with its right span and with another of its paragraph that looks alike."""
    texts = [english.read_text(encoding="utf-8")]
    for language in _XQUAD:
        try:
            texts.append(files.text("google-deepmind+xquad", f"xquad.{language}.json"))
        except FileNotFoundError:
            continue
    for text in texts:
        for paragraph in (p for article in json.loads(text)["data"] for p in article["paragraphs"]):
            answers = [qa["answers"][0]["text"] for qa in paragraph["qas"]]
            for qa, right in zip(paragraph["qas"], answers, strict=True):
                if rng.random() < 0.5 and text is not texts[0]:
                    continue
                yield Row("xquad", paragraph["context"], qa["question"], right, SUPPORTED)
                others = [x for x in answers if x not in right and right not in x]
                alike = [x for x in others if x[:1].isdigit() == right[:1].isdigit()] or others
                if alike:
                    yield Row("xquad", paragraph["context"], qa["question"], rng.choice(alike), UNSUPPORTED)


class OffLimits:
    """Texts that must not be trained on, by their hashes (sixteen hex digits of sha1, letters and digits only)."""

    def __init__(self, path: Path) -> None:
        self._hashes = set(path.read_text().split())

    def holds(self, row: Row) -> bool:
        answer, passage = (re.sub(r"\W+", "", text.lower()) for text in (row.answer, row.evidence))
        return self._key(answer) in self._hashes or self._key(passage[:200]) in self._hashes

    @staticmethod
    def _key(text: str) -> str:
        return hashlib.sha1(text.encode()).hexdigest()[:16]  # noqa: S324 - how the list was made
