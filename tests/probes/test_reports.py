"""Reports: each form holds the same verdicts, no foreign markup, and the file needs nothing else."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import TurnRequest
from exllama_guard.probes.doctor.checkup import checkup_of
from exllama_guard.probes.doctor.symptoms import observed
from exllama_guard.probes.gold import GoldItem
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.measures.replay import replay_of
from exllama_guard.probes.measures.verification import item_result, measure_form, overall
from exllama_guard.probes.reports.probe import compare_report, lambda_report
from exllama_guard.probes.reports.use import chat_report, checkup_report, replay_report, verify_report
from exllama_guard.report.html import as_html
from exllama_guard.report.json import as_json
from exllama_guard.report.markdown import as_markdown
from exllama_guard.testing import FakeEmbedder, scored
from exllama_guard.trace.record import record_of
from probe_material import EVIL, judged, mode_run


def turn(number, answer="The cache holds 8192 tokens [s1].", prompt="p"):
    made = (make_snippet("The cache holds 8192 tokens.", position=0),)
    request = TurnRequest(
        f"t{number}", f"Question {number}? {EVIL}", made, prompt=prompt, started_at_s=float(number)
    )
    return scored(request, answer)


REPORTS = {
    "lambda": lambda: lambda_report(judged(), ("a?", "b?", "c?"), {"torch": "2"}),
    "compare": lambda: compare_report(
        [mode_run("ref"), mode_run("bad", 0.5), mode_run("q2", problem="no file")], {}
    ),
    "checkup": lambda: checkup_report(checkup_of([observed("EX1", Gate.FAIL, EVIL)]), {}),
    "chat": lambda: chat_report([turn(i) for i in range(12)], {"model": EVIL}),
    "empty chat": lambda: chat_report([], {}),
    "replay": lambda: replay_report(
        [replay_of([record_of(turn(1))], [record_of(turn(1, prompt="q"))], "on")], {}
    ),
}


class Reader(HTMLParser):
    """Notes tags, and attributes that would fetch something."""

    def __init__(self):
        super().__init__()
        self.tags, self.fetched = set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.fetched += [
            (tag, value) for name, value in attributes if name in {"src", "srcset", "data"} and value
        ]
        self.fetched += [(tag, value) for name, value in attributes if name == "href" and tag != "a"]


@pytest.mark.parametrize("name", REPORTS)
def test_every_form_holds_the_verdicts_and_no_foreign_markup(name):
    report = REPORTS[name]()
    page = as_html(report)
    reader = Reader()
    reader.feed(page)
    assert "script" not in reader.tags
    assert reader.fetched == []
    assert "url(" not in page
    data = json.loads(json.dumps(as_json(report), allow_nan=False))
    text = as_markdown(report)
    for line, plain in zip(report.lines, data["verdicts"], strict=True):
        assert plain["verdict"] == line.gate.value
        assert line.gate.value.replace("_", " ") in page
        assert line.gate.value in text
    assert len(data["not_measured"]) == len(report.not_measured)
    for table in report.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_the_comparison_draws_each_measured_mode_and_names_the_others():
    report = REPORTS["compare"]()
    assert [line.gate for line in report.lines] == [
        Gate.FAIL,  # E_resonance
        Gate.FAIL,  # drift
        Gate.PASS,  # forced text
        Gate.FAIL,  # EX2
        Gate.PASS,  # V3
        Gate.NOT_MEASURED,  # the mode without a file
    ]
    assert report.lines[3].url.endswith("embedding-vs-semantic.md")
    assert [one.name for one in report.charts[0].ranges] == ["bad"]
    assert ("q2", "no file") in report.not_measured
    assert "<svg" in as_html(report)


def test_a_chat_has_its_slope_or_says_why_not():
    assert "E_resonance" in [line.name for line in REPORTS["chat"]().lines]
    assert REPORTS["empty chat"]().not_measured[0][0] == "slope of E_resonance"


def test_replay_finds_the_changed_prompt_and_the_lost_citation():
    first = [record_of(turn(i)) for i in range(3)]
    second = [record_of(turn(0)), record_of(turn(1, "It holds 8192 tokens.", "other"))]
    found = replay_of(first, second, "web search")
    verdicts = {one.symptom.id: one.verdict for one in found.observations}
    assert verdicts == {"T1": Gate.REVIEW, "T2": Gate.FAIL}
    assert (len(found.turns), found.only_before, found.only_after, found.flips) == (2, 1, 0, 1)
    same = replay_of(first, first, "x")
    assert {one.verdict for one in same.observations} == {Gate.PASS}
    nothing = replay_of(first, [], "x")
    assert {one.verdict for one in nothing.observations} == {Gate.NOT_MEASURED}


# --- verify ---------------------------------------------------------------------------------------------

ANCHOR = make_snippet("The cache holds 8192 tokens.", position=0)
FAR = make_snippet("Penguins swim in cold oceans every winter.", position=1)


def verified(item, snippets, answer=None, planned=3):
    forms = [
        measure_form(item, form, snippets, answer, embedder=FakeEmbedder(), limits=RetrievalLimits())
        for form in ("The cache holds how many tokens?",) * 3
    ]
    return item_result(item, forms, planned)


def test_all_three_forms_must_pass():
    item = GoldItem("a", "q", ANCHOR)
    assert verified(item, (ANCHOR,)).gate is Gate.PASS
    assert verified(item, (FAR,)).gate is Gate.FAIL
    assert verified(item, (ANCHOR,), planned=4).gate is Gate.NOT_MEASURED


def test_an_item_without_an_anchor_or_snippets_is_never_a_pass():
    assert verified(GoldItem("a", "q"), (ANCHOR,)).gate is Gate.NOT_MEASURED
    assert verified(GoldItem("a", "q", ANCHOR), ()).gate is Gate.NOT_MEASURED
    assert overall([]) is Gate.NOT_MEASURED


def test_what_is_cited_counts_where_an_answer_cites():
    item = GoldItem("a", "q", ANCHOR)
    assert verified(item, (FAR, ANCHOR), "The cache holds 8192 tokens [s1].").gate is Gate.PASS
    wrong = verified(item, (ANCHOR, FAR), "It swims [s2].")
    assert wrong.gate is Gate.FAIL
    report = verify_report([wrong], ["line 3 is not JSON"], {}, planned=2)
    assert report.lines[0].gate is Gate.FAIL
    assert len(report.not_measured) == 2
