"""Asks the same questions with the other extensions off and with each of them on alone: what changed?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from exllama_guard.core.ports import Embedder, Verifier
from exllama_guard.core.turns import TurnReport
from exllama_guard.probes.background import ReportProgress
from exllama_guard.probes.generation import DRAWN, GREEDY, Sampling
from exllama_guard.probes.lambda_probe import LambdaProbe, judge_answers
from exllama_guard.probes.measures.replay import Replay, replay_of
from exllama_guard.probes.measures.stability import Answer, LambdaReport
from exllama_guard.probes.run import Progress
from exllama_guard.trace import TraceRecord, record_of

__all__ = ["OFF", "Replayed", "ReplayHost", "ReplayJob", "run_replay"]

OFF = "all off"  # the recording that the others are held against


class ReplayHost(Protocol):
    """Answers a question as a user's chat would, with only some extensions on, for this call alone."""

    def ask(
        self, question: str, on: frozenset[str], sampling: Sampling, seed: int, cancel: threading.Event
    ) -> TurnReport | None:
        """The measured turn; None where it was stopped.

        Raises:
            BackendError: The model is gone or failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """What to ask. With `seeds` > 0 the first question is also asked that often, drawn, for λ."""

    questions: tuple[str, ...]
    extensions: tuple[str, ...]
    seeds: int = 0
    max_tokens: int = 96


@dataclass(frozen=True, slots=True)
class Replayed:
    """What each extension alone changed; `agreement` is λ of the first question by recording."""

    replays: tuple[Replay, ...]
    agreement: Mapping[str, LambdaReport] = field(default_factory=dict)
    stopped: bool = False


def run_replay(
    job: ReplayJob,
    host: ReplayHost,
    report_progress: ReportProgress,
    cancel: threading.Event,
    *,
    users_first: Callable[[threading.Event], None],
    embedder: Callable[[], Embedder],
    verifier: Callable[[], Verifier | None] = lambda: None,
) -> Replayed:
    """The comparison; stopped half way, what both recordings hold by then is compared.

    Raises:
        BackendError: The model is gone or failed.
        EmbedderError: The answers cannot be compared.
    """
    settings = {OFF: frozenset[str](), **{name: frozenset({name}) for name in job.extensions}}
    greedy = Sampling(GREEDY.temperature, GREEDY.top_p, GREEDY.top_k, job.max_tokens)
    drawn = Sampling(DRAWN.temperature, DRAWN.top_p, DRAWN.top_k, job.max_tokens)
    asked = [(question, name, greedy, 0) for question in job.questions for name in settings]
    asked += [(job.questions[0], name, drawn, seed) for name in settings for seed in range(1, job.seeds + 1)]
    records: dict[str, list[TraceRecord]] = {name: [] for name in settings}
    runs: dict[str, list[TurnReport]] = {name: [] for name in settings}
    started_s, took_s = time.monotonic(), list[float]()
    stopped = False
    for done, (question, name, sampling, seed) in enumerate(asked):
        left_s = median(took_s) * (len(asked) - done) if took_s else None
        report_progress(Progress(done, len(asked), f"with {name}", time.monotonic() - started_s, left_s))
        users_first(cancel)
        before_s = time.monotonic()
        turn = None if cancel.is_set() else host.ask(question, settings[name], sampling, seed, cancel)
        if turn is None:
            stopped = True
            break
        took_s.append(time.monotonic() - before_s)
        if seed:
            runs[name].append(turn)
        else:
            records[name].append(record_of(turn))
    if not stopped:
        report_progress(Progress(len(asked), len(asked), "", time.monotonic() - started_s, 0.0))
    replays = tuple(replay_of(records[OFF], records[name], name) for name in job.extensions)
    agreement = {
        name: _agreement(turns, drawn, job.seeds, embedder(), verifier())
        for name, turns in runs.items()
        if turns
    }
    return Replayed(replays, agreement, stopped)


def _agreement(
    turns: list[TurnReport], sampling: Sampling, planned: int, embedder: Embedder, verifier: Verifier | None
) -> LambdaReport:
    request = turns[0].request
    probe = LambdaProbe(request.question, request.snippets, (request.question,), sampling=sampling)
    answers = [Answer(0, seed, turn.answer.strip()) for seed, turn in enumerate(turns, start=1)]
    return judge_answers(answers, probe, planned=planned, embedder=embedder, verifier=verifier)
