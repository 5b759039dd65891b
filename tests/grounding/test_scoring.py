"""The verdict of a turn: support decides, a far retrieval makes a pass a review, reasons come in order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.snippets import Span, make_snippet
from exllama_guard.core.turns import (
    AnchorKind,
    ClaimKind,
    ClaimSupport,
    Evidence,
    Finding,
    FindingKind,
    Finish,
    Severity,
    SupportReport,
    TurnRequest,
)
from exllama_guard.grounding.scoring import Limits, score_turn
from exllama_guard.testing import FakeEmbedder

NEAR = make_snippet("how many tokens does the cache hold", position=0)
FAR = make_snippet("bananas are yellow", position=0)


class Scripted:
    """A scorer that always gives one report."""

    def __init__(self, report):
        self.report = report

    def prepare(self):
        return iter(())

    def score(self, answer, *, final):
        return self.report


def claim(support, gate, *messages, text="The cache.", severity=Severity.CONFLICT):
    findings = tuple(Finding(FindingKind.NUMBER, severity, message) for message in messages)
    evidence = Evidence("s1", Span(0, 3), "how", 0.5)
    return ClaimSupport(text, Span(0, len(text)), ClaimKind.CLAIM, support, gate, evidence, findings)


def verdict(report, *, snippet=NEAR, finish=Finish.COMPLETE, **more):
    request = TurnRequest("t", "how many tokens does the cache hold", (snippet,), **more)
    return score_turn(
        request,
        "The cache.",
        finish,
        scorer=Scripted(report),
        embedder=FakeEmbedder(),
        limits=Limits(),
    )


PASSED = SupportReport(0.9, Gate.PASS, True, (claim(0.9, Gate.PASS),))


def test_support_decides():
    assert verdict(PASSED).verdict.gate is Gate.PASS
    failed = SupportReport(0.1, Gate.FAIL, False, (claim(0.1, Gate.FAIL, "4096, not 8192."),))
    assert verdict(failed).verdict.gate is Gate.FAIL
    assert verdict(failed).verdict.reasons == ("4096, not 8192.",)


def test_a_far_retrieval_turns_a_pass_into_a_review_and_leaves_a_fail():
    assert verdict(PASSED, snippet=FAR).verdict.gate is Gate.REVIEW
    first, *others = verdict(PASSED, snippet=FAR).verdict.reasons  # what decided stands first
    assert "far from the retrieved text" in first
    assert others == ["The one statement is supported by the snippets."]
    failed = replace(PASSED, support=0.1, gate=Gate.FAIL)
    assert verdict(failed, snippet=FAR).verdict.gate is Gate.FAIL


def test_what_was_not_measured_is_never_a_pass_and_says_one_thing():
    nothing = SupportReport(NotScored(Reason.NO_CLAIMS), Gate.NOT_MEASURED)
    shown = verdict(nothing, snippet=FAR).verdict
    assert shown.gate is Gate.NOT_MEASURED
    assert len(shown.reasons) == 1


def test_the_worst_sentence_speaks_first_then_other_conflicts():
    worst = claim(0.1, Gate.FAIL, "first")
    other = claim(0.6, Gate.REVIEW, "second")
    note = claim(0.7, Gate.REVIEW, "unsaid", severity=Severity.NOTE)
    report = SupportReport(0.1, Gate.FAIL, False, (other, note, worst))
    assert verdict(report).verdict.reasons == ("first", "second")


def test_a_sentence_without_a_finding_is_quoted():
    report = SupportReport(0.1, Gate.FAIL, False, (claim(0.1, Gate.FAIL, text="word " * 60),))
    (reason,) = verdict(report).verdict.reasons
    assert reason.startswith("Not in the documents, as far as they were read: “word word")
    assert len(reason) < 180


@pytest.mark.parametrize(("anchor", "kind"), [(None, AnchorKind.PROXY), (NEAR, AnchorKind.GIVEN)])
def test_an_anchor_is_given_or_marked_as_a_stand_in(anchor, kind):
    report = verdict(PASSED, anchor=anchor)
    assert report.coverage.anchor_kind is kind
    assert report.distances.answer_anchor == pytest.approx(report.distances.answer_context.top1)
