"""Runs the same items through each mode, one mode loaded at a time, the reference first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from exllama_guard.core.measures import FloatArray, Measure, NotScored, Reason
from exllama_guard.core.ports import Embedder, Verifier
from exllama_guard.core.snippets import content_hash
from exllama_guard.errors import BackendError
from exllama_guard.grounding import answer_of, find_citations, measure_distances
from exllama_guard.probes.generation import DRAWN, Sampling, TextGenerator, prompt_for
from exllama_guard.probes.gold import GoldItem
from exllama_guard.probes.lambda_probe import LambdaProbe, run_probe
from exllama_guard.probes.measures.agreement import EQUAL_COSINE, same_meaning
from exllama_guard.probes.measures.comparison import ItemRun, ModeRun
from exllama_guard.probes.measures.logit_drift import LogitDrift, logit_drift, pooled
from exllama_guard.probes.measures.resonance import answer_side_of
from exllama_guard.probes.measures.stability import LambdaReport
from exllama_guard.probes.run import Job, Runner
from exllama_guard.probes.timing import TIMED_TOKENS, token_seconds
from exllama_guard.tools import read_json

__all__ = ["CompareJob", "Mode", "ModeSource", "run_compare", "probe_of"]

FORCED_TOKENS = 160  # of each text whose distributions are compared

# Asked of every mode; valid is an answer that is one JSON object with these keys and nothing else.
JSON_CASES = (
    ("Give Paris and its country as a JSON object, keys city and country. Only JSON.", ("city", "country")),
    ("Write a JSON object with the keys name and age for Ann, who is 30. Only JSON.", ("name", "age")),
    ("Write a JSON object with the key colours, a list of two colours. Only JSON.", ("colours",)),
)


class Mode(TextGenerator, Protocol):
    """A loaded mode that also tells its distributions."""

    @property
    def tokenizer_hash(self) -> str | NotScored:
        """Of the tokenizer's files."""
        ...

    @property
    def timed(self) -> bool:
        """Whether the time it takes is that of the mode."""
        ...

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added."""
        ...

    def distributions(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Shape (n - 1, vocabulary): natural logs of P(next | ids[: i + 1])."""
        ...

    def close(self) -> None:
        """Lets the model go."""
        ...


@dataclass(frozen=True, slots=True)
class ModeSource:
    """A mode that can be opened. `open` raises BackendError where it cannot be loaded."""

    label: str
    kind: str
    bits: float | None
    open: Callable[[], Mode]
    open_timed: Callable[[], Mode] | None = None  # as it would be used, where `open` computes in another way
    speed_note: str = ""


@dataclass(frozen=True, slots=True)
class CompareJob:
    """What to run in each mode."""

    items: tuple[GoldItem, ...]
    max_tokens: int = 48
    forced_texts: tuple[str, ...] = ()
    probed_items: int = 0  # first items whose λ is probed
    json_cases: bool = True
    drawn: Sampling = DRAWN
    timing: bool = True
    timed_tokens: int = TIMED_TOKENS  # of each timed run; more where a token takes a few ms


@dataclass(slots=True)
class _Reference:
    """What the later modes are held against."""

    logs: list[FloatArray]
    ids: list[tuple[int, ...]]
    answers: dict[str, str]


def run_compare(
    job: CompareJob,
    sources: Sequence[ModeSource],
    runner: Runner,
    *,
    embedder: Embedder,
    verifier: Verifier | None = None,
    report_mode: Callable[[str], None] = lambda _: None,
    report_run: Callable[[ModeRun], None] = lambda _: None,
) -> tuple[ModeRun, ...]:
    """One result a mode, in order, the first being the reference; a mode that fails says so in `problem`.

    Stopped half way, what is finished is returned; generations are kept by the runner. `tell_run` gets each
    result as soon as it is there.

    Raises:
        EmbedderError: The answers cannot be measured.
    """
    reference: _Reference | None = None
    out: list[ModeRun] = []
    for source in sources:
        if runner.cancel.is_set():
            break
        report_mode(source.label)
        try:
            token_s = _timed(source.open_timed, job, runner) if job.timing and source.open_timed else None
            mode = source.open()
            try:
                if job.timing and token_s is None:
                    token_s = _token_s(mode, job, runner)
                run, seen = _run_mode(job, source, mode, runner, reference, embedder, verifier)
                run = replace(run, token_s=token_s or run.token_s, speed_note=source.speed_note)
            finally:
                mode.close()
        except BackendError as error:
            run = ModeRun(source.label, source.kind, source.bits, problem=str(error))
        else:
            reference = reference or seen
        out.append(run)
        report_run(run)
    return tuple(out)


def _timed(open_timed: Callable[[], Mode], job: CompareJob, runner: Runner) -> tuple[float, ...] | NotScored:
    mode = open_timed()
    try:
        return _token_s(mode, job, runner)
    finally:
        mode.close()


def _token_s(mode: Mode, job: CompareJob, runner: Runner) -> tuple[float, ...] | NotScored:
    if not mode.timed:
        return NotScored(Reason.NOT_SUPPORTED, "the weights of a GGUF are put back to floats here")
    return token_seconds(mode, runner.cancel, of_tokens=job.timed_tokens)


def _run_mode(
    job: CompareJob,
    source: ModeSource,
    mode: Mode,
    runner: Runner,
    reference: _Reference | None,
    embedder: Embedder,
    verifier: Verifier | None,
) -> tuple[ModeRun, _Reference]:
    greedy = Sampling(0.0, 1.0, 0, job.max_tokens)
    jobs = [Job(prompt_for(i.question, i.snippets), greedy, 0, f"{source.label}: {i.id}") for i in job.items]
    items = [
        _measured(item, answer_of(written.text).strip(), written.elapsed_s, written.tokens, embedder)
        for (_, written), item in zip(runner.run(mode, jobs), job.items, strict=False)
    ]
    if reference is not None:
        items = _with_flips(items, reference.answers, embedder, verifier)
    drift, floor, seen = _forced(job.forced_texts, mode, reference)
    seen.answers = {item.item_id: item.answer for item in items}
    run = ModeRun(
        label=source.label,
        kind=source.kind,
        bits=source.bits,
        items=tuple(items),
        drift=drift,
        floor=floor,
        json_valid=_json_cases(mode, runner, job) if job.json_cases else NotScored(Reason.SWITCHED_OFF),
        probes=_probes(job, mode, runner, embedder, verifier),
        tokenizer_hash=mode.tokenizer_hash,
        ids_hash=content_hash(repr(seen.ids)) if seen.ids else "",
    )
    return run, seen


def _measured(item: GoldItem, answer: str, elapsed_s: float, tokens: int, embedder: Embedder) -> ItemRun:
    found = {citation.snippet_id for citation in find_citations(answer, item.snippets)}
    cited = [index for index, snippet in enumerate(item.snippets) if snippet.snippet_id in found]
    distances = measure_distances(
        item.question, answer, item.snippets, cited=cited, anchor=item.anchor, embedder=embedder
    )
    distance: Measure = answer_side_of(distances)
    right = None if item.answer is None else _folded(item.answer) in _folded(answer)
    return ItemRun(item.id, answer, distance, elapsed_s, tokens, right)


def _folded(text: str) -> str:
    return " ".join(text.casefold().replace(",", "").split())


def _with_flips(
    items: Sequence[ItemRun], before: dict[str, str], embedder: Embedder, verifier: Verifier | None
) -> list[ItemRun]:

    out = []
    for item in items:
        if item.item_id not in before:
            out.append(item)
            continue
        near = same_meaning([before[item.item_id], item.answer], embedder=embedder, verifier=verifier)
        same = before[item.item_id] == item.answer or near[0, 1] <= 1.0 - EQUAL_COSINE
        out.append(replace(item, flipped=not same))
    return out


def _forced(
    texts: Sequence[str], mode: Mode, reference: _Reference | None
) -> tuple[LogitDrift | NotScored, LogitDrift | NotScored, _Reference]:
    """Drift against the reference, the mode's own floor (the same text twice), and what it showed."""
    ids_of = [mode.token_ids(text)[:FORCED_TOKENS] for text in texts]
    if reference is not None and ids_of != reference.ids:
        why = NotScored(Reason.NOT_SUPPORTED, "the tokenizers differ, so there are no shared tokens")
        return why, why, _Reference([], ids_of, {})
    drifts: list[LogitDrift | NotScored] = []
    floors: list[LogitDrift | NotScored] = []
    seen = _Reference([], list(ids_of), {})
    for place, ids in enumerate(ids_of):
        if len(ids) < 2:
            continue
        first, second = mode.distributions(ids), mode.distributions(ids)
        if isinstance(first, NotScored) or isinstance(second, NotScored):
            why = first if isinstance(first, NotScored) else NotScored(Reason.FAILED)
            return why, why, seen
        floors.append(logit_drift(first, second, ids))
        if reference is None:
            seen.logs.append(first)
        elif place < len(reference.logs):
            drifts.append(logit_drift(reference.logs[place], first, ids))
    floor = pooled(floors)
    return (floor if reference is None else pooled(drifts)), floor, seen


def _json_cases(mode: Mode, runner: Runner, job: CompareJob) -> tuple[int, int] | NotScored:
    greedy = Sampling(0.0, 1.0, 0, job.max_tokens)
    jobs = [Job(text, greedy, 0, "JSON") for text, _ in JSON_CASES]
    done = list(runner.run(mode, jobs))
    if len(done) < len(jobs):
        return NotScored(Reason.STOPPED)
    valid = 0
    for (_, keys), (_, written) in zip(JSON_CASES, done, strict=True):
        read = read_json(answer_of(written.text).strip())
        valid += read.ok and isinstance(read.value, dict) and set(read.value) == set(keys)
    return valid, len(jobs)


def _probes(
    job: CompareJob, mode: Mode, runner: Runner, embedder: Embedder, verifier: Verifier | None
) -> dict[str, LambdaReport]:
    found: dict[str, LambdaReport] = {}
    for item in job.items[: job.probed_items]:
        probe = probe_of(job, item)
        found[item.id] = run_probe(probe, mode, runner, embedder=embedder, verifier=verifier).report
    return found


def probe_of(job: CompareJob, item: GoldItem) -> LambdaProbe:
    """The λ probe of one item."""
    return LambdaProbe(
        item.question,
        item.snippets,
        (item.question, *item.forms) if item.forms else (),
        sampling=job.drawn,
        refusal_expected=item.refusal_expected,
    )
