"""What a panel, or anybody inside the host, asks of the probes: start, stop, poll. No gradio, no host."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exllama_guard.core.baseline import BaselineStore
from exllama_guard.core.checkup import Checkup, checkup_of
from exllama_guard.core.diagnosis import Diagnosis, Findings, ModeSummary, diagnosis_of
from exllama_guard.core.gold import GoldSet, read_gold
from exllama_guard.core.kv_cache import DriftReport
from exllama_guard.core.long_run import LongRun, long_run_of, topic_loss_of
from exllama_guard.core.model_signs import ModelSigns
from exllama_guard.core.ports import Embedder, Retriever, Verifier
from exllama_guard.core.probe_reports import checkup_report, lambda_report, replay_report, verify_report
from exllama_guard.core.records import Measure, ModelInfo, NotScored, Reader, Reason, TurnReport
from exllama_guard.core.report import Report
from exllama_guard.core.stability import LambdaReport
from exllama_guard.core.symptoms import Observation
from exllama_guard.core.verification import ItemResult, VerifyLimits
from exllama_guard.errors import EmbedderError, GuardError, UserError
from exllama_guard.probes.background import Spawn, Task, TaskState, Tell, on_a_thread
from exllama_guard.probes.examine import Patient, by_chat, examine, observe_use
from exllama_guard.probes.kept import KeptRuns
from exllama_guard.probes.lambda_probe import LambdaProbe
from exllama_guard.probes.model_check import Reading
from exllama_guard.probes.opening import choose_mode
from exllama_guard.probes.replay import Replayed, ReplayHost, ReplayJob, run_replay
from exllama_guard.probes.run import Runner
from exllama_guard.probes.service import ProbeService, ProbeState
from exllama_guard.probes.verify import VerifyJob, verify
from exllama_guard.probes.writer import GREEDY, Writer

__all__ = [
    "DeskParts",
    "DoctorState",
    "ProbeDesk",
    "ReplayState",
    "Verified",
    "VerifyState",
    "current",
    "use",
]


_TOPICS_KEPT = 500  # turns whose topic loss is remembered


@dataclass(frozen=True, slots=True)
class DeskParts:
    """Where the desk finds things; each is asked when it is needed, so that a change counts at once."""

    writer: Writer
    users_first: Callable[[threading.Event], None]
    embedder: Callable[[], Embedder]
    verifier: Callable[[], Verifier | None]
    retriever: Callable[[], Retriever | None]
    turns: Callable[[Reader], tuple[TurnReport, ...]]  # newest first
    path: Callable[[], Path | None]  # of the loaded model
    reading: Callable[[threading.Event], Reading | NotScored]
    signs: Callable[[Reader], ModelSigns]
    drift: Callable[[], DriftReport | None]
    modes: Callable[[], Sequence[ModeSummary] | None]
    model: Callable[[], ModelInfo | None]  # with the hashes of its files, once they are read
    extensions: Callable[[], tuple[str, ...] | None]
    text_extensions: Callable[[], tuple[str, ...]]  # that may change a prompt
    limits: Callable[[], VerifyLimits]
    window: Callable[[], int]
    environment: Callable[[], dict[str, str]]
    replay: ReplayHost
    keep: Callable[[], Path | None] = lambda: None  # where answers may lie on disk
    baselines: BaselineStore | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """A gold set that was run; `results` are fewer than `planned` where it was stopped."""

    results: tuple[ItemResult, ...]
    problems: tuple[str, ...]
    planned: int


@dataclass(frozen=True, slots=True)
class _Gold:
    """A gold set to run, with answers of the loaded model or for retrieval only."""

    items: GoldSet
    answers: bool


DoctorState = TaskState[Patient, Checkup]
ReplayState = TaskState[ReplayJob, Replayed]
VerifyState = TaskState[_Gold, Verified]


class ProbeDesk:
    """The probes of one host. Thread-safe. What a reader started is shown to that reader only.

    Every `start_…` gives "" or one sentence that says why it was not started.
    """

    def __init__(self, parts: DeskParts, *, spawn: Spawn = on_a_thread) -> None:
        """Nothing runs before it is started."""
        self._parts = parts
        self._lambda = ProbeService(
            writer=parts.writer,
            embedder=parts.embedder,
            verifier=parts.verifier,
            users_first=parts.users_first,
            keep=parts.keep,
            spawn=spawn,
        )
        self._doctor: Task[Patient, Checkup] = Task("checkup", examine, spawn=spawn)
        self._verify: Task[_Gold, Verified] = Task("verification", self._run_gold, spawn=spawn)
        self._replay: Task[ReplayJob, Replayed] = Task("replay", self._run_replay, spawn=spawn)
        self._lock = threading.Lock()  # protects the three lines below
        self._seen_key: object = None
        self._seen: tuple[Observation, ...] = ()
        self._topic: OrderedDict[str, Measure] = OrderedDict()  # by turn

    # --- λ ----------------------------------------------------------------------------------------------

    def probe_for(self, reader: Reader, turn_id: str = "") -> LambdaProbe | str:
        """A probe of a turn of the reader's (the last one), its forms ready to be edited; else a sentence."""
        try:
            turn = self._turn(reader, turn_id)
            probe = LambdaProbe(turn.request.question, turn.request.snippets)
            return replace(probe, forms=probe.all_forms())
        except GuardError as error:
            return str(error)

    def start_probe(self, reader: Reader, probe: LambdaProbe) -> str:
        """Starts the λ probe; finished generations are kept, so that the same probe goes on where it was."""
        return self._lambda.start(probe, reader)

    def stop_probe(self, reader: Reader) -> None:
        """Ends the reader's probe at its next token."""
        self._lambda.stop(reader)

    def probe_state(self, reader: Reader) -> ProbeState:
        """The running or the last probe."""
        return self._lambda.state_for(reader)

    def probe_report(self, reader: Reader) -> Report | None:
        """The last probe as a report (core/report_html.as_html makes a file of it)."""
        result = self.probe_state(reader).result
        if result is None:
            return None
        return lambda_report(result.report, result.forms, self._parts.environment(), stopped=result.stopped)

    # --- doctor -----------------------------------------------------------------------------------------

    def start_doctor(self, reader: Reader, reference: str = "") -> str:
        """Starts the checkup; `reference` as the command takes it: [LABEL=]PATH[@FORM], or ""."""
        parts, model = self._parts, self._parts.model()
        try:
            patient = Patient(
                path=parts.path(),
                open=parts.reading,
                reference=choose_mode(reference) if reference.strip() else None,
                signs=parts.signs(reader),
                turns=parts.turns(reader)[::-1],
                more=self._replayed(reader),
                baselines=parts.baselines,
                model_hash=(model.model_hash if model is not None else None) or "",
                loader=model.loader if model is not None else "",
                embedder=parts.embedder(),
                window=parts.window(),
            )
        except GuardError as error:
            return str(error)
        return self._doctor.start(patient, reader)

    def stop_doctor(self, reader: Reader) -> None:
        """Ends the reader's checkup after the step that runs."""
        self._doctor.stop(reader)

    def doctor_state(self, reader: Reader) -> DoctorState:
        """The running or the last checkup."""
        return self._doctor.state_for(reader)

    def doctor_report(self, reader: Reader) -> Report | None:
        """The last checkup as a report."""
        checkup = self.doctor_state(reader).result
        return None if checkup is None else checkup_report(checkup, self._parts.environment())

    def findings(self, reader: Reader) -> tuple[Observation, ...]:
        """What use has shown so far without asking anything, what to repair first in front. Cheap to poll."""
        signs, turns = self._parts.signs(reader), self._parts.turns(reader)
        more = self._replayed(reader)
        key = (reader, signs, tuple(turn.request.turn_id for turn in turns), self._replay.state.version)
        with self._lock:
            if key == self._seen_key:
                return self._seen
        seen = checkup_of((*more, *observe_use(signs, turns[::-1], window=self._parts.window()))).found
        with self._lock:
            self._seen_key, self._seen = key, seen
        return seen

    def long_run(self, reader: Reader) -> LongRun:
        """The chat of the reader's last turn, by turn. A new turn costs one embedding, the rest is kept."""
        turns = self._parts.turns(reader)
        chat = [turn for turn in turns[::-1] if turn.request.chat_id == turns[0].request.chat_id]
        return long_run_of(chat, self._parts.window(), self._topic_loss)

    def _topic_loss(self, turn: TurnReport) -> Measure:
        id_ = turn.request.turn_id
        with self._lock:
            known = self._topic.get(id_)
        if known is not None:
            return known
        try:
            loss = topic_loss_of(turn, self._parts.embedder())
        except EmbedderError as error:
            return NotScored(Reason.EMBEDDER_FAILED, str(error))
        with self._lock:
            self._topic[id_] = loss
            while len(self._topic) > _TOPICS_KEPT:
                self._topic.popitem(last=False)
        return loss

    # --- the diagnostic prompt --------------------------------------------------------------------------

    def diagnosis(self, reader: Reader, turn_id: str = "") -> Diagnosis | str:
        """The prompt of a turn of the reader's (the last one), from what is measured by now; else a sentence.

        Takes milliseconds. `offers` names what is slow and was not measured; `start_missing` measures λ.
        """
        parts = self._parts
        try:
            turn = self._turn(reader, turn_id)
        except UserError as error:
            return str(error)
        chat = next(c for c in by_chat(parts.turns(reader)[::-1]) if turn in c)
        before = chat[: chat.index(turn) + 1]
        return diagnosis_of(
            Findings(
                self._with_hashes(turn),
                turn.request.extensions if turn.request.extensions is not None else parts.extensions(),
                self._agreement(reader, turn),
                parts.modes(),
                parts.drift(),
                observe_use(parts.signs(reader), before, window=parts.window()),
                parts.limits().distance_fail,
            )
        )

    def start_missing(self, reader: Reader, turn_id: str = "") -> str:
        """Starts the λ probe of that turn; the next `diagnosis` holds its result."""
        probe = self.probe_for(reader, turn_id)
        return probe if isinstance(probe, str) else self.start_probe(reader, probe)

    def _agreement(self, reader: Reader, turn: TurnReport) -> LambdaReport | None:
        state = self.probe_state(reader)
        if state.result is None or state.asked is None:
            return None
        same = state.asked.question == turn.request.question and state.asked.snippets == turn.request.snippets
        return state.result.report if same else None

    def _with_hashes(self, turn: TurnReport) -> TurnReport:
        """The turn with what is known of its model by now; a reply may start before its files are read."""
        then, now = turn.request.model, self._parts.model()
        if (
            then is None
            or now is None
            or then.shard_hash
            or (then.name, then.loader) != (now.name, now.loader)
        ):
            return turn
        return replace(turn, request=replace(turn.request, model=now))

    def _turn(self, reader: Reader, turn_id: str) -> TurnReport:
        turns = self._parts.turns(reader)
        turn = next((one for one in turns if turn_id in ("", one.request.turn_id)), None)
        if turn is None:
            raise UserError("There is no answer yet; ask the model something first.")
        if not turn.request.question.strip():
            raise UserError("This answer has no question to ask again; choose another one.")
        return turn

    # --- replay -----------------------------------------------------------------------------------------

    def start_replay(
        self, reader: Reader, *, extensions: Sequence[str] = (), questions: int = 3, seeds: int = 0
    ) -> str:
        """Asks the reader's last questions again, with each of `extensions` on alone and with all off.

        Without `extensions` all that may change a prompt are tried; with `seeds` λ of the last question, too.
        """
        turns = self._parts.turns(reader)
        asked = tuple(dict.fromkeys(t.request.question for t in turns if t.request.question.strip()))
        if not asked:
            return "There is no question to ask again; ask the model something first."
        names = tuple(extensions) or tuple(self._parts.text_extensions())
        if not names:
            return "No other extension that changes prompts is on; tick one in the Session tab."
        return self._replay.start(ReplayJob(asked[:questions], names, seeds), reader)

    def stop_replay(self, reader: Reader) -> None:
        """Ends the reader's replay at its next token."""
        self._replay.stop(reader)

    def replay_state(self, reader: Reader) -> ReplayState:
        """The running or the last replay."""
        return self._replay.state_for(reader)

    def replay_report(self, reader: Reader) -> Report | None:
        """The last replay as a report: which extension changed the prompt, the citations, ΔS, λ."""
        done = self.replay_state(reader).result
        if done is None:
            return None
        environment = self._parts.environment()
        return replay_report(done.replays, environment, done.agreement, stopped=done.stopped)

    def _replayed(self, reader: Reader) -> tuple[Observation, ...]:
        """T1 and T2 of the reader's last replay."""
        done = self.replay_state(reader).result
        return () if done is None else tuple(one for each in done.replays for one in each.observations)

    def _run_replay(self, job: ReplayJob, tell: Tell, cancel: threading.Event) -> Replayed:
        parts = self._parts
        return run_replay(
            job,
            parts.replay,
            tell,
            cancel,
            users_first=parts.users_first,
            embedder=parts.embedder,
            verifier=parts.verifier,
        )

    # --- gold set ---------------------------------------------------------------------------------------

    def start_verify(self, reader: Reader, text: str, *, answers: bool) -> str:
        """Runs a gold set of JSON lines; without `answers` only retrieval is measured, without a model."""
        gold = read_gold(text.splitlines())
        if not gold.items:
            return f"The gold set holds no usable question: {' '.join(gold.problems[:3]) or 'it is empty.'}"
        return self._verify.start(_Gold(gold, answers), reader)

    def stop_verify(self, reader: Reader) -> None:
        """Ends the reader's verification at its next token."""
        self._verify.stop(reader)

    def verify_state(self, reader: Reader) -> VerifyState:
        """The running or the last verification."""
        return self._verify.state_for(reader)

    def verify_report(self, reader: Reader) -> Report | None:
        """The last verification as a report: its first line is the verdict, then one line an item."""
        done = self.verify_state(reader).result
        if done is None:
            return None
        return verify_report(done.results, done.problems, self._parts.environment(), planned=done.planned)

    def _run_gold(self, gold: _Gold, tell: Tell, cancel: threading.Event) -> Verified:
        parts = self._parts
        runner = Runner(KeptRuns(parts.keep()), tell, cancel, parts.users_first)
        job = VerifyJob(gold.items.items, sampling=GREEDY, limits=parts.limits())
        results = verify(
            job,
            runner,
            embedder=parts.embedder(),
            writer=parts.writer if gold.answers else None,
            retriever=parts.retriever(),
        )
        return Verified(results, gold.items.problems, len(gold.items.items))


_current: ProbeDesk | None = None


def current() -> ProbeDesk | None:
    """The process's one desk, which the host's adapter has put here; None before it has started."""
    return _current


def use(desk: ProbeDesk | None) -> None:
    """Makes `desk` the one that the panel finds."""
    global _current  # one a process: the host re-imports script.py, this package stays
    _current = desk
