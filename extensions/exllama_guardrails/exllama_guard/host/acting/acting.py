"""Carries out what is to be done with a reply after its last token: a line, another text, or a new try.

Runs inside the host's `_generate_reply` (host/turn/observe.py), so a new try holds the same lock and streams
to the same reader. Where anything fails, the first answer stands and the panel says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from exllama_guard.acting import (
    AWAITED,
    Decision,
    Way,
    annotation,
    decide,
    decide_unchecked,
    refusal,
    second_try,
    unchecked_line,
    unchecked_refusal,
)
from exllama_guard.core.turns import Acted, Action, Finish, TurnReport
from exllama_guard.grounding import answer_of
from exllama_guard.host import webui
from exllama_guard.host.acting.call import Call
from exllama_guard.host.acting.first import FirstVerdicts
from exllama_guard.host.acting.lines import VisibleLines
from exllama_guard.host.acting.repair import Repair
from exllama_guard.host.guard import guarded
from exllama_guard.host.turn.generation_lock import watched_lock
from exllama_guard.settings import Settings

if TYPE_CHECKING:
    from exllama_guard.monitor import TurnHandle
    from exllama_guard.second_reader import SecondReader

__all__ = ["Acting"]

_FIRST_WAIT_S = 120.0  # for the first verdict, which waits until the embedding model is loaded
_LOOK_S = 0.05  # how often it is looked whether the reader still waits


@dataclass(frozen=True, slots=True)
class _Put:
    """What was put beside or in place of an answer; `given` None where the output hook adds it."""

    shown: str
    given: str | None


def _nothing_coming(self: Acting, handle: TurnHandle, text: str) -> Future[TurnReport] | None:
    self._broke = True
    return None


def _no_report(self: Acting, coming: Future[TurnReport] | None, wait_s: float) -> TurnReport | None:
    self._broke = True
    return None


def _nothing_put(self: Acting, decision: Decision, report: TurnReport, text: str) -> _Put | None:
    return None


class Acting:
    """What is done after the last token of one reply. Used by one step of the host's generator at a time."""

    def __init__(
        self,
        settings: Settings,
        call: Call,
        lines: VisibleLines,
        first: FirstVerdicts,
        second: Callable[[], SecondReader | None] = lambda: None,
    ) -> None:
        self._settings, self._second = settings, second
        self._call = call
        self._lines = lines
        self._first = first
        self._actions = {Action(settings.on_fail), Action(settings.on_review)}
        replaces = bool(self._actions & {Action.REPAIR, Action.REFUSE})
        to_client = call.streamed and not call.for_ui
        self._holding = replaces and to_client and settings.hold_api_stream and not self._fixed_form()
        self._sent = to_client and not self._holding
        if Action.REPAIR in self._actions:
            watched_lock(webui.shared_module())  # so that it is known who waits when a repair may start
        self._broke = False  # asking for a verdict failed, which the panel says
        self.prompt = ""  # as the loader got it
        self.history: Mapping[str, Any] = {}  # the host's working copy

    @property
    def wanted(self) -> bool:
        """Whether any verdict asks for more than being shown."""
        return self._actions != {Action.SHOW}

    @guarded(lambda self, handle, given: given)
    def passed_on(self, handle: TurnHandle, given: str) -> str:
        """What the reader gets of the reply so far; "" while it is held back until it is checked."""
        if self._holding:
            collected = handle.collect is None
            if handle.request.answer_prefix or (collected and not handle.request.snippets):
                self._holding, self._sent = False, True  # nothing will be put in its place
        return "" if self._holding and isinstance(given, str) else given

    def after(self, handle: TurnHandle, given: str, finish: Finish) -> Generator[str, None, str]:
        """Yields what follows the reply; returns the model's text to keep, of several the best."""
        text = self._call.text(given)
        if finish is not Finish.COMPLETE:
            if self._holding:
                yield given
            return text
        started_s = time.monotonic()
        report = self._verdict(handle, text)
        waited_ms = (time.monotonic() - started_s) * 1000
        if report is None:
            yield from self._unchecked(handle, given, text, waited_ms)
            return text
        report = self._second_opinion(handle, report)
        waited_ms = (time.monotonic() - started_s) * 1000
        decision = self._decision(handle, report)
        acted = Acted(decision.wanted, Action.SHOW, decision.why, waited_ms=waited_ms)
        if decision.action is Action.REPAIR:
            repair = Repair(
                self._settings,
                self._call,
                score=lambda new, wait_s: self._scored(handle, new, wait_s),
                quiet=self._holding,
                prompt=self.prompt,
                history=self.history,
            )
            self._report_second_try(handle, report)
            repaired = yield from repair.run(text, report)
            done = Action.REPAIR if repaired.is_new else Action.SHOW
            handle.acted = replace(acted, done=done, why=repaired.why, tries=repaired.tries)
            return repaired.text
        put = self._put(decision, report, text)
        if decision.wanted is not Action.SHOW:
            done = decision.action if put is not None else Action.SHOW
            handle.acted = replace(acted, done=done, shown=put.shown if put else "")
        if put is not None and put.given is not None:
            yield self._call.given(put.given)
        elif self._holding:
            yield given
        return text

    @guarded(lambda self, handle, first: None)
    def _report_second_try(self, handle: TurnHandle, first: TurnReport) -> None:
        """Has the panel say that another answer is being written."""
        handle.tell(second_try(first))

    # --- the verdict ------------------------------------------------------------------------------------

    def _verdict(self, handle: TurnHandle, text: str) -> TurnReport | None:
        """The report of the reply; None where none comes in time. That a first one is awaited is told."""
        coming = self._asked_for(handle, text)
        report = self._awaited(coming, self._settings.act_wait_ms / 1000)
        if report is None and not self._broke and self._first.is_first(self._settings):
            handle.tell(AWAITED)
            report = self._awaited(coming, _FIRST_WAIT_S)
            handle.tell("")
        if report is not None:
            self._first.came(self._settings)
        return report

    @guarded(lambda self, handle, report: report)
    def _second_opinion(self, handle: TurnHandle, report: TurnReport) -> TurnReport:
        """The report with what the loaded model says of it, where that comes in time; else as it is."""
        second, limit_s = self._second(), self._settings.second_reader_limit_s
        settled = second.at_once(report, limit_s, self._call.interrupted) if second is not None else None
        if settled is None:
            return report
        handle.settled = settled
        return settled

    def _scored(self, handle: TurnHandle, text: str, wait_s: float) -> TurnReport | None:
        """The report of a new try; None where it takes longer than `wait_s`."""
        return self._awaited(self._asked_for(handle, text), wait_s)

    @guarded(_nothing_coming)
    def _asked_for(self, handle: TurnHandle, text: str) -> Future[TurnReport] | None:
        return handle.score(text, Finish.COMPLETE)

    @guarded(_no_report)
    def _awaited(self, coming: Future[TurnReport] | None, wait_s: float) -> TurnReport | None:
        """What comes within `wait_s`; None where nothing does, or nobody waits for the reply any more."""
        if coming is None:
            return None
        ends_s = time.monotonic() + wait_s
        while True:
            try:
                return coming.result(max(0.0, min(ends_s - time.monotonic(), _LOOK_S)))
            except FutureTimeout:  # noqa: PERF203 - each look may end so
                if time.monotonic() >= ends_s or self._call.interrupted():
                    return None

    @guarded(lambda self, handle, given, text, waited_ms: iter((given,)))
    def _unchecked(self, handle: TurnHandle, given: str, text: str, waited_ms: float) -> Iterator[str]:
        """What the reader gets where there was no verdict in time, which is said."""
        why = self._why_unchecked(waited_ms)
        retrieved = bool(handle.request.snippets or (handle.collect or tuple)())
        wanted = self._actions if retrieved else {Action.SHOW}
        refuse = self._settings.refuse_unchecked
        decision = decide_unchecked(text, self._way(handle), wanted, why, refuse=refuse)
        if decision.wanted is Action.SHOW:
            return iter((given,) if self._holding else ())
        put = None
        if decision.action is Action.REFUSE:
            instead = unchecked_refusal(why)
            put = _Put(instead, _before_answer(text) + instead)
        elif decision.action is Action.ANNOTATE:
            put = self._line(unchecked_line(text, why), text)
        shown = put.shown if put is not None else ""
        handle.acted = Acted(decision.wanted, decision.action, why, shown=shown, waited_ms=waited_ms)
        if put is not None and put.given is not None:
            return iter((self._call.given(put.given),))
        return iter((given,) if self._holding else ())

    def _why_unchecked(self, waited_ms: float) -> str:
        if self._broke:
            return "A fault of the guardrails kept it from being checked; the panel says which."
        if self._call.interrupted():
            return "It was stopped while it waited for its verdict."
        return (
            f"The verdict was not there {waited_ms / 1000:.1f} s after the last word. The setting "
            f"act_wait_ms ({self._settings.act_wait_ms:.0f}) says how long to wait."
        )

    @guarded(lambda self, handle, report: Decision(Action.SHOW, Action.SHOW))
    def _decision(self, handle: TurnHandle, report: TurnReport) -> Decision:
        way = self._way(handle)
        return decide(report, way, on_fail=self._settings.on_fail, on_review=self._settings.on_review)

    def _way(self, handle: TurnHandle) -> Way:
        return Way(
            continued=bool(handle.request.answer_prefix),
            tool_turn=handle.request.tool_turn or bool(self._call.state.get("tools")),
            bound=self._fixed_form(),
            notebook=self._call.for_ui and not self._call.is_chat,
            sent=self._sent,
        )

    def _fixed_form(self) -> bool:
        state = self._call.state
        return bool(str(state.get("grammar_string") or "").strip() or self._settings.answer_schema.strip())

    # --- annotate, refuse -------------------------------------------------------------------------------

    @guarded(_nothing_put)
    def _put(self, decision: Decision, report: TurnReport, text: str) -> _Put | None:
        """The line or the text in the answer's place; None where the answer is only shown."""
        if decision.action is Action.ANNOTATE:
            return self._line(annotation(report, citations=self._settings.annotate_citations), text)
        if decision.action is Action.REFUSE:
            instead = refusal(report)
            return _Put(instead, _before_answer(text) + instead)
        return None

    def _line(self, line: str, text: str) -> _Put:
        """The line under the answer: on the page by the output hook, else as part of the text."""
        if self._call.is_chat and self._call.for_ui:
            self._lines.keep(self._call.state, line)
            return _Put(line.strip(), None)
        return _Put(line.strip(), text + line)


def _before_answer(text: str) -> str:
    """The thinking that a reply opens with, which the host shows folded; "" where there is none."""
    answer = answer_of(text)
    return text[: len(text) - len(answer)] if answer and text.endswith(answer) else ""
