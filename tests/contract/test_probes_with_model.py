"""probe, diagnose and verify as commands over the real small model: from the command line to the file."""

from __future__ import annotations

import json

import pytest
from exllama_guard.backends.bundled import bundled_gguf
from exllama_guard.commands import diagnose, probe, verify
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import TurnRequest
from exllama_guard.testing import scored
from exllama_guard.trace.files import TraceWriter

pytestmark = pytest.mark.model

QUESTION = "How many tokens does the cache hold?"
SENTENCE = "The cache holds 8192 tokens."


def test_probe_asks_six_times_and_goes_on_where_it_was(tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    notes.write_text(SENTENCE)
    keep = tmp_path / "kept.jsonl"
    argv = ["--question", QUESTION, "--snippet", str(notes), "--max-tokens", "12", "--no-citations"]
    argv += ["--temperature", "0.2", "--keep", str(keep), "--json", "-", "--html", str(tmp_path / "p.html")]
    status = probe.run(argv)
    report = json.loads(capsys.readouterr().out)
    verdict = report["verdicts"][0]
    assert status == (0 if verdict["verdict"] == "PASS" else 1)
    assert "n = 6" in verdict["sentence"]
    answers = [row["answer"] for table in report["tables"] for row in table["rows"]]
    assert len(answers) == 6
    assert any("8192" in answer for answer in answers)
    assert len(keep.read_text().splitlines()) == 6
    assert "<script" not in (tmp_path / "p.html").read_text()
    assert probe.run(argv) == status
    again = json.loads(capsys.readouterr().out)
    assert [row["answer"] for table in again["tables"] for row in table["rows"]] == answers


def test_diagnose_measures_lambda_with_a_model(tmp_path, capsys):
    made = (make_snippet(SENTENCE, position=0),)
    turn = scored(TurnRequest("t1", QUESTION, made, extensions=("websearch",)), f"{SENTENCE[:-1]} [s1].")
    TraceWriter(tmp_path).write(turn)
    assert diagnose.run([str(tmp_path), "--model", str(bundled_gguf()), "--max-tokens", "12"]) == 0
    told = capsys.readouterr()
    assert "of 6 runs agree" in told.out
    assert "Extensions: websearch" in told.out
    assert "λ: six short answers" not in told.err  # it is measured, so it is offered no more
    assert told.err.count("Not measured yet") == 2


def test_verify_answers_each_form_with_a_model(tmp_path, capsys):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(json.dumps({"id": "a", "question": QUESTION, "anchor": SENTENCE, "snippets": [SENTENCE]}))
    status = verify.run([str(gold), "--model", str(bundled_gguf()), "--max-tokens", "12", "--json", "-"])
    report = json.loads(capsys.readouterr().out)
    assert status == (0 if report["verdicts"][0]["verdict"] == "PASS" else 1)
    rows = report["tables"][0]["rows"]
    assert len(rows) == 3
    assert all("8192" in row["answer"] for row in rows)
