"""The lock of one reply: planned when it starts, compiled beside it, and put where its loader takes it.

A reply is followed through a context variable, set around each step of the host's own generators, because the
steps of one reply run on different threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from exllama_guard.host.guard import guarded, report
from exllama_guard.host.patches import Patches
from exllama_guard.host.stepping import stepped
from exllama_guard.host.tools.answers import usable_schema
from exllama_guard.host.tools.constrain import Constrainer, model_key
from exllama_guard.host.tools.turn import ToolTurn
from exllama_guard.host.webui import shared_module
from exllama_guard.loaders import LockPlace, loader_of, promise_on, vocabulary_reader
from exllama_guard.settings import Settings
from exllama_guard.tools import LockMode, Promise, ToolStatus
from exllama_guard.tools.locks import LockCache, LockPlan, LockProcessor, Outcome, plan_answer, plan_calls

__all__ = ["ReplyLock", "current_turn", "following"]

# A reply waits this long for its grammar, compiled while the prompt is built; then it is only checked.
_WAIT_S = 3.0
_TOKENIZER_AFTER_S = 3.0

_current: ContextVar[ToolTurn | None] = ContextVar("exllama_guard_tool_turn", default=None)


def current_turn() -> ToolTurn | None:
    """The turn of the reply whose step runs here, or None."""
    return _current.get()


def following(turn: ToolTurn, inner: Iterator[Any]) -> Iterator[Any]:
    """`inner`, each step of which runs with `turn` as the current one."""
    return stepped(_current, turn, inner)


class ReplyLock:
    """Plans, compiles and applies the locks of replies; drops what was compiled when the model changes."""

    def __init__(
        self, settings: Callable[[], Settings], mode: Callable[[], LockMode], patches: Patches
    ) -> None:
        self._settings = settings
        self._mode = mode
        self._cache = LockCache()
        self._constrainer = Constrainer(_current.get, patches, self._report_plan)
        self._unenforced: dict[str, str] = {}  # by the tool's hash: why it is checked only

    def promise(self, status: ToolStatus) -> Promise:
        """What holds for a tool with the loaded model."""
        args = getattr(shared_module(), "args", None)
        loader = str(getattr(args, "loader", None) or "")
        return promise_on(loader, self._mode(), self._unenforced.get(status.tool.sha256, ""))

    def close(self) -> None:
        """Ends the compiling thread."""
        self._cache.close()

    @guarded(lambda self: None)
    def model_changed(self) -> None:
        """Drops compiled grammars; the new model's vocabulary is read a little later, in the background.

        The host assigns the tokenizer after the model (host 4.7.3, `load_model`), so not at once.
        """
        self._cache.drop()
        self._unenforced.clear()
        if self._mode().enforces:
            timer = threading.Timer(_TOKENIZER_AFTER_S, self._read_vocabulary)
            timer.daemon = True
            timer.start()

    @guarded(lambda self: None)
    def _read_vocabulary(self) -> None:
        shared = shared_module()
        model = getattr(shared, "model", None)
        load = vocabulary_reader(model, getattr(shared, "tokenizer", None)) if model is not None else None
        if load is not None:
            self._cache.prepare(model_key(shared), load)

    @guarded(lambda self, turn, state: None)
    def prepare(self, turn: ToolTurn, state: object) -> None:
        """Locks this turn's tools, keeps changed ones from the model, and starts to compile."""
        if not isinstance(state, dict) or self._mode() is LockMode.OFF:
            return
        named = "instruction_template_str" if state.get("mode") == "instruct" else "chat_template_str"
        turn.opened(state, str(state.get(named) or ""))
        if state.get("tools"):
            state["tools"] = turn.observe(state["tools"])
        elif turn.asked.answer_schema is None and not turn.statuses:
            turn.must_fit(self.pasted_schema())
        plan = self._plan(turn)
        turn.planned(plan)
        shared = shared_module()
        if plan is None or getattr(shared, "model", None) is None:
            return
        self._constrainer.meet(shared.model)
        load = vocabulary_reader(shared.model, getattr(shared, "tokenizer", None))
        if load is not None:
            self._cache.start(plan, model_key(shared), load)
            loader = loader_of(shared.model)
            if loader is not None and loader.lock in (LockPlace.JOB, LockPlace.STREAM):
                self._compiled(turn)  # nothing of these calls the logits hook, which waits for it elsewhere

    def pasted_schema(self) -> Mapping[str, Any] | None:
        """The usable schema of the setting `answer_schema`, or None; what is wrong with it is shown."""
        return usable_schema({}, self._settings().answer_schema)

    @guarded(lambda self, processors, input_ids: None)
    def add_processor(self, processors: list[Any], input_ids: Any) -> None:  # noqa: ANN401 - torch.Tensor
        """The logits hook: adds the lock of the reply that starts now (Transformers and the _HF loaders)."""
        turn = _current.get()
        outcome = self._compiled(turn) if turn is not None else None
        if turn is not None and outcome is not None and outcome.lock is not None:
            limit = turn.reply.room(len(input_ids[0]))
            processor = LockProcessor(outcome.lock, limit)
            turn.held_by(processor, limit, whole=outcome.lock.holds_all)
            processors.append(processor)

    @guarded(lambda self, turn: None)
    def report_broken(self, turn: ToolTurn) -> None:
        """Says in the panel why the lock did not hold the reply that has ended, or that it did."""
        if turn.reply.processor is None:
            return
        reason = getattr(turn.reply.processor, "reason", "")
        sentence = f"The last reply was not held to its schema while it was written: {reason}"
        report(sentence if reason else None, f"refused:{turn.chat}:lock")

    def _plan(self, turn: ToolTurn) -> LockPlan | None:
        mode = self._mode()
        schema, template = turn.asked.answer_schema, turn.reply.template
        if schema is not None:
            return plan_answer(schema, template) if mode.enforces else None
        tools = turn.callable_tools()
        if not mode.enforces or not tools or turn.exhausted:
            return None
        always = mode is LockMode.ENFORCE_ALWAYS or turn.asked.always
        return plan_calls(tools, template, always=always)

    def _compiled(self, turn: ToolTurn) -> Outcome | None:
        """The turn's compiled lock; waits for it, and says in the panel why there is none."""
        plan, outcome = turn.reply.plan, turn.reply.outcome
        if plan is None:
            return None
        if outcome is None:
            shared = shared_module()
            load = vocabulary_reader(getattr(shared, "model", None), getattr(shared, "tokenizer", None))
            if load is None:
                return None
            outcome = self._cache.get(plan, model_key(shared), load, timeout_s=_WAIT_S)
            turn.compiled(outcome)
            self._report_plan(
                plan, outcome.lock.unenforced if outcome.lock is not None else {}, outcome.reason
            )
        return outcome

    def _report_plan(self, plan: LockPlan, reasons: Mapping[str, str], general: str) -> None:
        """Notes and shows why tools of a plan are checked only, by name, or why all are."""
        for tool in plan.tools:
            reason = reasons.get(tool.name, general)
            self._unenforced[tool.sha256] = reason
            if reason:
                report(f"The tool '{tool.name}' is checked only: {reason}", f"unenforced:{tool.sha256}")
        if general:
            report(f"Not enforced while decoding: {general}", general)
