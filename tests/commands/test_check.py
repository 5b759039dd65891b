"""`check` and `validate` as a user runs them, with the real embedder and the real support score."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import pytest
from exllama_guard.commands import check, validate
from exllama_guard.trace.files import TraceWriter, trace_files
from trace_material import report_of

GOOD = {
    "id": 7,
    "question": "How many tokens does the cache hold before it is reset?",
    "snippets": [
        "The KV cache holds 8192 tokens. It is reset when that number is reached.",
        {"snippet_id": "b", "text": "A warm-up run generates ten tokens.", "section_id": "warm-up"},
    ],
    "answer": "The KV cache holds 8192 tokens.",
}
WRONG = {**GOOD, "id": 8, "answer": "The KV cache holds 9999 tokens."}


def run(tmp_path, lines):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\n".join(lines))
    status = check.run(["--input", str(source), "--output", str(target), "--quiet"])
    return status, [json.loads(line) for line in target.read_text("utf-8").splitlines()]


def test_a_right_and_a_wrong_answer_are_told_apart(tmp_path):
    status, (good, wrong) = run(tmp_path, [json.dumps(GOOD).encode(), json.dumps(WRONG).encode()])
    assert status == 0
    assert (good["id"], good["supported"]) == (7, True)
    assert (wrong["id"], wrong["supported"]) == (8, False)
    assert good["support"] > wrong["support"]
    assert any("9999" in reason and "8192" in reason for reason in wrong["reasons"])
    assert set(good) >= {"verdict", "claims", "distances", "coverage", "elapsed_s"}
    assert good["distances"]["question_context"]["top1"] < 0.6


def test_a_bad_line_is_an_error_object_and_the_rest_goes_on(tmp_path):
    lines = [
        b"{not json",
        b"[]",
        json.dumps({**GOOD, "answer": 3}).encode(),
        json.dumps({**GOOD, "snippets": "text"}).encode(),
        json.dumps({**GOOD, "snippets": [{"text": 1}]}).encode(),
        b"\xff\xff",
        b"",
        json.dumps(GOOD).encode(),
    ]
    status, out = run(tmp_path, lines)
    assert status == 1
    assert [item.get("line") for item in out] == [1, 2, 3, 4, 5, 6, None]
    assert all("error" in item for item in out[:6])
    assert "'answer' must be a string" in out[2]["error"]
    assert out[6]["id"] == 7


@pytest.mark.parametrize(
    "change",
    [{"answer": ""}, {"snippets": []}, {"answer": "Hello! How are you?"}, {"answer": "👍🏽"}],
)
def test_what_cannot_be_scored_is_null_with_a_reason(tmp_path, change):
    _, (result,) = run(tmp_path, [json.dumps({**GOOD, **change}).encode()])
    assert result["support"] is None
    assert result["supported"] is None
    assert result["verdict"] == "NOT_MEASURED"
    assert "support" in result["not_measured"]


@pytest.mark.parametrize(
    "answer",
    [
        "مرحبا بالعالم. 8192 رمز",
        "The cache <b>holds</b> **8192** tokens | a | b |",
        "word " * 5000,
        "\ud800 lone surrogate",
        "no sentence end and no capital 8192",
    ],
)
def test_odd_text_is_measured_or_says_why(tmp_path, answer):
    item = {**GOOD, "answer": answer, "question": answer[:50], "snippets": [*GOOD["snippets"], answer]}
    _, (result,) = run(tmp_path, [json.dumps(item).encode()])
    assert "error" not in result
    assert result["support"] is None or 0 <= result["support"] <= 1


def test_a_given_anchor_is_used(tmp_path):
    item = {**GOOD, "anchor": "It is reset when that number is reached."}
    _, (result,) = run(tmp_path, [json.dumps(item).encode()])
    assert result["coverage"] == {"coverage": 1.0, "bleed": None, "method": "lcs", "anchor": "given"}
    assert result["distances"]["answer_anchor"] is not None


def test_standard_input_and_output(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(GOOD).encode())))
    assert check.run(["--input", "-", "--output", "-", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == 7


def test_a_missing_file_is_one_sentence(capsys):
    assert check.run(["--input", "nowhere.jsonl", "--output", "-"]) == 2
    assert "no file nowhere.jsonl" in capsys.readouterr().err


def test_validate_names_line_and_code(tmp_path, capsys):
    TraceWriter(tmp_path).write(report_of())
    (path,) = trace_files(tmp_path)
    assert validate.run([str(tmp_path)]) == 0
    line = json.loads(path.read_text("utf-8"))
    line["snippets"][0]["section_id"] = ""
    path.write_text(path.read_text("utf-8") + json.dumps(line) + "\n{cut", "utf-8")
    assert validate.run([str(path)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert f"{path}:2: missing_section_id" in out[0]
    assert f"{path}:3: truncated" in out[1]
    assert validate.run(["nowhere"]) == 2


def test_the_input_is_never_written_over(tmp_path, capsys):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(GOOD) + "\n", encoding="utf-8")
    before = source.read_bytes()
    other_name = tmp_path / "sub" / ".." / "in.jsonl"
    (tmp_path / "sub").mkdir()
    assert check.run(["--input", str(source), "--output", str(other_name), "--quiet"]) == 2
    assert source.read_bytes() == before
    assert "give --output another name" in capsys.readouterr().err


def test_a_line_nested_too_deeply_is_an_error_object_and_the_rest_goes_on(tmp_path):
    status, out = run(tmp_path, [b"[" * 100_000, json.dumps(GOOD).encode()])
    assert (status, out[0]["line"], out[1]["supported"]) == (1, 1, True)
    assert "line 1 is not JSON" in out[0]["error"]


def test_renamed_ids_never_meet_an_id_that_was_given(tmp_path):
    texts = [("a", "One."), ("a", "Two."), ("a-2", "Three."), ("a", "Four.")]
    snippets = [{"snippet_id": name, "text": text} for name, text in texts]
    item = check.read_item(json.dumps({**GOOD, "snippets": snippets}).encode(), 1)
    assert [snippet.snippet_id for snippet in item.request.snippets] == ["a", "a-3", "a-2", "a-4"]


def test_a_fault_of_ours_costs_one_line_and_is_told(tmp_path, monkeypatch, caplog):
    from exllama_guard import assembly
    from exllama_guard.grounding.support import AnswerScorer
    from exllama_guard.worker import WorkHere

    monkeypatch.setattr(assembly, "work", WorkHere)  # so that the fault is met here
    whole = AnswerScorer.score

    def broken(self, answer, *, final=True):
        if "9999" in answer:
            raise ZeroDivisionError("bug")
        return whole(self, answer, final=final)

    monkeypatch.setattr(AnswerScorer, "score", broken)
    status, (bad, good) = run(tmp_path, [json.dumps(WRONG).encode(), json.dumps(GOOD).encode()])
    assert status == 1
    assert (bad["id"], good["id"]) == (8, 7)
    assert "ZeroDivisionError" in bad["error"]
    assert good["supported"] is True
    assert "scoring failed" in caplog.text
