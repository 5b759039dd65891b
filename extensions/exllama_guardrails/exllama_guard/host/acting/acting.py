"""Carries out what is to be done with a reply after its last token: a line, another text, or a new try.

Runs inside the host's `_generate_reply` (host/turn/observe.py), so a new try holds the same lock and streams
to the same reader. Where anything fails, the first answer stands and the panel says why.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from exllama_guard.acting import Decision, Way, annotation, decide, refusal, second_try
from exllama_guard.core.turns import Acted, Action, Finish, TurnReport
from exllama_guard.grounding import answer_of
from exllama_guard.host import webui
from exllama_guard.host.acting.call import Call
from exllama_guard.host.acting.lines import VisibleLines
from exllama_guard.host.acting.repair import Repair
from exllama_guard.host.guard import guarded
from exllama_guard.host.turn.generation_lock import watched_lock
from exllama_guard.settings import Settings

if TYPE_CHECKING:
    from exllama_guard.monitor import TurnHandle

__all__ = ["Acting"]

_REPAIR_WAIT_S = 2.0  # where nothing but repairs is asked for, which take seconds themselves


@dataclass(frozen=True, slots=True)
class _Put:
    """What was put beside or in place of an answer; `given` None where the output hook adds it."""

    shown: str
    given: str | None


def _no_report(self: Acting, handle: TurnHandle, text: str, wait_s: float) -> TurnReport | None:
    return None


def _nothing_put(self: Acting, decision: Decision, report: TurnReport, text: str) -> _Put | None:
    return None


class Acting:
    """What is done after the last token of one reply. Used by one step of the host's generator at a time."""

    def __init__(self, settings: Settings, call: Call, lines: VisibleLines) -> None:
        self._settings = settings
        self._call = call
        self._lines = lines
        self._actions = {Action(settings.on_fail), Action(settings.on_review)}
        replaces = bool(self._actions & {Action.REPAIR, Action.REFUSE})
        to_client = call.streamed and not call.for_ui
        self._holding = replaces and to_client and settings.hold_api_stream and not self._fixed_form()
        self._sent = to_client and not self._holding
        if Action.REPAIR in self._actions:
            watched_lock(webui.shared_module())  # so that it is known who waits when a repair may start
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
        report = None
        if finish is Finish.COMPLETE:
            started_s = time.monotonic()
            report = self._scored(handle, text, self._wait_s())
            waited_ms = (time.monotonic() - started_s) * 1000
        if report is None:
            if finish is Finish.COMPLETE:
                handle.acted = self._too_late(waited_ms)
            if self._holding:
                yield given
            return text
        decision = self._decision(report)
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

    def _wait_s(self) -> float:
        wait_s = self._settings.act_wait_ms / 1000
        only_repair = self._actions <= {Action.REPAIR, Action.SHOW}
        return max(wait_s, _REPAIR_WAIT_S) if only_repair else wait_s

    @guarded(_no_report)
    def _scored(self, handle: TurnHandle, text: str, wait_s: float) -> TurnReport | None:
        """The report of a reply; None where it takes longer than `wait_s`."""
        try:
            return handle.score(text, Finish.COMPLETE).result(wait_s)
        except FutureTimeout:
            return None

    def _too_late(self, waited_ms: float) -> Acted:
        """What is told where there was no verdict in time."""
        wanted = next(a for a in (self._settings.on_fail, self._settings.on_review) if a != "show")
        why = (
            f"The verdict was not there {self._wait_s() * 1000:.0f} ms after the last word, so the answer "
            "stands as it is. The setting act_wait_ms says how long to wait."
        )
        return Acted(Action(wanted), Action.SHOW, why, waited_ms=waited_ms)

    @guarded(lambda self, report: Decision(Action.SHOW, Action.SHOW))
    def _decision(self, report: TurnReport) -> Decision:
        way = Way(
            continued=bool(report.request.answer_prefix),
            tool_turn=report.request.tool_turn or bool(self._call.state.get("tools")),
            bound=self._fixed_form(),
            notebook=self._call.for_ui and not self._call.is_chat,
            sent=self._sent,
        )
        return decide(report, way, on_fail=self._settings.on_fail, on_review=self._settings.on_review)

    def _fixed_form(self) -> bool:
        state = self._call.state
        return bool(str(state.get("grammar_string") or "").strip() or self._settings.answer_schema.strip())

    # --- annotate, refuse -------------------------------------------------------------------------------

    @guarded(_nothing_put)
    def _put(self, decision: Decision, report: TurnReport, text: str) -> _Put | None:
        """The line or the text in the answer's place; None where the answer is only shown."""
        if decision.action is Action.ANNOTATE:
            line = annotation(report, citations=self._settings.annotate_citations)
            if self._call.is_chat and self._call.for_ui:
                self._lines.keep(self._call.state, line)
                return _Put(line.strip(), None)
            return _Put(line.strip(), text + line)
        if decision.action is Action.REFUSE:
            instead = refusal(report)
            return _Put(instead, _before_answer(text) + instead)
        return None


def _before_answer(text: str) -> str:
    """The thinking that a reply opens with, which the host shows folded; "" where there is none."""
    answer = answer_of(text)
    return text[: len(text) - len(answer)] if answer and text.endswith(answer) else ""
