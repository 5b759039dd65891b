"""The catalogue of symptoms, what an observation of one looks like, and which fault to repair first."""
# ruff: noqa: E501 - a table is read one row a line

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.probes.doctor.fix_pages import FixPage, fix_page

__all__ = ["CATALOGUE", "Cost", "Observation", "Stage", "Symptom", "fired", "observed", "unobserved", "worst"]


class Stage(IntEnum):
    """Where a fault sits. A fault further up makes the signs further down, so it is repaired first."""

    BOOT = 1  # versions, files, the first run
    SCHEMA = 2
    RETRIEVAL = 3
    REASONING = 4


@dataclass(frozen=True, slots=True)
class Symptom:
    """One row of docs/doctor.md."""

    id: str
    title: str
    rule: str
    stage: Stage
    page_ids: tuple[str, ...]

    @property
    def pages(self) -> tuple[FixPage, ...]:
        """The pages that explain it, the smallest fix first."""
        return tuple(fix_page(id_) for id_ in self.page_ids)


@dataclass(frozen=True, slots=True)
class Cost:
    """How an observation was made: `by` files, reading or reference; `shortened`: why less was read, else ''."""

    by: str = ""
    tokens: int = 0
    seconds: float = 0.0
    shortened: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """One detector's answer. PASS: not seen; REVIEW, FAIL: seen; NOT_MEASURED: `evidence` says why not."""

    symptom: Symptom
    verdict: Gate
    evidence: str
    inputs: Mapping[str, str | float | None] = field(default_factory=dict)
    cost: Cost = Cost()

    @property
    def pages(self) -> tuple[FixPage, ...]:
        """The pages to read, where the symptom is seen; none else."""
        return self.symptom.pages if self.verdict in (Gate.FAIL, Gate.REVIEW) else ()


_BOOT, _SCHEMA, _FIND, _REASON = Stage.BOOT, Stage.SCHEMA, Stage.RETRIEVAL, Stage.REASONING
_ROWS = (
    # the five breakpoints
    ("EX1", "First run slower or unstable", "TTFT of run 1 over the median of runs 2-5 above 1.5, or another greedy text", _BOOT, "bootstrap-ordering"),
    ("EX2", "ΔS spikes with quantised weights", "tokenizers differ, else paired answer-side ΔS difference above 0.10 with its interval above 0", _FIND, "embedding-vs-semantic chunking-checklist"),
    ("EX3", "Corruption after long runs", "NaN or Inf; warm canary not the cold one beyond the floor; or ΔS rising (context drift)", _REASON, "context-drift entropy-collapse"),
    ("EX4", "Tool schema breaks", "parsed below 99 %, valid below 98 %, or prose around a call", _SCHEMA, "prompt-injection logic-collapse"),
    ("EX5", "Shards disagree", "shard hash changed, mean KL to the baseline above 3 × floor, or a canary above 120 s", _BOOT, "deployment-deadlock"),
    # versions and files
    ("PC1", "Tokenizer does not belong to the weights", "hash or ids differ from the reference, ids beyond the vocabulary, or plain English is not recognised", _BOOT, "predeploy-collapse pins"),
    ("PC3", "torch, CUDA, driver and wheels disagree", "a wheel was built for another torch or CUDA, or cannot be imported", _BOOT, "predeploy-collapse bootstrap-ordering"),
    ("PC4", "Chat template missing, foreign or unfilled", "{{ }} or ${ } left in a finished prompt; a message, the opening of the reply or the model's own turn tokens are not in it; or a chat model has none", _BOOT, "predeploy-collapse"),
    ("P1", "Start and end tokens disagree", "the token that ends a reply is not among eos_token_id, the start token stands twice, or config.json and the tokenizer name others", _BOOT, "predeploy-collapse pins"),
    ("P2", "Context longer than the model's", "max_position_embeddings beyond 8 times what the RoPE base can tell apart without scaling, another one than the tokenizer's or the reference's", _BOOT, "longctx ldi"),
    ("W1", "Weights missing, unreadable or of another shape", "a file is cut, empty, a pointer or absent; layers, heads, rows or types are not those of the configuration; or the loader filled tensors with random numbers", _BOOT, "predeploy-collapse pins"),
    ("W2", "Weights damaged", "values not finite, only zeros, copied, 3 times the scale of the layers beside; a layer without which plain English reads better by 0.1 nats; or tensors that are not the reference's", _BOOT, "predeploy-collapse pins"),
    ("PC5", "RoPE base missing or wrong", "no rope_theta where a loader looks for it, two that differ, another one than the reference's, or another base reads plain English better by 0.05 nats a token", _BOOT, "predeploy-collapse exllamav2"),
    ("V5", "Loader computes something else than the reference", "mean KL on fixed tokens above 0.05 nats and above 3 × floor", _BOOT, "bootstrap-ordering predeploy-collapse exllamav2"),
    ("T5", "Generation before the model was ready", "a reply started before the warm-up ended", _BOOT, "bootstrap-ordering"),
    # quantisation and the loader
    ("SR1", "Loader gives no log-probabilities", "second_reader is on, and the loader gives none of the next token: the model is never asked", _REASON, "ldi"),
    ("V1", "Fluent text, citations missing", "snippets were given, nothing is cited", _SCHEMA, "data-contracts retrieval-traceability"),
    ("V2", "Wrong snippet despite high similarity", "ΔS(question, snippet) within its limit (0.45), but coverage below 0.50 or ΔS(snippet, anchor) from the limit (0.60)", _FIND, "embedding-vs-semantic vectorstore-fragmentation"),
    ("V3", "JSON breaks with a quantised mode", "fewer valid JSON answers than the reference, or below 98 %", _SCHEMA, "logic-collapse data-contracts"),
    ("V4", "Long chain diverges", "λ of a step is ×, or E_resonance rises", _REASON, "entropy-collapse context-drift"),
    # extensions and the WebUI
    ("T1", "An extension changes the prompt", "another prompt for the same question with extensions on", _SCHEMA, "data-contracts retrieval-traceability"),
    ("T2", "Citations lost with extensions", "other snippets are cited with extensions on", _SCHEMA, "retrieval-traceability"),
    ("T3", "ΔS rises with several users", "the same question, alone and beside another reply: ΔS above the limit (0.60) and 0.10 above alone", _REASON, "context-drift entropy-collapse"),
    # retrieval
    ("RT1", "A sentence leads to no snippet", "a sentence that no snippet supports and none contradicts", _FIND, "retrieval-traceability"),
    ("RT3", "Retrieval is far from the question", "ΔS(question, snippet) from the limit (0.60)", _FIND, "rag-arch playbook"),
    ("CH1", "A header or footer is cited", "a cited snippet begins with or is a page header", _FIND, "chunking-checklist"),
    ("CH2", "Same snippet for unrelated questions", "one snippet first for more than one of 5 unrelated questions", _FIND, "chunking-checklist"),
    ("CH4", "Half a sentence is cited", "a cited snippet begins or ends inside a sentence", _FIND, "chunking-checklist"),
    ("VF2", "Duplicate snippets", "more than 15 % of the snippets are near-duplicates", _FIND, "vectorstore-fragmentation"),
    # long runs and reasoning
    ("EC1", "Repetition loop", "the same 4 words at least 3 times within 64", _REASON, "entropy-collapse"),
    ("EC2", "Topic loss within an answer", "ΔS to the question of the last third of sentences more than 0.10 above the first", _REASON, "entropy-collapse context-drift"),
    ("CD1", "A chat leaves its goal", "5-turn mean of ΔS more than 0.10 above the first 5", _REASON, "context-drift"),
    ("LC2", "ΔS snaps", "ΔS rises by more than 0.60 in one step", _REASON, "logic-collapse"),
    ("IC1", "A sentence contradicts a snippet", "a sentence that is not supported and says another number or date than a snippet, or the opposite", _REASON, "retrieval-collapse"),
    ("LC4", "Blind retry", "the same prompt at least 3 times in a row", _REASON, "logic-collapse"),
    ("LD5", "A corrected claim returns", "a sentence of a failed answer stands in a later one", _REASON, "reentry"),
    ("LD6", "Context cut early", "the prompt fills the context to its limit", _REASON, "ldi longctx"),
    ("PI2", "System prompt leaks", "8 words in a row of the system prompt in an answer, not in the question or a snippet", _SCHEMA, "prompt-injection"),
    ("RP3", "Citations of two sections in one sentence", "one sentence cites snippets of different sections", _FIND, "scu"),
)  # fmt: skip

CATALOGUE = {
    id_: Symptom(id_, title, rule, stage, tuple(pages.split())) for id_, title, rule, stage, pages in _ROWS
}


def observed(id_: str, verdict: Gate, evidence: str, **inputs: str | float | NotScored | None) -> Observation:
    """An observation of the symptom `id_`; inputs that were not scored are kept as their reason.

    Raises:
        KeyError: There is no such symptom.
    """
    plain = {name: str(value) if isinstance(value, NotScored) else value for name, value in inputs.items()}
    return Observation(CATALOGUE[id_], verdict, evidence, plain)


def unobserved(id_: str, why: str | NotScored) -> Observation:
    """An observation that could not be made, with the reason.

    Raises:
        KeyError: There is no such symptom.
    """
    return Observation(CATALOGUE[id_], Gate.NOT_MEASURED, str(why))


def worst(first: Observation, second: Observation) -> Observation:
    """The worse of two observations of one symptom; the first where they are alike."""
    order = (Gate.FAIL, Gate.REVIEW, Gate.PASS, Gate.NOT_MEASURED)
    return min((first, second), key=lambda one: order.index(one.verdict))


_WEIGHT = {Gate.FAIL: 0, Gate.REVIEW: 1}


def fired(observations: Iterable[Observation]) -> tuple[Observation, ...]:
    """The symptoms that were seen; the first one is what to repair first: boot, schema, retrieval, reasoning."""
    seen = [one for one in observations if one.verdict in _WEIGHT]
    return tuple(sorted(seen, key=lambda one: (one.symptom.stage, _WEIGHT[one.verdict], one.symptom.id)))
