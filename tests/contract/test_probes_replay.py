"""Replay over a scripted host: what each extension alone changes, order, stop, progress."""

from __future__ import annotations

import threading

from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import TurnRequest
from exllama_guard.probes.replay import OFF, ReplayJob, run_replay
from exllama_guard.probes.reports.use import replay_report
from exllama_guard.testing import FakeEmbedder, scored

SNIPPETS = (make_snippet("The cache holds 8192 tokens.", position=0),)


class ScriptedHost:
    """Extension `noise` changes the prompt; `silent` changes it and makes the answer cite nothing."""

    def __init__(self, stop_after=99):
        self.asked, self.stop_after = [], stop_after

    def ask(self, question, on, sampling, seed, cancel):
        self.asked.append((question, tuple(sorted(on)), sampling.deterministic, seed))
        if len(self.asked) > self.stop_after:
            return None
        prompt = question + "".join(f" +{name}" for name in sorted(on & {"noise", "silent"}))
        answer = "The cache holds 8192 tokens" + ("." if "silent" in on else " [s1].")
        request = TurnRequest("t", question, SNIPPETS, prompt=prompt)
        return scored(request, answer)


def replayed(host, told=None, **job):
    values = {"questions": ("How large is the cache?", "How big?"), "extensions": ("noise", "silent", "idle")}
    return run_replay(
        ReplayJob(**{**values, **job}),
        host,
        (told if told is not None else []).append,
        threading.Event(),
        users_first=lambda cancel: None,
        embedder=FakeEmbedder,
    )


def test_each_extension_is_blamed_for_what_it_alone_changes():
    done = replayed(ScriptedHost())
    seen = {replay.label: [one.verdict for one in replay.observations] for replay in done.replays}
    assert seen == {
        "noise": [Gate.REVIEW, Gate.PASS],
        "silent": [Gate.REVIEW, Gate.FAIL],
        "idle": [Gate.PASS, Gate.PASS],
    }
    assert not done.stopped


def test_the_baseline_is_asked_with_all_off_and_agreement_is_drawn():
    host = ScriptedHost()
    done = replayed(host, questions=("How large is the cache?",), extensions=("noise",), seeds=2)
    assert [on for _, on, greedy, _ in host.asked if greedy] == [(), ("noise",)]
    assert [(on, seed) for _, on, greedy, seed in host.asked if not greedy] == [
        ((), 1),
        ((), 2),
        (("noise",), 1),
        (("noise",), 2),
    ]
    assert {name: report.n for name, report in done.agreement.items()} == {OFF: 2, "noise": 2}
    report = replay_report(done.replays, {}, done.agreement)
    assert [line.name for line in report.lines][-2:] == ["λ with all off", "λ with noise"]


def test_stopped_half_way_what_both_hold_is_compared():
    told = []
    done = replayed(ScriptedHost(stop_after=2), told)
    assert done.stopped
    assert [len(replay.turns) for replay in done.replays] == [1, 0, 0]
    assert [(one.done, one.total) for one in told] == [(0, 8), (1, 8), (2, 8)]
    told = replay_report(done.replays, {}, done.agreement, stopped=done.stopped).not_measured
    assert ("the rest of the questions", "stopped by the user") in told
