"""Symptoms: the catalogue resolves, each detector fires on its fault and stays silent without it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from conftest import SHARED
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Finding, FindingKind, Severity, TurnRequest
from exllama_guard.grounding.similarity import distance_gate
from exllama_guard.probes.doctor.detectors import chat as chats
from exllama_guard.probes.doctor.detectors import files, model, text
from exllama_guard.probes.doctor.detectors.version_skew import (
    Installed,
    observe_templates,
    observe_versions,
    unresolved,
    wheel_tags,
)
from exllama_guard.probes.doctor.fix_pages import PAGES
from exllama_guard.probes.doctor.shape import bases_of
from exllama_guard.probes.doctor.symptoms import CATALOGUE, Stage, fired, observed, unobserved
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.measures.logit_drift import LogitDrift
from exllama_guard.probes.measures.repetition import repetition_of, topic_loss
from exllama_guard.probes.measures.resonance import resonance_trend
from exllama_guard.probes.measures.stability import RunState
from exllama_guard.testing import FakeEmbedder, scored

NONE = NotScored(Reason.NO_SNIPPETS)


# --- pages ----------------------------------------------------------------------------------------------


def test_every_symptom_names_pages_that_exist():
    for symptom in CATALOGUE.values():
        assert symptom.pages
        assert all(
            page.url.startswith("https://github.com/onestardao/WFGY/blob/main/ProblemMap/")
            for page in symptom.pages
        )
    assert len({page.url for page in PAGES.values()}) == len(PAGES)
    assert {"EX1", "EX2", "EX3", "EX4", "EX5"} <= set(CATALOGUE)


def listed_tails() -> set[str]:
    """URL tails of the study's catalogue; a cell `a/{b,c}.md` stands for a/b.md and a/c.md."""
    notes = SHARED / "source-notes.md"
    if not notes.is_file():
        pytest.skip(f"no study at {notes}")
    section = (
        notes.read_text(encoding="utf-8")
        .partition("## 7 Fix-page catalogue")[2]
        .partition("Do **not** emit")[0]
    )
    tails = set()
    for cell in re.findall(r"ProblemMap/[^\s|;]*\.md", section):
        group = re.search(r"\{([^}]*)\}", cell)
        names = group[1].split(",") if group else [""]
        tails |= {cell.replace(group[0], name) if group else cell for name in names}
    return tails


def test_every_page_is_one_of_the_study():
    tails = listed_tails()
    assert len(tails) > 40
    assert {page.url.partition("/blob/main/")[2] for page in PAGES.values()} <= tails


# --- routing --------------------------------------------------------------------------------------------


def test_what_lies_upstream_is_repaired_first():
    seen = fired(
        [
            observed("EC1", Gate.FAIL, ""),
            observed("RT3", Gate.FAIL, ""),
            observed("V1", Gate.REVIEW, ""),
            observed("PI2", Gate.FAIL, ""),
            observed("PC3", Gate.REVIEW, ""),
            observed("T1", Gate.PASS, ""),
            unobserved("EX5", NONE),
        ]
    )
    assert [one.symptom.id for one in seen] == ["PC3", "PI2", "V1", "RT3", "EC1"]
    assert [one.symptom.stage for one in seen] == sorted(one.symptom.stage for one in seen)
    assert fired(seen)[0].pages[0].id == "predeploy-collapse"
    assert fired([]) == ()
    assert Stage.BOOT < Stage.SCHEMA < Stage.RETRIEVAL < Stage.REASONING


def test_no_page_is_named_where_nothing_was_seen():
    assert observed("EX1", Gate.PASS, "").pages == ()
    assert unobserved("EX1", NONE).pages == ()
    assert observed("EX1", Gate.FAIL, "").pages[0].id == "bootstrap-ordering"


# --- model ----------------------------------------------------------------------------------------------

FLOOR = LogitDrift(0.001, 0.001, 0.0, 1.0, 100)


@pytest.mark.parametrize(
    ("found", "id_", "verdict"),
    [
        (model.first_run(1.6, True), "EX1", Gate.REVIEW),
        (model.first_run(1.5, True), "EX1", Gate.PASS),
        (model.first_run(1.0, False), "EX1", Gate.FAIL),
        (model.first_run(NONE, None), "EX1", Gate.NOT_MEASURED),
        (model.quantised_spike([0.2] * 8, [0.2] * 8, ("a", "b")), "EX2", Gate.FAIL),
        (model.quantised_spike([0.2] * 8, [0.35] * 8, ("a", "a")), "EX2", Gate.FAIL),
        (model.quantised_spike([0.2] * 8, [0.29] * 8, ("a", "a")), "EX2", Gate.PASS),
        (model.quantised_spike([0.2] * 3, [0.9] * 3, ("a", "a")), "EX2", Gate.NOT_MEASURED),
        (model.long_run(False, True, [], NONE), "EX3", Gate.FAIL),
        (model.long_run(True, False, [], NONE), "EX3", Gate.FAIL),
        (model.long_run(True, True, [0.2] * 5 + [0.4] * 5, NONE), "EX3", Gate.REVIEW),
        (model.long_run(True, True, [0.2] * 10, resonance_trend([0.2] * 10)), "EX3", Gate.PASS),
        (model.long_run(None, None, [], NONE), "EX3", Gate.NOT_MEASURED),
        (model.tool_schema(100, 99, 98, 0), "EX4", Gate.PASS),
        (model.tool_schema(100, 98, 98, 0), "EX4", Gate.FAIL),
        (model.tool_schema(100, 100, 97, 0), "EX4", Gate.FAIL),
        (model.tool_schema(100, 100, 100, 1), "EX4", Gate.FAIL),
        (model.tool_schema(0, 0, 0, 0), "EX4", Gate.NOT_MEASURED),
        (model.shards("a", "a", None, 0.0, 1.0), "EX5", Gate.PASS),
        (model.shards("a", "b", None, 0.0, 1.0), "EX5", Gate.REVIEW),
        (model.shards("a", "a", replace(FLOOR, kl=0.01), 0.001, 1.0), "EX5", Gate.FAIL),
        (model.shards("a", "a", replace(FLOOR, kl=0.003), 0.001, 1.0), "EX5", Gate.PASS),
        (model.shards("a", "a", None, 0.0, 121.0), "EX5", Gate.FAIL),
        (model.shards(None, "a", None, 0.0, None), "EX5", Gate.NOT_MEASURED),
        (model.json_of_modes((3, 3), (2, 3)), "V3", Gate.FAIL),
        (model.json_of_modes((3, 3), (3, 3)), "V3", Gate.PASS),
        (model.json_of_modes((0, 3), (0, 3)), "V3", Gate.REVIEW),
        (files.loader_against_reference(replace(FLOOR, kl=1.75, delta_nll=0.88), FLOOR), "V5", Gate.FAIL),
        (files.loader_against_reference(replace(FLOOR, kl=0.1), FLOOR), "V5", Gate.REVIEW),
        (files.loader_against_reference(replace(FLOOR, kl=0.0016), FLOOR), "V5", Gate.PASS),
        (files.loader_against_reference(NONE, NONE), "V5", Gate.NOT_MEASURED),
    ],
)
def test_model_detectors(found, id_, verdict):
    assert (found.symptom.id, found.verdict) == (id_, verdict), found.evidence
    assert found.evidence


@pytest.mark.parametrize(
    ("config", "verdict"),
    [
        ({"model_type": "llama", "rope_theta": 1e5}, Gate.PASS),
        ({"model_type": "llama", "rope_theta": 1e5, "rope_parameters": {"rope_theta": 1e5}}, Gate.PASS),
        ({"model_type": "llama", "rope_parameters": {"rope_theta": 1e5}}, Gate.PASS),
        ({"model_type": "llama", "rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e5}}, Gate.FAIL),
        ({"model_type": "llama", "rope_parameters": {"rope_theta": 1e4}}, Gate.PASS),
        ({"model_type": "llama"}, Gate.REVIEW),
        ({"model_type": "gpt2"}, Gate.NOT_MEASURED),
    ],
)
def test_rope_in_the_configuration(config, verdict):
    assert files.rope_config(config).verdict is verdict


def test_rope_that_another_base_reads_better():
    assert files.rope_fit(1e4, {1e4: 5.2, 1e5: 4.3}, 1000).verdict is Gate.FAIL
    assert "100000" in files.rope_fit(1e4, {1e4: 5.2, 1e5: 4.3}, 1000).evidence
    assert files.rope_fit(1e5, {1e4: 2.887, 1e5: 2.807, 5e5: 2.83}, 1000).verdict is Gate.PASS
    assert files.rope_fit(1e5, {}, 1000).verdict is Gate.NOT_MEASURED
    assert files.rope_fit(5e5, {5e5: 2.959, 1e5: 2.889, 1e4: 3.027}, 1000).verdict is Gate.FAIL


def test_the_base_of_a_reference_is_known_by_its_files():
    assert bases_of({"rope_theta": 1e5}) == {"": 1e5}
    assert bases_of({"rope_parameters": {"rope_theta": 5e5}}) == {"": 5e5}
    assert bases_of({"rope_scaling": None}) == {}
    wrong = files.rope_pair({"": 5e5}, {"": 1e5}, "by their files")
    assert wrong.verdict is Gate.FAIL
    assert "500000" in wrong.evidence and "100000" in wrong.evidence
    assert files.rope_pair({"": 1e5}, {"": 1e5}, "by their files").verdict is Gate.PASS


def test_tokenizers():
    assert files.vocabulary(100, 100).verdict is Gate.FAIL
    assert files.vocabulary(100, 99).verdict is Gate.PASS
    assert files.vocabulary(100, 50).verdict is Gate.REVIEW
    assert files.vocabulary(None, 1).verdict is Gate.NOT_MEASURED
    assert files.tokenizer_pair("a", "b", None).verdict is Gate.REVIEW
    assert files.tokenizer_pair("a", "b", ((1, 2), (1, 2))).verdict is Gate.PASS
    assert "from id 1" in files.tokenizer_pair("a", "b", ((1, 2), (1, 3))).evidence
    assert files.plain_english(9.5).verdict is Gate.FAIL
    assert files.plain_english(3.5).verdict is Gate.PASS


# --- versions -------------------------------------------------------------------------------------------


def test_wheel_tags():
    assert wheel_tags("0.3.2+cu128.torch2.8.0") == {"torch": "2.8", "cuda": "12.8"}
    assert wheel_tags("2.8.3+cu12torch2.7cxx11abiFALSE")["torch"] == "2.7"
    assert wheel_tags("0.3.2") == {}


@pytest.mark.parametrize(
    ("installed", "verdict", "part"),
    [
        (Installed(None), Gate.NOT_MEASURED, "torch is not installed"),
        (Installed("2.8.0+cu128", "12.8", "12.9", {"exllamav2": "0.2.8+cu128.torch2.8.0"}), Gate.PASS, "fit"),
        (
            Installed("2.8.0+cu128", "12.8", "12.9", {"exllamav2": "0.3.2+cu128.torch2.8.0"}),
            Gate.REVIEW,
            "causal mask",
        ),
        (
            Installed("2.9.0+cu128", "12.8", None, {"exllamav2": "0.3.2+cu128.torch2.8.0"}),
            Gate.FAIL,
            "torch 2.8",
        ),
        (
            Installed("2.8.0+cu118", "11.8", None, {"exllamav3": "1.0+cu128.torch2.8.0"}),
            Gate.FAIL,
            "CUDA 12.8",
        ),
        (Installed("2.8.0+cpu", None, None, {"exllamav3": "1.0+cu128.torch2.8.0"}), Gate.FAIL, "CPU build"),
        (Installed("2.8.0", "12.8", "12.4"), Gate.FAIL, "update the driver"),
        (
            Installed("2.8.0", "12.8", None, {}, {"exllamav2": "no exllamav2_ext"}),
            Gate.FAIL,
            "cannot be imported",
        ),
        (Installed("2.11.0", "13.0", None, {"exllamav2": "0.3.2"}), Gate.REVIEW, "EXLLAMA_NO_SDPA=1"),
        (Installed("2.11.0", "13.0", None, {"exllamav2": "0.3.2"}, no_sdpa=True), Gate.PASS, "fit"),
        (Installed("2.11.0", "13.0", None, {"exllamav2": "0.3.2", "flash-attn": "2.8"}), Gate.PASS, "fit"),
    ],
)
def test_version_skew(installed, verdict, part):
    found = observe_versions(installed)
    assert found.verdict is verdict
    assert part in found.evidence


def test_unresolved_template_variables():
    assert unresolved("Hello {{ name }} and ${user} {{ name }} {% if x %}") == (
        "{{ name }}",
        "${user}",
        "{% if x %}",
    )
    assert unresolved("a dict {'a': {'b': 1}} and $5") == ()
    assert observe_templates("What does {{ x }} do?", ("What does {{ x }} do?",)).verdict is Gate.PASS
    assert observe_templates("System: {{ char }}").verdict is Gate.FAIL


# --- answers --------------------------------------------------------------------------------------------


LIMITS = RetrievalLimits()


def turn(
    answer,
    snippets=("The cache holds 8192 tokens.",),
    question="How many tokens does the cache hold?",
    **more,
):
    made = tuple(make_snippet(s, position=i) for i, s in enumerate(snippets))
    request = TurnRequest("t", question, made, **more)
    return scored(request, answer)


def seen(report):
    return {one.symptom.id: one.verdict for one in text.observe_turn(report, LIMITS)}


def test_a_good_answer_shows_nothing():
    found = seen(turn("The cache holds 8192 tokens [s1]."))
    assert all(verdict in (Gate.PASS, Gate.NOT_MEASURED) for verdict in found.values()), found


def test_missing_citation_and_orphans():
    assert seen(turn("The cache holds 8192 tokens."))["V1"] is Gate.REVIEW
    assert seen(turn("Penguins like fish."))["RT1"] is Gate.FAIL
    assert seen(turn("Penguins like fish.", snippets=()))["V1"] is Gate.NOT_MEASURED


@pytest.mark.parametrize(
    ("kind", "severity", "contradicted"),
    [
        (FindingKind.NUMBER, Severity.CONFLICT, True),
        (FindingKind.VERIFIER, Severity.GAP, True),
        (FindingKind.NOT_FOUND, Severity.GAP, False),
    ],
)
def test_a_sentence_that_a_snippet_contradicts_leads_to_that_snippet(kind, severity, contradicted):
    report = turn("Penguins like fish.")
    found = Finding(kind, severity, "The answer says fish; snippet s1 says krill.", None, "s1")
    claims = tuple(replace(claim, findings=(found,)) for claim in report.support.claims)
    told = {
        one.symptom.id: one
        for one in text.observe_turn(replace(report, support=replace(report.support, claims=claims)), LIMITS)
    }
    fails, silent = ("IC1", "RT1") if contradicted else ("RT1", "IC1")
    assert (told[fails].verdict, told[silent].verdict) == (Gate.FAIL, Gate.PASS)
    assert ("krill" in told["IC1"].evidence) is contradicted
    assert told["IC1"].symptom.pages[0].title == "Interpretation collapse"


def near_or_far(distance, limits, anchor=None):
    """The gate of a turn under these limits, and what the doctor says of the same values."""
    report = turn("The cache holds 8192 tokens [s1].", anchor=anchor)
    context = replace(report.distances.question_context, top1=distance, cited=distance)
    distances = replace(report.distances, question_context=context, context_anchor=distance)
    gate = distance_gate(distance, limits.distance_pass, limits.distance_fail)
    coverage = replace(report.coverage, coverage=0.45)
    report = replace(report, distances=distances, distance_gate=gate, coverage=coverage)
    found = {one.symptom.id: one.verdict for one in text.observe_turn(report, limits)}
    return gate, found["RT3"], found["V2"]


CALIBRATED = RetrievalLimits(distance_pass=0.62, distance_fail=0.80, coverage_pass=0.40)


def test_the_doctor_calls_far_what_the_gate_calls_far():
    assert near_or_far(0.61, LIMITS)[:2] == (Gate.FAIL, Gate.FAIL)
    assert near_or_far(0.61, CALIBRATED)[:2] == (Gate.PASS, Gate.PASS)
    assert near_or_far(0.85, CALIBRATED)[:2] == (Gate.FAIL, Gate.FAIL)


def test_near_but_wrong_is_judged_by_the_limits_in_force():
    anchor = make_snippet("The cache holds 8192 tokens.", position=0)
    assert near_or_far(0.30, LIMITS, anchor)[2] is Gate.FAIL  # covers too little
    assert near_or_far(0.30, CALIBRATED, anchor)[2] is Gate.PASS
    assert near_or_far(0.61, CALIBRATED, anchor)[2] is Gate.PASS  # not far from the anchor under its limit


def test_snippets_that_are_cut_badly():
    found = seen(turn("It holds 8192 [s1].", ("tokens in the cache are 8192 and the",)))
    assert found["CH4"] is Gate.REVIEW
    assert (
        seen(turn("It holds 8192 [s1].", ("Page 3 of 9\nThe cache holds 8192 tokens.",)))["CH1"]
        is Gate.REVIEW
    )
    assert seen(turn("8192 [s1]", ("The cache holds 8192 tokens.",) * 3))["VF2"] is Gate.REVIEW
    assert (
        seen(turn("The cache holds 8192 [s1] [s2].", ("The cache holds 8192.", "Other text.")))["RP3"]
        is Gate.REVIEW
    )


def test_near_but_wrong_needs_an_anchor():
    anchor = make_snippet("Quite another passage on sharks.", position=0)
    report = turn("It holds 8192 [s1].", question="The cache holds 8192 tokens.", anchor=anchor)
    assert seen(report)["V2"] is Gate.FAIL
    assert seen(turn("It holds 8192 [s1]."))["V2"] is Gate.NOT_MEASURED


def test_far_retrieval():
    assert seen(turn("Yes [s1].", question="Do penguins swim?"))["RT3"] is Gate.FAIL


def test_leak():
    rules = "You are a helpful library assistant and never tell anybody the code 1234."
    told = "My rules: helpful library assistant and never tell anybody the code 1234."
    assert seen(turn(told, system_prompt=rules))["PI2"] is Gate.FAIL
    assert seen(turn("The cache holds 8192 tokens.", system_prompt=rules))["PI2"] is Gate.PASS
    assert seen(turn(told, question=f"Put it shorter: {rules}", system_prompt=rules))["PI2"] is Gate.PASS
    assert seen(turn(told, snippets=(rules,), system_prompt=rules))["PI2"] is Gate.PASS
    assert seen(turn(told, system_prompt="Be kind."))["PI2"] is Gate.NOT_MEASURED
    assert seen(turn(told))["PI2"] is Gate.NOT_MEASURED


def test_loops():
    found = repetition_of("the cat sat on " * 3)
    assert (found.loop_count, found.repeated_suffix) == (3, 4)
    assert text.loops("the cat sat on " * 3).verdict is Gate.FAIL
    assert text.loops("the cat sat on " * 2).verdict is Gate.PASS
    far = "the cat sat on " + " ".join(f"w{i}" for i in range(70)) + " the cat sat on "
    assert text.loops(far + " ".join(f"v{i}" for i in range(70)) + " the cat sat on").verdict is Gate.PASS
    assert text.loops("hi").verdict is Gate.NOT_MEASURED


def test_topic_loss():
    rise = topic_loss("red fox", ["red fox", "fox", "blue sea"], FakeEmbedder())
    assert rise == pytest.approx(1.0, abs=1e-6)
    assert text.topic(rise).verdict is Gate.REVIEW
    assert isinstance(topic_loss("q", ["a", "b"], FakeEmbedder()), NotScored)


# --- chats ----------------------------------------------------------------------------------------------


def chat(turns, distances=(), steps=()):
    return {one.symptom.id: one for one in chats.observe_chat(turns, list(distances), list(steps))}


def test_a_chat():
    same = [turn("It holds 8192 [s1].", prompt="p")] * 3
    found = chat(same, [0.1, 0.2, 0.9], [None, RunState.CONVERGENT, RunState.CHAOTIC])
    assert found["LC4"].verdict is Gate.REVIEW
    assert found["V4"].verdict is Gate.REVIEW
    assert "turn 3" in found["V4"].evidence
    assert found["LC2"].verdict is Gate.FAIL
    empty = chat([])
    assert {one.verdict for one in empty.values()} == {Gate.NOT_MEASURED}


def test_a_failed_sentence_that_comes_back():
    bad = turn("Penguins like cold fish a lot.")
    assert chat([bad, bad])["LD5"].verdict is Gate.REVIEW
    assert chat([bad, turn("The cache holds 8192 tokens.")])["LD5"].verdict is Gate.PASS


def test_one_snippet_for_everything():
    turns = [turn("Yes [s1].", question=f"Question number {i}?") for i in range(5)]
    assert chat(turns)["CH2"].verdict is Gate.REVIEW


def test_several_users():
    assert chats.several_users(0.3, 0.7, LIMITS).verdict is Gate.FAIL
    assert chats.several_users(0.3, 0.5, LIMITS).verdict is Gate.PASS


def beside(report, others, distance):
    context = replace(report.distances.answer_context, min=distance)
    return replace(report, beside=others, distances=replace(report.distances, answer_context=context))


def test_users_at_once_are_measured_where_one_question_was_answered_alone_and_beside_another():
    one = turn("The cache holds 8192 tokens.")
    other = turn("The cache holds 8192 tokens.", question="Another one?")
    assert chats.users_at_once([], LIMITS).verdict is Gate.NOT_MEASURED
    apart = [beside(one, 0, 0.1), beside(other, 2, 0.9)]
    assert "alone and while another reply ran" in chats.users_at_once(apart, LIMITS).evidence
    bad = chats.users_at_once([*apart, beside(one, 1, 0.8)], LIMITS)
    assert (bad.verdict, bad.inputs["alone"], bad.inputs["together"]) == (Gate.FAIL, 0.1, 0.8)
    assert chats.users_at_once([*apart, beside(one, 1, 0.15)], LIMITS).verdict is Gate.PASS
