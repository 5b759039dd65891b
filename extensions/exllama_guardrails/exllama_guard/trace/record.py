"""What a trace keeps of a finished turn: the fields of the seed study's trace contract.

A record never holds the prompt, the host's state, or anything of the environment. With `with_text=False` it
holds hashes and numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar, cast

from exllama_guard.core.measures import Gate, NotScored, Zone
from exllama_guard.core.snippets import Offsets, Origin, Snippet, Trust, content_hash, trust_of
from exllama_guard.core.turns import (
    NO_RELEVANCE,
    Acted,
    Channel,
    ClaimSupport,
    Coverage,
    Distances,
    Finding,
    Finish,
    ModelInfo,
    PairDistance,
    Reader,
    Relevance,
    SecondOpinion,
    SupportReport,
    Try,
    TurnReport,
    TurnRequest,
    Verdict,
)
from exllama_guard.trace.secrets import masked_deep

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

SCHEMA_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class TraceSnippet:
    """A snippet in a trace: the five contract fields, its text's hash, and its text where allowed."""

    snippet_id: str
    section_id: str
    source_url: str
    tokens: int
    offsets: Offsets
    text_hash: str
    text: str | None
    origin: Origin
    derived: tuple[str, ...] = ()
    score: float | None = None
    index_hash: str | None = None
    analyzer: str | None = None  # None in lines from before it was kept
    trust: Trust | None = None  # the same


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One finished turn as a line of a trace file."""

    schema_version: str
    event: str
    ts: str  # ISO 8601, UTC
    trace_id: str
    chat_id: str | None
    reader: Reader
    channel: Channel
    finish: Finish
    question: str | None
    question_hash: str
    prompt_hash: str | None
    answer: str | None
    answer_hash: str
    snippets: tuple[TraceSnippet, ...]
    cited_ids: tuple[str, ...]
    distances: Distances
    coverage: Coverage
    support: SupportReport
    zone: Zone | None
    distance_gate: Gate
    verdict: Verdict
    model: ModelInfo | None
    regenerate: bool
    tool_turn: bool
    elapsed_s: float
    time_to_first_token_s: float | None
    dedupe_key: str
    not_measured: tuple[str, ...]
    relevance: Relevance | None = None  # None in lines from before it was measured
    acted: Acted | None = None  # what was done because of the verdict; None where nothing was to be done
    second_reader: SecondOpinion | None = None  # what the loaded model said; None where it was not asked
    extensions: tuple[str, ...] | None = None  # the host's other extensions that were on; None: not known
    about_snippets: tuple[Finding, ...] = ()  # places in snippets that speak to the model; () in older lines


def _names(*types: type[DataclassInstance]) -> tuple[str, ...]:
    """Names of the fields that all of the dataclasses have, in the first one's order."""
    return tuple(one.name for one in fields(types[0]) if all(one.name in _all_names(t) for t in types[1:]))


def _all_names(kind: type[DataclassInstance]) -> frozenset[str]:
    return frozenset(one.name for one in fields(kind))


def _same(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


# A field that has one name in both is written and read by that name: a new one needs no more than the two.
_OF_REQUEST = tuple(set(_names(TraceRecord, TurnRequest)) - {"reader", "snippets"})
_OF_REPORT = _names(TraceRecord, TurnReport)
_OF_SNIPPET = tuple(set(_names(TraceSnippet, Snippet)) - {"derived"})


def record_of(report: TurnReport, *, with_text: bool = True) -> TraceRecord:
    """The trace record of a report, secrets masked; without text, every text is empty and its hash stays."""
    report = masked_deep(report)
    request = report.request
    index_hash = next((snippet.index_hash for snippet in request.snippets if snippet.index_hash), "")
    started = datetime.fromtimestamp(request.started_at_s, tz=timezone.utc)
    ids = ",".join(snippet.snippet_id for snippet in request.snippets)
    record = TraceRecord(
        schema_version=SCHEMA_VERSION,
        event="turn",
        ts=started.isoformat(timespec="milliseconds"),
        trace_id=request.turn_id,
        reader=reader_in_trace(request.reader, with_text=with_text),
        question_hash=content_hash(request.question),
        prompt_hash=content_hash(request.prompt) if request.prompt else None,
        answer_hash=content_hash(report.answer),
        snippets=tuple(_trace_snippet(snippet) for snippet in request.snippets),
        dedupe_key=content_hash(f"{request.question}\n{index_hash}\n{ids}"),
        not_measured=tuple(n for n, value in report.measures.items() if isinstance(value, NotScored)),
        **_same(request, _OF_REQUEST),
        **_same(report, _OF_REPORT),
    )
    return record if with_text else _without_text(record)


def report_of(record: TraceRecord) -> TurnReport:
    """The report that a trace record was made of; texts that were not kept are empty.

    A trace keeps neither the prompt, the system prompt, the anchor, the notes nor what was continued.
    """
    request = TurnRequest(
        turn_id=record.trace_id,
        reader=record.reader,
        snippets=tuple(_snippet(snippet) for snippet in record.snippets),
        started_at_s=datetime.fromisoformat(record.ts.replace("Z", "+00:00")).timestamp(),
        **(_same(record, _OF_REQUEST) | {"question": record.question or ""}),
    )
    kept = {"answer": record.answer or "", "relevance": record.relevance or NO_RELEVANCE}
    notes = () if record.answer is not None else ("The text of this turn was not kept.",)
    return TurnReport(request=request, notes=notes, **(_same(record, _OF_REPORT) | kept))


def reader_in_trace(reader: Reader, *, with_text: bool = True) -> Reader:
    """How a trace names a reader: a session by its hash only, and a login too where text is left out."""
    username, session = reader.username, reader.session
    if username is not None and not with_text:
        username = content_hash(username)
    return Reader(username, content_hash(session) if session is not None else None)


def _trace_snippet(snippet: Snippet) -> TraceSnippet:
    return TraceSnippet(
        text_hash=content_hash(snippet.text),
        derived=tuple(sorted(snippet.derived)),
        **_same(snippet, _OF_SNIPPET),
    )


def _snippet(snippet: TraceSnippet) -> Snippet:
    kept = {
        "derived": frozenset(snippet.derived),
        "text": snippet.text or "",
        "trust": snippet.trust or trust_of(snippet.origin),
    }
    return Snippet(**(_same(snippet, _OF_SNIPPET) | kept))


def _without_text(record: TraceRecord) -> TraceRecord:
    return replace(
        record,
        question=None,
        answer=None,
        snippets=tuple(_bare_snippet(snippet) for snippet in record.snippets),
        distances=_bare(record.distances),
        coverage=_bare(record.coverage),
        support=replace(
            record.support,
            claims=tuple(_bare_claim(claim) for claim in record.support.claims),
            findings=tuple(_bare_finding(finding) for finding in record.support.findings),
        ),
        verdict=replace(record.verdict, reasons=()),
        relevance=_bare(record.relevance),
        acted=_bare_acted(record.acted),
        about_snippets=tuple(_bare_finding(finding) for finding in record.about_snippets),
        second_reader=_bare_opinion(record.second_reader),
    )


def _bare_snippet(snippet: TraceSnippet) -> TraceSnippet:
    """The snippet with the names of its source as hashes: a heading or an address tells as much as text."""
    return replace(
        snippet,
        text=None,
        section_id=content_hash(snippet.section_id),
        source_url=content_hash(snippet.source_url),
    )


def _bare(value: T) -> T:
    """A record's part with every NotScored, however deep, without its detail."""
    if isinstance(value, NotScored):
        return replace(value, detail="")
    if isinstance(value, tuple):
        return cast("T", tuple(_bare(part) for part in value))
    if isinstance(value, (Distances, Coverage, PairDistance, Relevance, Try)):
        return replace(value, **{f.name: _bare(getattr(value, f.name)) for f in fields(value)})
    return value


def _bare_claim(claim: ClaimSupport) -> ClaimSupport:
    evidence = replace(claim.evidence, text="") if claim.evidence else None
    findings = tuple(_bare_finding(finding) for finding in claim.findings)
    return replace(claim, text="", evidence=evidence, findings=findings)


def _bare_acted(acted: Acted | None) -> Acted | None:
    """The action without the tries' texts and what was shown; its sentence holds no text of the chat."""
    if acted is None:
        return None
    tries = tuple(replace(_bare(one), answer="") for one in acted.tries)
    return replace(acted, tries=tries, shown="")


def _bare_opinion(opinion: SecondOpinion | None) -> SecondOpinion | None:
    """The opinion without the statements' texts."""
    if opinion is None:
        return None
    return replace(
        opinion,
        statements=tuple(
            replace(
                one, text="", judge=_bare(one.judge), contrast=_bare(one.contrast), entropy=_bare(one.entropy)
            )
            for one in opinion.statements
        ),
    )


def _bare_finding(finding: Finding) -> Finding:
    return replace(finding, message="")
