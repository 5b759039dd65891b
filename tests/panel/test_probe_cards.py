"""The Probes and Doctor tabs: what they show, what their buttons do, and that Cancel ends the work."""

from __future__ import annotations

import html
import json
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from exllama_guard.commands import compare
from exllama_guard.core.turns import Reader
from exllama_guard.errors import UserError
from exllama_guard.lifecycle import LifecycleSnapshot
from exllama_guard.lifecycle.fence import FenceState
from exllama_guard.monitor import Monitor
from exllama_guard.panel.card import Visitor
from exllama_guard.panel.desk import Desk
from exllama_guard.panel.model import markup as markup_model
from exllama_guard.panel.model.rows import model_rows
from exllama_guard.panel.report.rows import report_rows
from exllama_guard.probes.compare_command import Comparison
from exllama_guard.probes.desk import ProbeDesk
from exllama_guard.testing import FakeBackend
from hypothesis import given
from hypothesis import strategies as st
from panel.scripted import BAD, GOOD, QUESTION, run_turn, scripted_monitor
from panel.scripted_probes import probes_over
from panel.test_desk import Client, act

COMPARE = Path(__file__).parents[2] / "extensions/exllama_guardrails/docs/examples/compare.json"
GOLD = '{"question": "After how many tokens?", "anchor": "The KV cache is rotated after 8192 tokens."}'


@pytest.fixture
def monitor() -> Monitor:
    return scripted_monitor()


def client_of(monitor: Monitor, probes: ProbeDesk | None, tab: str, visitor: Visitor | None = None) -> Client:
    desk = Desk(monitor, lifecycle=lambda: None, probes=lambda: probes)
    return Client(desk, visitor or Visitor(None, "session-1"), tab)


def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def test_before_the_first_answer_each_card_says_what_to_do(monitor):
    probes, doctor = (client_of(monitor, probes_over(monitor), tab) for tab in ("probes", "doctor"))
    probes.ask()
    doctor.ask()
    assert "Type a question" in probes.html["probe"]
    assert "gold set" in probes.html["gold"].casefold()
    assert "No models were found" in probes.html["compare"]
    assert "No answer to diagnose yet" in doctor.html["prompt"]
    assert "Start the checkup" in doctor.html["checkup"]


def test_before_the_host_has_made_the_probes_the_tabs_say_so_and_no_button_fails(monitor):
    for tab, place in (("probes", "probe"), ("doctor", "findings")):
        client = client_of(monitor, None, tab)
        client.ask(act("probe", form_0="Why?"))
        assert "reload the page" in client.html[place]
        assert "try again" in str(client.last["say"])


def test_a_long_chat_is_shown_by_turn_with_its_slope_and_what_that_means(monitor):
    client = client_of(monitor, probes_over(monitor), "time")
    client.ask()
    assert client.html["long"] == ""
    run_turn(monitor, 1, "It is so and it is so and it is so and it is so and it is so.")
    client.ask()
    assert (
        "Slope of E_resonance not measured: a slope needs 8 turns, there is 1 so far." in client.html["long"]
    )
    assert "loop" in client.html["long"] and "<i" in client.html["long"]
    assert "not measured: this turn or the one before has no ΔS" in client.html["long"]
    for number in range(2, 11):
        run_turn(monitor, number, GOOD)
    client.ask()
    shown = client.html["long"]
    assert "E_resonance is" in shown and "over 10 turns" in shown
    assert shown.index(">10<") < shown.index(">1<")  # the newest first
    assert shown.count("data-act='turn'") == 10


def test_every_button_that_the_diagnostic_prompt_offers_is_in_the_tab_that_it_names(monitor):
    run_turn(monitor, 1, BAD)
    client = client_of(monitor, probes_over(monitor), "doctor")
    client.ask()
    loaded = LifecycleSnapshot(FenceState.WARM, name="m", card=FakeBackend().card())
    shown = {"Doctor": client.html["prompt"], "Model": str(markup_model.drift(model_rows(loaded)))}
    offered = re.findall(r"press “([^”]+)” in the (\w+) tab", client.html["prompt"])
    assert {tab for _, tab in offered} == set(shown)
    for label, tab in offered:
        assert f">{label}</button>" in shown[tab]
    assert "<p>Page for EX1 First run slower or unstable: <a " in client.html["prompt"]


def test_a_slow_embedder_does_not_hold_the_page_and_the_rest_follows(monitor, monkeypatch):
    from exllama_guard.probes import long_view

    for number in range(1, 4):
        run_turn(monitor, number, "One is so. Two is so. Three is so.")
    monkeypatch.setattr(long_view, "_WITHIN_S", 0.0)
    client = client_of(monitor, probes_over(monitor), "time")
    client.ask()
    assert client.last["busy"] is True
    assert "being measured" in client.html["long"]
    monkeypatch.setattr(long_view, "_WITHIN_S", 5.0)
    client.ask()
    assert "busy" not in client.last
    assert "being measured" not in client.html["long"]


def test_edited_forms_are_asked_and_the_grid_shows_answers_groups_verdict_and_numbers(monitor):
    run_turn(monitor, 1, BAD)
    probes = probes_over(monitor)
    client = client_of(monitor, probes, "probes")
    client.ask()
    assert client.html["probe"].count("<textarea") == 3
    assert QUESTION.split(",")[0] in client.html["probe"]
    client.ask(act("probe", form_0=QUESTION, form_1="Edited one?", form_2="Edited two?", strict=True))
    until(lambda: not probes.probe_state(Reader()).running)
    client.ask()
    shown = client.html["agreement"]
    assert "Edited one?" in shown
    assert shown.count("data-label='Seed 1'") == 3
    assert "says something else" in shown and "Meaning B" in shown
    for name in ("Lower bound", "Spread of meaning", "Different answers"):
        assert name in shown
    assert "Pass" not in shown  # strict: one of six is not enough
    client.ask(act("save-report", what="probe", kind="html"))
    assert "Edited two?" in client.last["file"]["text"]


def test_equal_forms_are_refused_with_what_to_change(monitor):
    run_turn(monitor, 1, BAD)
    client = client_of(monitor, probes_over(monitor), "probes")
    client.ask(act("probe", form_0="Why?", form_1="Why?"))
    assert "equal" in str(client.last["say"])


def test_a_question_of_ones_own_is_asked_in_forms_made_from_it(monitor):
    probes = probes_over(monitor)
    client = client_of(monitor, probes, "probes")
    client.ask(act("probe", form_0="How long is the bridge?"))
    until(lambda: not probes.probe_state(Reader()).running)
    client.ask()
    assert client.html["agreement"].count("scope='row'") == 3


def test_cancel_ends_the_writing_and_not_only_its_display(monitor):
    run_turn(monitor, 1, BAD)
    probes = probes_over(monitor, word_s=0.05)
    client = client_of(monitor, probes, "probes")
    client.ask(act("probe", form_0=QUESTION, form_1="b", form_2="c"))
    until(lambda: probes._parts.generator.words > 3)
    client.ask()
    assert "role='progressbar'" in client.html["probe"]
    assert client.last["busy"] is True
    client.ask(act("stop-probe"))
    until(lambda: not probes.probe_state(Reader()).running, within_s=1.0)
    written = probes._parts.generator.words
    assert written < 24
    time.sleep(0.2)
    assert probes._parts.generator.words == written


def test_what_another_user_runs_is_not_shown(monitor):
    run_turn(monitor, 1, BAD, reader=Reader(username="ann"))
    probes = probes_over(monitor)
    ann = client_of(monitor, probes, "probes", Visitor("ann", "s1"))
    ann.ask(act("probe", form_0=QUESTION, form_1="Edited by Ann?", form_2="c"))
    until(lambda: not probes.probe_state(Reader(username="ann")).running)
    ann.ask()
    bob = client_of(monitor, probes, "probes", Visitor("bob", "s2"))
    bob.ask()
    assert "Edited by Ann" in ann.html["agreement"]
    assert "Edited by Ann" not in "".join(bob.html.values())
    assert QUESTION.split(",")[0] not in bob.html["probe"]


def test_the_doctor_names_what_was_seen_and_what_was_not_measured_with_the_reason(monitor):
    probes = probes_over(monitor)
    client = client_of(monitor, probes, "doctor")
    client.ask()
    assert "First run slower" in client.html["findings"]
    client.ask(act("doctor"))
    until(lambda: not probes.doctor_state(Reader()).running)
    client.ask()
    assert "Repair first" in client.html["checked-up"]
    assert "Not measured" in client.html["checked-up"]
    assert "needs two modes" in client.html["checked-up"]
    assert "First run slower" in client.html["checked-up"]
    assert "First run slower" not in client.html["findings"]  # it stands once, in the newer list
    assert "All of it stands in the checkup" in client.html["findings"]
    client.ask(act("save-report", what="doctor", kind="md"))
    assert "First run slower" in client.last["file"]["text"]


def test_the_diagnostic_prompt_is_filled_and_given_to_be_copied(monitor):
    run_turn(monitor, 1, BAD)
    client = client_of(monitor, probes_over(monitor), "doctor")
    client.ask()
    assert "4096" in client.html["prompt"]
    assert "Send into the chat" in client.html["prompt"]
    client.ask(act("diagnose", turn="turn-1"))
    assert "4096" in str(client.last["copy"])
    other = client_of(monitor, probes_over(monitor), "doctor", Visitor("bob", "s2"))
    other.ask(act("diagnose", turn="turn-1"))
    assert "4096" not in json.dumps(other.last)


def test_what_the_prompt_lacks_is_measured_on_request(monitor):
    run_turn(monitor, 1, BAD)
    probes = probes_over(monitor)
    client = client_of(monitor, probes, "doctor")
    client.ask()
    before = client.html["prompt"]
    client.ask(act("measure-missing", turn="turn-1"))
    until(lambda: not probes.probe_state(Reader()).running)
    client.ask()
    assert client.html["prompt"] != before
    assert "5 of 6" in client.html["prompt"]


def test_a_replay_without_another_extension_says_what_to_do(monitor):
    run_turn(monitor, 1, BAD)
    client = client_of(monitor, probes_over(monitor), "probes")
    client.ask(act("replay"))
    assert "No other extension" in str(client.last["say"])
    assert "Ask again" in client.html["replay"]
    client.ask(act("stop-replay"))
    assert "Stopping" in str(client.last["say"])


def test_a_gold_set_is_run_and_a_wrong_file_is_refused_with_a_reason(monitor):
    probes = probes_over(monitor)
    client = client_of(monitor, probes, "probes")
    client.ask(act("verify", text="no json", answers=False))
    assert "no usable question" in str(client.last["say"])
    client.ask(act("verify", text=GOLD, answers=True))
    until(lambda: not probes.verify_state(Reader()).running)
    client.ask()
    assert "After how many tokens" in client.html["golded"] or "eg-report" in client.html["golded"]


def test_picked_modes_become_the_command_and_the_last_report_is_shown(monitor, tmp_path):
    model = tmp_path / "models" / "A model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    gold, report = tmp_path / "gold.jsonl", tmp_path / "compare.json"
    gold.write_text(GOLD)
    desk = probes_over(monitor, comparison=Comparison(report, lambda: tmp_path / "models"))
    client = client_of(monitor, desk, "probes")
    client.ask()
    assert "A model" in client.html["compare"]
    picked = {"model_0": str(model), "model_1": str(model), "precision_1": "int8", "model_2": ""}
    client.ask(act("compare", **picked, gold="nowhere"))
    assert "no gold set" in client.last["say"]
    client.ask(act("compare", model_0=str(model), precision_0="int8", gold=str(gold)))
    assert "1 modes are picked" in client.last["say"]
    client.ask(act("compare", **picked | {"precision_1": "float32"}, gold=str(gold)))
    assert "the same" in client.last["say"]
    client.ask(act("compare", **picked, gold=str(gold)))
    command = html.unescape(re.search(r"data-command[^>]*>([^<]*)<", client.html["compare"])[1])
    words = shlex.split(command)
    assert words[:3] == ["python3", "extensions/exllama_guardrails", "compare"]
    given = compare._parser().parse_args(words[3:])
    assert given.mode == [f"A model float32={model}@float32", f"A model int8={model}@int8"]
    assert given.gold == gold
    assert client.html["opened"] == ""
    given.json.write_text(COMPARE.read_text("utf-8"))
    client.ask()
    assert "The last comparison" in client.html["opened"]
    seen = desk.comparison.observed()
    assert {one.symptom.id for one in seen} == {"EX2", "V3"}
    assert all("compared on 20" in one.evidence for one in seen)
    other = client_of(monitor, desk, "probes", Visitor("ben", "session-2"))
    other.ask()
    assert other.html["opened"] == ""
    for text in ('{"verdicts": [1, {"name": "a: EX2", "verdict": []}]}', "[]", "{"):
        given.json.write_text(text)
        assert desk.comparison.observed() == ()
    client.ask()
    assert client.html["opened"] == ""


def test_a_compare_report_is_opened_shown_and_closed_by_its_reader_alone(monitor):
    desk = Desk(monitor, lifecycle=lambda: None, probes=lambda: None)
    ann, bob = (Client(desk, Visitor(name, name), "probes") for name in ("ann", "bob"))
    ann.ask(act("open-report", name="compare.json", text=COMPARE.read_text("utf-8")))
    assert "E_resonance" in ann.html["opened"]
    assert "int4" in ann.html["opened"]
    bob.ask()
    assert bob.html["opened"] == ""
    ann.ask(act("close-report"))
    assert ann.html["opened"] == ""
    ann.ask(act("open-report", name="x.json", text='{"title": "no verdicts"}'))
    assert "x.json is no report" in str(ann.last["say"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["verdicts", "tables", "rows", "name", "verdict", "title", "not_measured"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_file_breaks_the_reader_of_reports(value):
    try:
        rows = report_rows(json.dumps(value), "file")
    except UserError:
        return
    assert rows.verdicts
    assert all(len(row) == len(table.columns) for table in rows.tables for row in table.rows)
