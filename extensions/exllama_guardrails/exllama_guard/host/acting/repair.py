"""A repair: new tries from the snippets, in the same turn and under the same lock; the best one is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from exllama_guard.acting import Attempt, choose, repair_message, repair_snippets
from exllama_guard.core.measures import Gate
from exllama_guard.core.turns import Try, TurnReport
from exllama_guard.grounding import answer_of
from exllama_guard.host import webui
from exllama_guard.host.acting.call import Call
from exllama_guard.host.acting.prompt import chat_prompt, completion_prompt, repair_state
from exllama_guard.host.guard import guarded
from exllama_guard.host.turn.generation_lock import watched_lock
from exllama_guard.host.turn.second_try import SecondTry, put_back
from exllama_guard.settings import Settings

__all__ = ["Repair", "Repaired"]

_NO_PROMPT = "the prompt of the new try could not be built"
_SCORE_S = 5.0  # a new try took seconds; its verdict may take a moment too


@dataclass(frozen=True, slots=True)
class Repaired:
    """How a repair went: the model's text to keep, whether it is a new one, all tries, and why."""

    text: str
    is_new: bool
    tries: tuple[Try, ...]
    why: str


def _no_prompt(self: Repair, first: TurnReport, number: int) -> str | None:
    return None


@dataclass(slots=True)
class Repair:
    """The repair of one reply."""

    settings: Settings
    call: Call
    score: Callable[[str, float], TurnReport | None]  # (the model's text, seconds to wait) → its report
    quiet: bool  # the reader gets nothing of a try while it grows: its text could not be taken back
    prompt: str  # of the first try, as the loader got it
    history: Mapping[str, Any] = field(default_factory=dict)  # the host's working copy

    def run(self, text: str, first: TurnReport) -> Generator[str, None, Repaired]:
        """Yields the new tries as they grow, then the kept text; returns how it went."""
        attempts = [Attempt(text, first)]
        deadline_s = time.monotonic() + self.settings.repair_limit_s
        problem = self._why_not_now()
        while not problem and len(attempts) <= self.settings.repair_tries:
            attempt = yield from self._try(first, len(attempts), deadline_s)
            attempts.append(attempt)
            problem = attempt.problem
            if attempt.report is not None and attempt.report.verdict.gate is Gate.PASS:
                break
        kept, tries = choose(tuple(attempts))
        yield from put_back(self.call.given(attempts[kept].answer))
        return Repaired(attempts[kept].answer, kept > 0, tries, _why(kept, attempts, problem))

    @guarded(lambda self: "the guardrails could not tell whether others wait")
    def _why_not_now(self) -> str:
        """Why no new try may start now; "" where one may."""
        if self.call.interrupted():
            return "the reply was stopped"
        lock = watched_lock(webui.shared_module())
        waited_s = lock.longest_wait_s() if lock is not None else 0.0
        limit_s = self.settings.repair_others_wait_s
        if waited_s > limit_s:
            return f"somebody else has waited {waited_s:.1f} s for the model (at most {limit_s:g} s)"
        return ""

    def _try(self, first: TurnReport, number: int, deadline_s: float) -> Generator[str, None, Attempt]:
        """Yields a new try as it grows; returns how it went."""
        started_s = time.monotonic()
        prompt = self._new_prompt(first, number)
        call, given, problem = self.call, "", "" if prompt is not None else _NO_PROMPT
        if prompt is not None:
            another = SecondTry(lambda: call.again(prompt, repair_state(call.state, self.settings)))
            with closing(another.grow()) as steps:
                for step in steps:
                    problem = self._why_no_longer(deadline_s)
                    if problem:
                        break
                    given = step
                    if self.call.streamed and (self.quiet or given.strip()):
                        yield "" if self.quiet else given
            if another.broke or not another.started:
                problem = "the model failed during the new try" if another.broke else _NO_PROMPT
        text = self.call.text(given)
        if not problem and not answer_of(text).strip():
            problem = "the new try came back empty"
        report = None if problem else self.score(text, _SCORE_S)
        if report is None and not problem:
            problem = "the new try could not be checked in time"
        return Attempt(text, report, time.monotonic() - started_s, problem)

    def _why_no_longer(self, deadline_s: float) -> str:
        if self.call.interrupted():
            return "the new try was stopped"
        if time.monotonic() > deadline_s:
            return f"the new try took longer than {self.settings.repair_limit_s:g} s"
        return ""

    @guarded(_no_prompt)
    def _new_prompt(self, first: TurnReport, number: int) -> str | None:
        """The prompt of try `number`, from 1; the second, of the same seed, rests on the anchor alone."""
        snippets = repair_snippets(first, self.settings.distance_fail)
        question = first.request.question
        message = repair_message(question, snippets if number == 1 else snippets[:1])
        if self.call.is_chat:
            return chat_prompt(message, question, self.call.state, self.history)
        return completion_prompt(message, self.prompt, question)


def _why(kept: int, attempts: list[Attempt], problem: str) -> str:
    if kept:
        return f"A new try from the snippets replaced the first answer: {_verdicts(attempts)}."
    if problem:
        return f"The first answer stands: {problem}."
    return f"The first answer stands, no new try is clearly better supported: {_verdicts(attempts)}."


def _verdicts(attempts: list[Attempt]) -> str:
    """What was measured of each try, such as `fail (support 0.19), then pass (support 0.79)`."""
    return ", then ".join(_verdict(one.report) for one in attempts if one.report is not None)


def _verdict(report: TurnReport) -> str:
    support = report.support.support
    if not isinstance(support, float):
        return "says it is not there"
    return f"{report.verdict.gate.value.lower()} (support {support:.2f})"
