"""Runs a gold set: retrieves for each form, lets the model answer where there is one, and measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exllama_guard.core.ports import Embedder, Retriever
from exllama_guard.core.snippets import Snippet
from exllama_guard.grounding import answer_of
from exllama_guard.probes.generation import GREEDY, Sampling, TextGenerator, prompt_for
from exllama_guard.probes.gold import GoldItem
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.measures.paraphrase import forms_of
from exllama_guard.probes.measures.verification import ItemResult, item_result, measure_form
from exllama_guard.probes.run import Job, Runner

__all__ = ["VerifyJob", "run_verify"]


@dataclass(frozen=True, slots=True)
class VerifyJob:
    """What to verify. Without a writer only retrieval is measured, which needs no model."""

    items: tuple[GoldItem, ...]
    forms: int = 3
    snippets: int = 4  # retrieved for a form of an item that brings none
    sampling: Sampling = GREEDY
    limits: RetrievalLimits = RetrievalLimits()  # noqa: RUF009 - a frozen value


def run_verify(
    job: VerifyJob,
    runner: Runner,
    *,
    embedder: Embedder | None,
    generator: TextGenerator | None = None,
    retriever: Retriever | None = None,
) -> tuple[ItemResult, ...]:
    """One result an item, in order; stopped half way, the finished ones and the one that was running.

    Raises:
        BackendError: The model is gone or failed.
    """
    out = []
    for item in job.items:
        if runner.cancel.is_set():
            break
        forms = (
            (item.question, *item.forms)[: job.forms] if item.forms else forms_of(item.question, job.forms)
        )
        given = [item.snippets or _retrieved(retriever, form, job.snippets) for form in forms]
        results = [
            measure_form(item, form, snippets, answer, embedder=embedder, limits=job.limits)
            for form, snippets, answer in _answered(job, item, forms, given, runner, generator)
        ]
        out.append(item_result(item, results, len(forms)))
    return tuple(out)


def _retrieved(retriever: Retriever | None, form: str, count: int) -> tuple[Snippet, ...]:
    return retriever.retrieve(form, count) if retriever is not None else ()


def _answered(
    job: VerifyJob,
    item: GoldItem,
    forms: Sequence[str],
    given: Sequence[tuple[Snippet, ...]],
    runner: Runner,
    generator: TextGenerator | None,
) -> list[tuple[str, tuple[Snippet, ...], str | None]]:
    if generator is None:
        return [(form, snippets, None) for form, snippets in zip(forms, given, strict=True)]
    jobs = [
        Job(prompt_for(form, snippets), job.sampling, 0, f"{item.id}, form {number}")
        for number, (form, snippets) in enumerate(zip(forms, given, strict=True), start=1)
    ]
    written = [answer_of(run.text).strip() for _, run in runner.run(generator, jobs)]
    return [(form, snippets, answer) for answer, form, snippets in zip(written, forms, given, strict=False)]
