"""The λ probe: forms of one question × seeds, generated, clustered by meaning and judged."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from exllama_guard.core.ports import Embedder, Verifier
from exllama_guard.core.snippets import Snippet
from exllama_guard.errors import UserError
from exllama_guard.grounding import answer_of, find_citations
from exllama_guard.probes.generation import DRAWN, Sampling, TextGenerator, prompt_for
from exllama_guard.probes.measures.agreement import (
    EQUAL_COSINE,
    clusters_of,
    is_refusal,
    load_statistics,
    same_meaning,
)
from exllama_guard.probes.measures.paraphrase import forms_of
from exllama_guard.probes.measures.stability import FORMS, SEEDS, Answer, LambdaReport, judge_runs
from exllama_guard.probes.run import Job, Runner

__all__ = ["LambdaProbe", "ProbeResult", "jobs_of", "judge_answers", "run_probe"]


@dataclass(frozen=True, slots=True)
class LambdaProbe:
    """What to ask. `forms` as the user left them after editing; empty: made from the question."""

    question: str
    snippets: tuple[Snippet, ...] = ()
    forms: tuple[str, ...] = ()
    seeds: tuple[int, ...] = tuple(range(1, SEEDS + 1))
    sampling: Sampling = DRAWN
    strict: bool = False
    refusal_expected: bool = False
    citations_wanted: bool | None = None  # None: where snippets are given

    def all_forms(self) -> tuple[str, ...]:
        """The forms to ask, the original first.

        Raises:
            UserError: There is no question, or a form is empty or the same as another.
        """
        if not self.question.strip():
            raise UserError("There is no question; type one.")
        forms = tuple(" ".join(form.split()) for form in self.forms) or forms_of(self.question, FORMS)
        if not all(forms) or len(set(forms)) < len(forms):
            raise UserError("Two forms of the question are equal, or one is empty; change or remove it.")
        return forms


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The judged grid of one mode, with what it was run with."""

    writer_id: str
    forms: tuple[str, ...]
    seeds: tuple[int, ...]
    sampling: Sampling
    report: LambdaReport
    stopped: bool


def run_probe(
    probe: LambdaProbe,
    generator: TextGenerator,
    runner: Runner,
    *,
    embedder: Embedder,
    verifier: Verifier | None = None,
) -> ProbeResult:
    """Runs the grid and judges it; stopped half way, finished runs are kept and the verdict is not scored.

    Raises:
        UserError: The probe cannot be run as it is.
        BackendError: The model is gone or failed.
        EmbedderError: The answers cannot be compared.
        VerifierError: The verifier failed.
    """
    forms = probe.all_forms()
    grid = _grid(probe, forms)
    jobs = jobs_of(probe)
    threading.Thread(target=load_statistics, name="guardrails-statistics", daemon=True).start()
    runs: list[Answer] = []
    for (_, written), (form, seed) in zip(runner.run(generator, jobs), grid, strict=False):
        runs.append(Answer(form, seed, answer_of(written.text).strip()))
    report = judge_answers(runs, probe, planned=len(grid), embedder=embedder, verifier=verifier)
    return ProbeResult(generator.id, forms, probe.seeds, probe.sampling, report, len(runs) < len(grid))


def jobs_of(probe: LambdaProbe) -> list[Job]:
    """The generations of the grid, in the order in which they are judged.

    Raises:
        UserError: The probe cannot be run as it is.
    """
    forms = probe.all_forms()
    return [
        Job(prompt_for(forms[form], probe.snippets), probe.sampling, seed, f"form {form + 1}, seed {seed}")
        for form, seed in _grid(probe, forms)
    ]


def _grid(probe: LambdaProbe, forms: Sequence[str]) -> list[tuple[int, int]]:
    return [(form, seed) for form in range(len(forms)) for seed in probe.seeds]


def judge_answers(
    runs: Sequence[Answer],
    probe: LambdaProbe,
    *,
    planned: int,
    embedder: Embedder,
    verifier: Verifier | None = None,
) -> LambdaReport:
    """Clusters finished answers by meaning and judges them.

    Raises:
        EmbedderError: The answers cannot be compared.
        VerifierError: The verifier failed.
    """
    read = [_read(run, probe.snippets) for run in runs]
    spoken = [index for index, run in enumerate(read) if not run.aborted]
    answering = [index for index in spoken if not read[index].refused]
    clusters: dict[int, int] = {}
    if answering:
        near = same_meaning([read[i].text for i in answering], embedder=embedder, verifier=verifier)
        clusters = dict(zip(answering, clusters_of(near, EQUAL_COSINE), strict=True))
    refusals = max(clusters.values(), default=-1) + 1  # refusals are one cluster, whatever their words
    clusters |= {index: refusals for index in spoken if read[index].refused}
    wanted = probe.citations_wanted
    return judge_runs(
        [replace(run, cluster=clusters.get(index)) for index, run in enumerate(read)],
        planned=planned,
        citations_wanted=bool(probe.snippets) if wanted is None else wanted,
        deterministic=probe.sampling.deterministic,
        strict=probe.strict,
        refusal_expected=probe.refusal_expected,
    )


def _read(run: Answer, snippets: Sequence[Snippet]) -> Answer:
    found = (citation.snippet_id for citation in find_citations(run.text, snippets))
    cited = frozenset(name for name in found if name is not None)
    return replace(run, cited=cited, refused=is_refusal(run.text), aborted=not run.text)
