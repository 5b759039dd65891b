"""The diagnostic prompt: every number in it is the trace's, and nothing unmeasured looks measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from exllama_guard.commands import diagnose
from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import ModelInfo, TurnRequest
from exllama_guard.probes.doctor.checkup import observe_turns
from exllama_guard.probes.doctor.diagnosis import Findings, diagnosis_of, modes_of_report
from exllama_guard.probes.measures.comparison import compare_modes
from exllama_guard.probes.measures.stability import Answer, judge_runs
from exllama_guard.probes.reports.probe import compare_report
from exllama_guard.report.json import as_json
from exllama_guard.testing import scored
from exllama_guard.trace.files import TraceWriter
from exllama_guard.trace.line import from_line, to_line
from exllama_guard.trace.record import record_of
from probe_material import mode_run


def turn(question="How many tokens does the cache hold?", answer="The cache holds 8192 tokens [s1]."):
    made = tuple(
        make_snippet(t, position=i)
        for i, t in enumerate(("The cache holds 8192 tokens.", "The sea is blue."))
    )
    model = ModelInfo("SmolLM2", "Transformers", "fp16", "fp16", 8192)
    request = TurnRequest("t1", question, made, model=model)
    return scored(request, answer)


def test_every_distance_is_the_traces():
    report = turn()
    record = from_line(to_line(record_of(report)))
    prompt = diagnosis_of(Findings(report)).prompt
    pair = record.distances.question_context
    for name, value in (
        ("gated", record.distances.gated),
        ("first", pair.top1),
        ("nearest", pair.min),
        ("mean", pair.mean),
        ("cited", pair.cited),
    ):
        assert f"{name} {value:.4f}" in prompt
    for snippet, value in zip(record.snippets, pair.each, strict=True):
        assert f"- {snippet.snippet_id}: ΔS {value:.4f}" in prompt
    assert f"support {record.support.support:.4f}" in prompt


def test_what_was_not_measured_has_no_number():
    found = diagnosis_of(Findings(turn()))
    assert "λ over 3 forms × 2 seeds: not measured yet" in found.prompt
    assert "Effect of quantisation: not measured" in found.prompt
    assert "tokens until drift): not measured yet" in found.prompt
    assert len(found.offers) == 3
    assert "“Measure λ now” in the Doctor tab" in found.offers[0]
    assert "“Measure drift” in the Model tab" in found.offers[2]
    assert not re.search(r"λ[^\n]*\d of \d", found.prompt)


def test_what_was_measured_is_written_in():
    runs = [Answer(i // 2, i % 2, "x", cluster=0, cited=frozenset({"s1"})) for i in range(6)]
    modes = compare_modes(mode_run("ref"), [mode_run("int4", 0.3)])
    found = diagnosis_of(Findings(turn(), ("web_search",), judge_runs(runs, citations_wanted=True), modes))
    assert "6 of 6 runs agree, lower bound 0.6097" in found.prompt
    assert "int4: FAIL" in found.prompt
    assert "Extensions: web_search" in found.prompt
    assert len(found.offers) == 1


def test_the_last_comparisons_report_is_told_as_it_was_written(tmp_path, capsys):
    runs = [mode_run("ref"), mode_run("int4", 0.3), mode_run("q2", problem="no file")]
    report = as_json(compare_report(runs, {}))
    modes = modes_of_report(json.loads(json.dumps(report)))
    assert [(mode.label, mode.gate) for mode in modes] == [("int4", Gate.FAIL), ("q2", Gate.NOT_MEASURED)]
    told = diagnosis_of(Findings(turn(), modes=modes))
    sentences = [line["sentence"] for line in report["verdicts"]]
    assert all(sentence in told.prompt for sentence in sentences)
    file = tmp_path / "compare.json"
    file.write_text(json.dumps(report))
    TraceWriter(tmp_path / "t").write(turn())
    assert diagnose.run([str(tmp_path / "t"), "--compare", str(file)]) == 0
    assert sentences[0] in capsys.readouterr().out
    file.write_text('{"title": "Checkup"}')
    assert diagnose.run([str(tmp_path / "t"), "--compare", str(file)]) == 2


def test_a_page_is_named_only_for_a_far_question_or_a_symptom():
    assert diagnosis_of(Findings(turn("The cache holds 8192 tokens."))).page is None
    far = diagnosis_of(Findings(turn("Do penguins swim?")))
    assert far.page is not None
    assert far.page.url in far.prompt
    silent = turn("The cache holds 8192 tokens.", "The cache holds 8192 tokens.")
    seen = diagnosis_of(Findings(silent, observations=observe_turns([silent])))
    assert seen.page.id == "data-contracts"
    assert "the first one is what to repair first:\n- V1 Fluent text" in seen.prompt
    assert seen.page_for == "V1 Fluent text, citations missing"
    assert f"Fix page for {seen.page_for}: Data contracts" in seen.prompt


def test_devices_are_told_in_words_and_the_hash_only_where_there_are_none():
    for known, told in (
        (ModelInfo("m", "x"), "not told"),
        (ModelInfo("m", "x", shard_hash="a" * 64), f"not told in words (hash {'a' * 12})"),
        (ModelInfo("m", "x", shard_hash="a" * 64, devices="1 × cpu"), "1 × cpu"),
    ):
        report = turn()
        request = replace(report.request, model=known)
        prompt = diagnosis_of(Findings(replace(report, request=request))).prompt
        assert f"Devices and split: {told}\n" in prompt


def test_command(tmp_path, capsys):
    writer = TraceWriter(tmp_path)
    writer.write(turn())
    assert diagnose.run([str(tmp_path), "--extensions", "a", "b"]) == 0
    out = capsys.readouterr()
    assert "Extensions: a, b" in out.out
    assert out.err.count("Not measured yet") == 3
    assert diagnose.run([str(tmp_path), "--turn", "none"]) == 2
    assert diagnose.run([str(tmp_path / "none")]) == 2


def test_a_turn_without_text_cannot_be_diagnosed(tmp_path):
    TraceWriter(tmp_path, with_text=False).write(turn())
    assert diagnose.run([str(tmp_path)]) == 2


@pytest.mark.parametrize("text", ["", "\ud800", "x" * 5000])
def test_odd_questions(text):
    assert diagnosis_of(Findings(turn(text))).prompt
