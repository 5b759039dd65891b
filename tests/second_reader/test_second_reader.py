"""A model has a say only where it has shown that it can read; one that cannot never changes a verdict."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exllama_guard.backends.fake import FakeBackend
from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.core.turns import Finding, FindingKind, Severity
from exllama_guard.errors import BackendError, Stopped
from exllama_guard.second_reader import (
    Join,
    LoadedReader,
    ReaderStore,
    Signals,
    assessed,
    contrast_of,
    judge,
    known_statements,
    measure_reader,
    read_again,
    undecided,
)
from exllama_guard.second_reader.calibration import auroc
from exllama_guard.testing import ReadingBackend
from second_reader.material import (
    TURNED,
    at_random,
    known,
    reader_of,
    report_of,
    right_in,
    undecided_report,
    weakly,
)

SURE = Join((0.0, 1.0, 0.0), 0.0, accept=0.8, reject=0.2)
DOCUMENT, RIGHT, WRONG = "Valve 1 opens at 21 bar.", "It is valve 1 and 21 bar.", "It is valve 1 and 31 bar."


def test_a_model_that_is_right_nine_times_of_ten_raises_the_joined_score() -> None:
    report = report_of(right_in(9))
    assert 0.8 < report.judge.auroc < 1.0
    assert report.joined.auroc > report.support.auroc + 0.05
    assert report.gain_low > 0
    assert report.is_of_use
    assert report.join.weights[1] > 0
    assert report.join.accept is not None
    assert "is asked" in report.sentence()


@pytest.mark.parametrize("says", [lambda prompt: 0.95, at_random], ids=["always yes", "at random"])
def test_a_model_that_cannot_read_is_not_asked(says) -> None:
    report = report_of(says)
    assert not report.is_of_use
    assert report.judge.low <= 0.5 <= report.judge.high
    assert "no better than chance" in report.sentence()
    assert "not asked" in report.sentence()


def test_a_model_that_gives_nan_cannot_be_measured() -> None:
    with pytest.raises(BackendError, match="not asked"):
        report_of(lambda prompt: math.nan)


def test_a_model_that_always_says_yes_says_nothing() -> None:
    said = judge(reader_of(lambda prompt: 0.99), DOCUMENT, WRONG)
    assert said == pytest.approx(0.0, abs=1e-5)


def test_each_statement_is_asked_both_ways_beside_its_evidence() -> None:
    backend = ReadingBackend(right_in(10))
    reader = LoadedReader("double", backend, lambda message: f"<user>{message}<model>")
    right, wrong = judge(reader, DOCUMENT, RIGHT), judge(reader, DOCUMENT, WRONG)
    assert right == pytest.approx(math.log(9), abs=1e-3)
    assert wrong == pytest.approx(-math.log(9), abs=1e-3)
    assert [TURNED in prompt for prompt in backend.asked] == [False, True, False, True]
    assert all(DOCUMENT in p and p.startswith("<user>") and p.endswith("<model>") for p in backend.asked)
    assert reader.prompt_tokens == sum(len(prompt) for prompt in backend.asked)


def test_a_thinking_block_that_the_template_opens_is_closed_before_the_answer() -> None:
    backend = ReadingBackend(lambda prompt: 0.5)
    judge(LoadedReader("double", backend, lambda message: f"{message}<think>\n"), DOCUMENT, RIGHT)
    assert all(prompt.endswith("<think>\n</think>\n\n") for prompt in backend.asked)


class _Thinker(ReadingBackend):
    """Has one token for `<think>`, and wants to write it first."""

    def token_ids(self, text: str) -> tuple[int, ...]:
        return (7,) if text == "<think>" else super().token_ids(text)

    def next_logprobs(self, ids, wanted):
        logs = super().next_logprobs(ids, wanted)
        done = self.asked[-1].endswith("</think>\n\n")
        return np.where(np.array(wanted) == 7, np.float32(-20 if done else -0.1), logs - (0 if done else 5))


def test_a_model_that_would_think_first_is_asked_past_its_thinking() -> None:
    backend = _Thinker(right_in(10))
    said = judge(LoadedReader("double", backend, lambda message: f"{message}\n"), DOCUMENT, RIGHT)
    assert said == pytest.approx(math.log(9), abs=1e-3)
    assert [prompt.endswith("</think>\n\n") for prompt in backend.asked] == [False, True, False, True]


class _Copying(FakeBackend):
    """Finds a word likely where it stands in the prompt, and is sure of it there."""

    def token_ids(self, text: str) -> tuple[int, ...]:
        return tuple(ord(letter) for letter in text)

    def continuation(self, ids, start):
        from exllama_guard.core.backend import Continuation

        before = "".join(map(chr, ids[:start]))
        words = "".join(map(chr, ids[start:]))
        logs: list[float] = []
        for word in words.split(" "):
            logs += [-0.1 if word in before else -2.0] * (len(word) + bool(logs))
        values = np.array(logs, dtype=np.float32)
        return Continuation(values, -values)


def test_contrast_is_what_the_evidence_adds_to_the_least_helped_word() -> None:
    reader = LoadedReader("double", _Copying(), lambda message: f"{message}\n")
    held = contrast_of(reader, "The pump weighs ninety kilos", "", "pump weighs ninety kilos")
    free = contrast_of(reader, "The pump weighs ninety kilos", "", "pump weighs eleven kilos")
    assert held.least == pytest.approx(1.9 * 4, abs=1e-3)  # pump: four letters
    assert free.least == pytest.approx(0.0, abs=1e-4)  # eleven: the evidence adds nothing
    assert held.entropy == pytest.approx(0.1, abs=1e-5)
    assert free.entropy == pytest.approx(2.0, abs=1e-5)


# --- the verdict of a turn ---------------------------------------------------------------------------------


def test_an_undecided_statement_that_the_model_supports_passes_and_both_are_told() -> None:
    first = undecided_report("Valve 1 opens at how many bar?", DOCUMENT, RIGHT)
    settled = read_again(first, reader_of(right_in(10)), SURE)
    assert settled.verdict.gate is Gate.PASS
    assert settled.verdict.reasons[0].startswith("Review → Pass: your model reads ")
    assert "supporting" in settled.verdict.reasons[0]
    assert "(0.90)" in settled.verdict.reasons[0]
    opinion = settled.second_reader
    assert (opinion.before, opinion.after) == (Gate.REVIEW, Gate.PASS)
    assert opinion.statements[0].first == 0.35
    assert opinion.prompt_tokens > 0


def test_an_undecided_statement_that_the_model_denies_fails() -> None:
    settled = read_again(
        undecided_report("Valve 1 opens at how many bar?", DOCUMENT, WRONG), reader_of(right_in(10)), SURE
    )
    assert settled.verdict.gate is Gate.FAIL
    assert settled.verdict.reasons[0].startswith("Review → Fail: your model reads ")
    assert "not supporting" in settled.verdict.reasons[0]


@pytest.mark.parametrize("severity", [Severity.CONFLICT, Severity.GAP])
def test_what_a_check_has_found_never_passes_by_the_models_word(severity: Severity) -> None:
    first = undecided_report("Valve 1 opens at how many bar?", DOCUMENT, RIGHT)
    found = Finding(FindingKind.NAME, severity, "The name is not in the snippets.")
    claim = replace(first.support.claims[0], findings=(found,))
    first = replace(first, support=replace(first.support, claims=(claim,)))
    settled = read_again(first, reader_of(right_in(10)), SURE)
    assert settled.verdict.gate is Gate.REVIEW
    assert settled.second_reader.statements[0].support > 0.8


@pytest.mark.parametrize("says", [lambda prompt: 0.95, lambda prompt: math.nan], ids=["always yes", "NaN"])
def test_a_model_that_says_nothing_changes_no_verdict(says) -> None:
    first = undecided_report("Valve 1 opens at how many bar?", DOCUMENT, RIGHT)
    settled = read_again(first, reader_of(says), SURE)
    assert settled.verdict == first.verdict
    assert settled.support == first.support


def test_statements_that_are_decided_are_not_asked_about() -> None:
    first = undecided_report("Valve 1 opens at how many bar?", DOCUMENT, RIGHT)
    passed = replace(first.support.claims[0], gate=Gate.PASS)
    first = replace(first, support=replace(first.support, claims=(passed,)))
    backend = ReadingBackend(right_in(10))
    assert undecided(first) == ()
    assert read_again(first, LoadedReader("double", backend, str), SURE) is first
    assert backend.asked == []


def test_at_most_four_statements_are_asked_about_the_least_supported() -> None:
    first = undecided_report("Valve 1 opens at how many bar?", DOCUMENT, RIGHT)
    claims = tuple(replace(first.support.claims[0], support=0.3 + 0.01 * n) for n in range(7))
    first = replace(first, support=replace(first.support, claims=claims[::-1]))
    assert [claim.support for claim in undecided(first)] == pytest.approx([0.3, 0.31, 0.32, 0.33])


def test_a_reading_that_is_ended_tells_so() -> None:
    from contextlib import nullcontext

    reader = LoadedReader("double", ReadingBackend(right_in(10)), str, lambda: nullcontext(False))
    with pytest.raises(Stopped):
        read_again(undecided_report("Valve 1 opens at how many bar?", DOCUMENT, RIGHT), reader, SURE)


# --- figures -----------------------------------------------------------------------------------------------


def test_auroc_counts_pairs_in_order_and_ties_as_half() -> None:
    right = np.array([True, False, True, False])
    assert auroc(np.array([0.9, 0.1, 0.8, 0.2]), right) == 1.0
    assert auroc(np.array([0.1, 0.9, 0.2, 0.8]), right) == 0.0
    assert auroc(np.zeros(4), right) == 0.5
    assert auroc(np.array([0.9, 0.5, 0.5, 0.1]), right) == pytest.approx(0.875)


def test_a_signal_that_was_not_measured_says_nothing() -> None:
    join = Join((1.0, 1.0, 1.0), 0.0)
    from exllama_guard.core.measures import Reason

    nothing = NotScored(Reason.NOT_SUPPORTED)
    assert join.support(Signals(0.5, nothing, nothing)) == 0.5


def test_progress_is_told_and_too_few_statements_decide_nothing() -> None:
    seen = []
    found = measure_reader(known(10), reader_of(right_in(9)), weakly, lambda done, total: seen.append(done))
    assert seen == [*range(10), 10]
    with pytest.raises(BackendError, match="10 of 10"):
        assessed(found, model="double", model_hash="0", loader="fake")


def test_a_loader_without_log_probabilities_is_named() -> None:
    class Mute(FakeBackend):
        def token_ids(self, text):
            return tuple(ord(letter) for letter in text)

        def next_logprobs(self, ids, wanted):
            from exllama_guard.core.backend import not_possible

            return not_possible("Mute", "log-probabilities of the next token")

    with pytest.raises(BackendError, match="Mute does not offer"):
        measure_reader(known(4), LoadedReader("double", Mute(), str), weakly)


def test_a_report_is_kept_by_the_models_hash(tmp_path: Path) -> None:
    store = ReaderStore(tmp_path / "readers.json")
    assert store.get("0" * 64) is None
    report = report_of(right_in(9))
    store.add(report)
    assert ReaderStore(tmp_path / "readers.json").get("0" * 64) == report
    (tmp_path / "readers.json").write_text("{broken")
    assert store.get("0" * 64) is None


def test_the_shipped_statements_are_two_hundred_half_of_them_right() -> None:
    rows = known_statements()
    assert len(rows) == 200
    assert sum(row.right for row in rows) == 100
    assert len({row.document for row in rows}) == 200
    assert all(row.statement in row.answer for row in rows)


def test_no_shipped_statement_is_of_the_sealed_part() -> None:
    sealed = Path(__file__).parents[1] / "bench" / "ordinary" / "docs-c.jsonl"
    texts = {json.loads(line)["text"] for line in sealed.read_text(encoding="utf-8").splitlines()}
    assert not texts & {row.document for row in known_statements()}
