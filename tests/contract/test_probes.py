"""Probes over a scripted model: order, users first, cancel, crash and resume, verdicts."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.core.snippets import make_snippet
from exllama_guard.errors import BackendError, UserError
from exllama_guard.probes import run_cache as kept_module
from exllama_guard.probes.compare import CompareJob, ModeSource, run_compare
from exllama_guard.probes.generation import GREEDY, Generation, Sampling
from exllama_guard.probes.gold import GoldItem, read_gold
from exllama_guard.probes.lambda_probe import LambdaProbe, run_probe
from exllama_guard.probes.measures.comparison import compare_modes, observe_modes
from exllama_guard.probes.measures.equivalence import Outcome
from exllama_guard.probes.measures.stability import RunState
from exllama_guard.probes.reports.probe import compare_report
from exllama_guard.probes.run import Job, Runner
from exllama_guard.probes.run_cache import RunCache, run_key
from exllama_guard.testing import FakeEmbedder
from probe_material import ScriptedMode

SNIPPETS = (
    make_snippet("The cache holds 8192 tokens.", position=0),
    make_snippet("The sea is blue.", position=1),
)
PROBE = LambdaProbe("How many tokens does the cache hold?", SNIPPETS)


def probed(script, probe=PROBE, **runner):
    mode = ScriptedMode(script)
    return run_probe(probe, mode, Runner(**runner), embedder=FakeEmbedder()), mode


def test_a_steady_model_converges_over_three_forms_and_two_seeds():
    result, mode = probed(lambda text, seed: "The cache holds 8192 tokens [s1].")
    assert result.report.verdict is RunState.CONVERGENT
    assert [(run.form, run.seed) for run in result.report.runs] == [(f, s) for f in range(3) for s in (1, 2)]
    assert len({text for text, _ in mode.calls}) == 3
    assert not result.stopped


def test_another_number_is_another_cluster():
    result, _ = probed(lambda text, seed: f"The cache holds {8192 if seed == 1 else 9000} tokens [s1].")
    assert result.report.clusters == 2
    assert result.report.verdict is not RunState.CONVERGENT


def test_a_model_that_answers_nothing_diverges():
    result, _ = probed(lambda text, seed: "")
    assert result.report.verdict is RunState.DIVERGENT
    assert isinstance(result.report.entropy, NotScored)


def test_all_refuse():
    result, _ = probed(lambda text, seed: "I'm sorry, I don't know that.")
    assert result.report.verdict is RunState.DIVERGENT
    assert result.report.clusters == 1


def test_thinking_is_no_part_of_the_answer():
    result, _ = probed(lambda text, seed: f"<think>{seed}</think>The cache holds 8192 tokens [s1].")
    assert result.report.clusters == 1


def test_greedy_seeds_are_one_run_and_are_written_once():
    from dataclasses import replace

    result, mode = probed(lambda text, seed: "It holds 8192 tokens [s1].", replace(PROBE, sampling=GREEDY))
    assert result.report.seeds_degenerate
    assert len(mode.calls) == 3  # the second seed of a form is the kept first
    assert result.report.gate is Gate.REVIEW


def test_equal_forms_are_refused():
    with pytest.raises(UserError, match="equal"):
        LambdaProbe("a?", forms=("a?", "a? ")).all_forms()


def test_stopped_half_way_keeps_what_is_finished_and_judges_nothing(tmp_path):
    runner = Runner(cache=RunCache(tmp_path / "runs.jsonl"))

    def script(text, seed):
        if len(mode.calls) == 4:
            runner.cancel.set()
        return "It holds 8192 tokens [s1]."

    mode = ScriptedMode(script)
    result = run_probe(PROBE, mode, runner, embedder=FakeEmbedder())
    assert result.stopped
    assert len(result.report.runs) == 3
    assert isinstance(result.report.verdict, NotScored)
    assert len(RunCache(tmp_path / "runs.jsonl")) == 3


def test_a_crash_loses_only_the_running_generation(tmp_path):
    path = tmp_path / "runs.jsonl"
    first = ScriptedMode(lambda text, seed: "It holds 8192 tokens [s1].", fails_after=4)
    with pytest.raises(BackendError):
        run_probe(PROBE, first, Runner(cache=RunCache(path)), embedder=FakeEmbedder())
    with path.open("ab") as file:
        file.write(b'{"key": "cut')  # a write that a crash cut
    second = ScriptedMode(lambda text, seed: "It holds 8192 tokens [s1].")
    result = run_probe(PROBE, second, Runner(cache=RunCache(path)), embedder=FakeEmbedder())
    assert len(second.calls) == 2
    assert result.report.verdict is RunState.CONVERGENT
    assert len(RunCache(path)) == 6


def test_runs_of_another_model_or_sampling_are_not_taken():
    keys = {
        run_key(w, t, s, n) for w in "ab" for t in "xy" for s in (Sampling(), Sampling(0.5)) for n in (1, 2)
    }
    assert len(keys) == 16
    assert run_key("a", "x", GREEDY, 1) == run_key("a", "x", GREEDY, 2)


def test_users_go_first_before_every_generation():
    seen = []
    probed(lambda text, seed: "yes", users_first=lambda cancel: seen.append(len(seen)))
    assert len(seen) == 6


def test_progress_tells_the_time_left():
    told = []
    probed(lambda text, seed: "yes", report_progress=told.append)
    assert told[0].left_s is None
    assert told[-1].done == told[-1].total == 6
    assert told[3].left_s is not None
    assert "3 of 6" in told[3].sentence()


def test_a_file_of_kept_runs_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_module, "MOST_RUNS", 10)
    path = tmp_path / "kept.jsonl"
    kept = RunCache(path)
    for number in range(11):
        kept.add(str(number), Generation(f"answer {number}", 1, 0.1, 0.1))
    again = RunCache(path)
    assert len(again) == len(path.read_text().splitlines()) == 5
    assert again.get("10").text == "answer 10"
    assert again.get("5") is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_run_that_was_cut_is_not_kept():
    kept = RunCache()
    kept.add("a", Generation("x", 1, 0.1, 0.1, stopped=True))
    assert len(kept) == 0


def test_cancel_before_the_start_generates_nothing():
    cancel = threading.Event()
    cancel.set()
    mode = ScriptedMode(lambda text, seed: "yes")
    assert list(Runner(cancel=cancel).run(mode, [Job("a", GREEDY, 0)])) == []
    assert mode.calls == []


# --- comparing modes ------------------------------------------------------------------------------------

ITEMS = tuple(
    GoldItem(f"q{i}", f"How many tokens does cache {i} hold?", anchor, (anchor,), answer=f"{1000 + i}")
    for i in range(8)
    for anchor in [make_snippet(f"Cache number {i} holds {1000 + i} tokens of text.", position=0)]
)


def source(label, script, **more):
    return ModeSource(label, "weights", 8.0, lambda: ScriptedMode(script, label, **more))


def right(text, seed):
    number = text.rsplit("cache ", 1)[-1].split()[0]
    return f"Cache number {number} holds 100{number} tokens of text."


def wrong(text, seed):
    return "Penguins swim in cold oceans."


def compared(*sources, **job):
    runs = run_compare(
        CompareJob(ITEMS, forced_texts=("a b c d e f g h",), **job),
        sources,
        Runner(),
        embedder=FakeEmbedder(),
    )
    return runs, compare_modes(runs[0], runs[1:])


def test_an_equal_mode_is_flat_and_a_wrong_one_is_not():
    runs, verdicts = compared(source("ref", right), source("same", right), source("bad", wrong, noise=3.0))
    same, bad = verdicts
    assert (same.gate, same.resonance.outcome, same.flip_rate) == (Gate.PASS, Outcome.FLAT, 0.0)
    assert (bad.gate, bad.resonance.outcome, bad.flip_rate) == (Gate.FAIL, Outcome.NOT_FLAT, 1.0)
    assert runs[0].floor.kl == 0.0
    assert same.logits.worst is Gate.PASS
    assert bad.logits.worst is Gate.FAIL
    assert (same.accuracy, bad.accuracy_change) == (1.0, -1.0)
    assert same.speed == pytest.approx(1.0)


def test_the_time_a_token_takes_is_read_anew_by_the_modes_own_kernels_and_said_with_its_spread():
    opened: list[str] = []

    def slow(name, token_s):
        def make():
            opened.append(name)
            return ScriptedMode(right, name, token_s=token_s)

        return make

    class Floats(ScriptedMode):
        def __init__(self):
            super().__init__(right, "gguf")
            self.timed = False

    sources = (
        source("ref", right),
        ModeSource("int8", "weights", 8.0, slow("floats", 0.01), slow("kernels", 0.03), "it de-quantises"),
        ModeSource("gguf", "weights", 4.0, Floats),
        source("nothing", lambda text, seed: ""),
    )
    runs, (int8, gguf, nothing) = compared(*sources)
    assert opened == ["kernels", "floats"]  # one after the other, so that both fit
    assert len(runs[0].token_s) == 5
    assert int8.speed == pytest.approx(3.0)
    assert isinstance(gguf.speed, NotScored) and "GGUF" in gguf.speed.detail
    assert isinstance(nothing.speed, NotScored)
    assert nothing.gate is not Gate.PASS  # a model that answers nothing
    report = compare_report(runs, {})
    row = dict(zip(report.tables[0].columns, report.tables[0].rows[1], strict=True))
    assert (row["ms a token"], row["against the reference"]) == ("30.0 (30.0 to 30.0)", "3.00")
    assert "It de-quantises." in report.tables[0].note
    untimed, _ = compared(source("ref", right), source("same", right), timing=False)
    assert isinstance(untimed[1].token_s, NotScored)


def test_symptoms_follow_from_the_modes():
    (ref, same, bad, other), _ = compared(
        source("ref", right),
        source("same", right),
        source("bad", wrong),
        source("other", right, tokenizer="2" * 64),
    )
    spike = {mode.label: observe_modes(ref, mode)[0].verdict for mode in (same, bad, other)}
    # the same ids for the same text: another file of the same tokenizer is no other tokenizer
    assert spike == {"same": Gate.PASS, "bad": Gate.FAIL, "other": Gate.PASS}
    assert observe_modes(ref, same)[1].verdict is Gate.REVIEW  # this script writes no JSON in any mode


def test_another_tokenizer_is_found_by_its_ids_and_not_compared_on_forced_text():
    class Turned(ScriptedMode):
        def token_ids(self, text):
            return tuple(reversed(super().token_ids(text)))

    turned = ModeSource("turned", "weights", 8.0, lambda: Turned(right, "turned"))
    (ref, mode), (verdict,) = compared(source("ref", right), turned)
    assert isinstance(mode.drift, NotScored)
    assert "tokenizers differ" in mode.drift.detail
    assert isinstance(verdict.logits, NotScored)
    spike = observe_modes(ref, mode)[0]
    assert (spike.verdict, "different tokenizers" in spike.evidence) == (Gate.FAIL, True)


def test_a_mode_that_fails_to_load_leaves_the_others():
    def broken():
        raise BackendError("q2 cannot be loaded: no such file.")

    runs, verdicts = compared(
        source("ref", right), ModeSource("q2", "weights", 2.0, broken), source("same", right)
    )
    assert [run.label for run in runs] == ["ref", "q2", "same"]
    assert "no such file" in verdicts[0].reasons[0]
    assert verdicts[0].gate is Gate.NOT_MEASURED
    assert verdicts[1].gate is Gate.PASS


def test_a_comparison_that_is_stopped_half_way_reports_what_is_finished_and_goes_on_later(tmp_path):
    cancel = threading.Event()

    def stops(text, seed):
        if "cache 3 " in text:
            cancel.set()
        return right(text, seed)

    kept = tmp_path / "kept.jsonl"
    job = CompareJob(ITEMS, json_cases=False)
    runs = run_compare(
        job,
        [source("ref", right), source("q8", stops), source("q4", right)],
        Runner(RunCache(kept), cancel=cancel),
        embedder=FakeEmbedder(),
    )
    assert [(run.label, len(run.items)) for run in runs] == [("ref", 8), ("q8", 3)]
    report = compare_report(runs, {}, stopped=True)
    assert ("the rest of the items", "stopped by the user") in report.not_measured
    assert all(line.gate is not Gate.PASS for line in report.lines if "E_resonance" in line.name)
    again = [ScriptedMode(right, name) for name in ("ref", "q8")]
    sources = [ModeSource(mode.name, "weights", 8.0, lambda mode=mode: mode) for mode in again]
    done = run_compare(replace(job, timing=False), sources, Runner(RunCache(kept)), embedder=FakeEmbedder())
    assert [len(mode.calls) for mode in again] == [0, 5]  # only what was missing
    assert [len(run.items) for run in done] == [8, 8]


def test_json_and_probes_by_mode():
    runs, verdicts = compared(source("ref", right), source("same", right), probed_items=1)
    assert runs[0].json_valid == (0, 3)
    assert verdicts[0].json_rate == 0.0
    assert list(runs[1].probes) == ["q0"]
    assert not isinstance(verdicts[0].convergent, NotScored)


def test_every_mode_is_let_go():
    modes = []

    def opened():
        modes.append(ScriptedMode(right))
        return modes[-1]

    run_compare(
        CompareJob(ITEMS[:1]),
        [ModeSource("a", "weights", 8.0, opened)] * 2,
        Runner(),
        embedder=FakeEmbedder(),
    )
    assert [mode.closed for mode in modes] == [True, True]


# --- gold sets ------------------------------------------------------------------------------------------


def test_gold_lines():
    gold = read_gold(
        [
            '{"id": "a", "question": "q?", "anchor": "text", "snippets": ["one", {"text": "two"}]}',
            '{"id": "a", "question": "again?"}',
            '{"question": "no id"}',
            "not json",
            '{"id": "c"}',
            '{"id": "d", "question": "q?", "anchor": ""}',
            "",
        ]
    )
    assert [item.id for item in gold.items] == ["a", "3"]
    assert gold.items[1].anchor is None
    assert len(gold.problems) == 4
    assert "line 2" in gold.problems[0]
    assert "used before" in gold.problems[0]
