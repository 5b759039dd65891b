"""What a panel, or anybody inside the host, asks of the probes: start, stop, poll. No gradio, no host."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from exllama_guard.core.turns import Reader, TurnReport
from exllama_guard.errors import UserError
from exllama_guard.probes.background import ReportProgress, Spawn, Task, on_a_thread
from exllama_guard.probes.compare_command import Comparison
from exllama_guard.probes.desk_parts import (
    DeskParts,
    DoctorState,
    GoldToRun,
    ReplayState,
    Verified,
    VerifyState,
    with_hashes,
)
from exllama_guard.probes.doctor.checkup import Checkup, checkup_of
from exllama_guard.probes.doctor.diagnosis import Diagnosis, Findings, diagnosis_of
from exllama_guard.probes.doctor.examine import CheckupRequest, by_chat, examine, observe_use
from exllama_guard.probes.doctor.symptoms import Observation
from exllama_guard.probes.generation import GREEDY
from exllama_guard.probes.gold import read_gold
from exllama_guard.probes.lambda_probe import LambdaProbe
from exllama_guard.probes.long_view import LongView
from exllama_guard.probes.measures.long_run import LongRun
from exllama_guard.probes.measures.stability import LambdaReport
from exllama_guard.probes.modes.opening import choose_mode
from exllama_guard.probes.replay import Replayed, ReplayJob, run_replay
from exllama_guard.probes.reports.probe import lambda_report
from exllama_guard.probes.reports.use import checkup_report, replay_report, verify_report
from exllama_guard.probes.run import Runner
from exllama_guard.probes.run_cache import RunCache
from exllama_guard.probes.service import ProbeService, ProbeState
from exllama_guard.probes.verify import VerifyJob, run_verify
from exllama_guard.report import Report

__all__ = ["ProbeDesk"]


class ProbeDesk:
    """The probes of one host. Thread-safe. What a reader started is shown to that reader only.

    Every `start_…` raises a GuardError that says why it was not started.
    """

    def __init__(self, parts: DeskParts, *, spawn: Spawn = on_a_thread) -> None:
        """Nothing runs before it is started."""
        self._parts = parts
        self._lambda = ProbeService(
            generator=parts.generator,
            embedder=parts.embedder,
            verifier=parts.verifier,
            users_first=parts.users_first,
            keep=parts.keep,
            spawn=spawn,
        )
        self._doctor: Task[CheckupRequest, Checkup] = Task("checkup", examine, spawn=spawn)
        self._verify: Task[GoldToRun, Verified] = Task("verification", self._run_gold, spawn=spawn)
        self._replay: Task[ReplayJob, Replayed] = Task("replay", self._run_replay, spawn=spawn)
        self._long = LongView(parts.embedder, parts.window)
        self.comparison: Comparison = parts.comparison
        self._lock = threading.Lock()  # protects the two lines below
        self._seen_key: object = None
        self._seen: tuple[Observation, ...] = ()

    # --- λ ----------------------------------------------------------------------------------------------

    def probe_for(self, reader: Reader, turn_id: str = "") -> LambdaProbe:
        """A probe of a turn of the reader's (the last one), its forms ready to be edited.

        Raises:
            UserError: There is no such turn, or it has no question that can be asked again.
        """
        turn = self._turn(reader, turn_id)
        probe = LambdaProbe(turn.request.question, turn.request.snippets)
        return replace(probe, forms=probe.all_forms())

    def start_probe(self, reader: Reader, probe: LambdaProbe) -> None:
        """Starts the λ probe; finished generations are kept, so that the same probe goes on where it was."""
        self._lambda.start(probe, reader)

    def stop_probe(self, reader: Reader) -> None:
        """Ends the reader's probe at its next token."""
        self._lambda.stop(reader)

    def probe_state(self, reader: Reader) -> ProbeState:
        """The running or the last probe."""
        return self._lambda.state_for(reader)

    def probe_report(self, reader: Reader) -> Report | None:
        """The last probe as a report (report/html.as_html makes a file of it)."""
        result = self.probe_state(reader).result
        if result is None:
            return None
        return lambda_report(result.report, result.forms, self._parts.environment(), stopped=result.stopped)

    # --- doctor -----------------------------------------------------------------------------------------

    def start_doctor(self, reader: Reader, reference: str = "") -> None:
        """Starts the checkup; `reference` as the command takes it: [LABEL=]PATH[@PRECISION], or ""."""
        parts, model = self._parts, self._parts.model()
        request = CheckupRequest(
            path=parts.path(),
            open=parts.reading,
            reference=choose_mode(reference) if reference.strip() else None,
            signs=parts.signs(reader),
            turns=parts.turns(reader)[::-1],
            more=(*self._replayed(reader), *parts.comparison.observed()),
            baselines=parts.baselines,
            model_hash=(model.model_hash if model is not None else None) or "",
            loader=model.loader if model is not None else "",
            embedder=parts.embedder(),
            window=parts.window(),
            limits=parts.limits(),
        )
        self._doctor.start(request, reader)

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
        """What use has shown so far without asking anything, the first to repair first. Cheap to poll."""
        signs, turns = self._parts.signs(reader), self._parts.turns(reader)
        more = self._replayed(reader)
        limits, window = self._parts.limits(), self._parts.window()
        ids = tuple(turn.request.turn_id for turn in turns)
        key = (reader, signs, ids, self._replay.state.version, limits, window)
        with self._lock:
            if key == self._seen_key:
                return self._seen
        seen = checkup_of((*more, *observe_use(signs, turns[::-1], limits=limits, window=window))).found
        with self._lock:
            self._seen_key, self._seen = key, seen
        return seen

    def long_run(self, reader: Reader) -> LongRun:
        """The chat of the reader's last turn, by turn. A new turn costs one embedding, the rest is kept."""
        return self._long.run(self._parts.turns(reader))

    # --- the diagnostic prompt --------------------------------------------------------------------------

    def diagnosis(self, reader: Reader, turn_id: str = "") -> Diagnosis:
        """The prompt of a turn of the reader's (the last one), from what is measured by now.

        Takes milliseconds. `offers` names what is slow and was not measured; `start_missing` measures λ.

        Raises:
            UserError: There is no such turn.
        """
        parts = self._parts
        turn = self._turn(reader, turn_id)
        chat = next(c for c in by_chat(parts.turns(reader)[::-1]) if turn in c)
        before = chat[: chat.index(turn) + 1]
        return diagnosis_of(
            Findings(
                with_hashes(turn, parts.model()),
                turn.request.extensions if turn.request.extensions is not None else parts.extensions(),
                self._agreement(reader, turn),
                parts.modes(),
                parts.drift(),
                observe_use(parts.signs(reader), before, limits=parts.limits(), window=parts.window()),
                parts.limits().distance_fail,
            )
        )

    def start_missing(self, reader: Reader, turn_id: str = "") -> None:
        """Starts the λ probe of that turn; the next `diagnosis` holds its result."""
        self.start_probe(reader, self.probe_for(reader, turn_id))

    def _agreement(self, reader: Reader, turn: TurnReport) -> LambdaReport | None:
        state = self.probe_state(reader)
        if state.result is None or state.asked is None:
            return None
        same = state.asked.question == turn.request.question and state.asked.snippets == turn.request.snippets
        return state.result.report if same else None

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
    ) -> None:
        """Asks the reader's last questions again, with each of `extensions` on alone and with all off.

        Without `extensions` all that may change a prompt are tried; with `seeds` λ of the last question, too.
        """
        turns = self._parts.turns(reader)
        asked = tuple(dict.fromkeys(t.request.question for t in turns if t.request.question.strip()))
        if not asked:
            raise UserError("There is no question to ask again; ask the model something first.")
        names = tuple(extensions) or tuple(self._parts.text_extensions())
        if not names:
            raise UserError("No other extension that changes prompts is on; tick one in the Session tab.")
        self._replay.start(ReplayJob(asked[:questions], names, seeds), reader)

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

    def _run_replay(
        self, job: ReplayJob, report_progress: ReportProgress, cancel: threading.Event
    ) -> Replayed:
        parts = self._parts
        return run_replay(
            job,
            parts.replay,
            report_progress,
            cancel,
            users_first=parts.users_first,
            embedder=parts.embedder,
            verifier=parts.verifier,
        )

    # --- gold set ---------------------------------------------------------------------------------------

    def start_verify(self, reader: Reader, text: str, *, answers: bool) -> None:
        """Runs a gold set of JSON lines; without `answers` only retrieval is measured, without a model."""
        gold = read_gold(text.splitlines())
        if not gold.items:
            problems = " ".join(gold.problems[:3]) or "it is empty."
            raise UserError(f"The gold set holds no usable question: {problems}")
        self._verify.start(GoldToRun(gold, answers), reader)

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

    def _run_gold(
        self, gold: GoldToRun, report_progress: ReportProgress, cancel: threading.Event
    ) -> Verified:
        parts = self._parts
        runner = Runner(RunCache(parts.keep()), report_progress, cancel, parts.users_first)
        job = VerifyJob(gold.items.items, sampling=GREEDY, limits=parts.limits())
        results = run_verify(
            job,
            runner,
            embedder=parts.embedder(),
            generator=parts.generator if gold.answers else None,
            retriever=parts.retriever(),
        )
        return Verified(results, gold.items.problems, len(gold.items.items))
