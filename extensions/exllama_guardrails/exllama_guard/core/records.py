"""The values that travel: snippets in, a turn's report out. Frozen, comparable, free of behaviour."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]

_WORD = re.compile(r"\w+|[^\w\s]", re.UNICODE)


class Reason(str, Enum):
    """Why a value could not be computed."""

    NO_QUESTION = "no question"
    NO_SNIPPETS = "no snippets"
    NO_ANCHOR = "no anchor"
    NO_CITATIONS = "the answer cites nothing"
    NO_CLAIMS = "the answer claims nothing"
    EMPTY_ANSWER = "empty answer"
    ZERO_VECTOR = "text without content for the embedder"
    EMBEDDER_MISSING = "embedder missing"
    EMBEDDER_FAILED = "embedder failed"
    STOPPED = "stopped by the user"
    NO_SECOND_MODE = "no second mode"
    DETERMINISTIC_SAMPLER = "sampler is deterministic"
    NOT_ENOUGH_DATA = "not enough data"
    TOOL_CALL = "the reply is a tool call"
    NO_MODEL = "no model loaded"
    NOT_SUPPORTED = "not possible with this loader"
    SWITCHED_OFF = "switched off"
    TOO_MANY = "too many snippets"
    SHED = "dropped, too much was waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NotScored:
    """A value that could not be computed; never 0.0, never NaN, never a pass."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"not measured: {self.reason.value}" + (f" ({self.detail})" if self.detail else "")


Measure: TypeAlias = "float | NotScored"


class Zone(str, Enum):
    """Band of a cosine distance (docs/measures.md): closed below, open above."""

    SAFE = "safe"
    TRANSIT = "transit"
    RISK = "risk"
    DANGER = "danger"


class Gate(str, Enum):
    """Outcome of comparing one number with its limits, and of a whole turn."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    REVIEW = "REVIEW"
    FAIL = "FAIL"
    NOT_MEASURED = "NOT_MEASURED"


class Origin(str, Enum):
    """Where a snippet came from."""

    ATTACHMENT = "attachment"
    WEB_SEARCH = "web search"
    TOOL_RESULT = "tool result"
    SUPERBOOGA = "superbooga"
    MARKED_BLOCK = "marked block"
    HANDED_OVER = "handed over"
    KNOWLEDGE = "knowledge folder"
    PASTED = "pasted"


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range [start, end) of characters, 0 <= start <= end."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"a span must have 0 <= start <= end, not {self.start}..{self.end}")

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Offsets:
    """Where a snippet's text stands in its source: [start, end) in `unit` (char, byte or token)."""

    start: int
    end: int
    unit: str = "char"


@dataclass(frozen=True, slots=True)
class Snippet:
    """One retrieved passage. `derived` names the contract fields that its source did not give."""

    snippet_id: str
    text: str
    section_id: str
    source_url: str
    tokens: int
    offsets: Offsets
    origin: Origin = Origin.PASTED
    derived: frozenset[str] = frozenset()
    score: float | None = None
    index_hash: str | None = None
    analyzer: str | None = None  # what its index was made with, such as the id of an embedding model


def count_tokens(text: str) -> int:
    """Number of words and punctuation marks in `text`, >= 0: the extension's own unit for `tokens`."""
    return sum(1 for _ in _WORD.finditer(text))


def words(text: str) -> list[str]:
    """Case-folded words of `text` in order, without punctuation."""
    return [match.group().casefold() for match in _WORD.finditer(text) if match.group()[0].isalnum()]


def encodable(text: str) -> str:
    """`text` with each lone surrogate, which no encoder or tokenizer accepts, as `?`; of the same length."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def content_hash(text: str) -> str:
    """`sha256:` and 64 hex digits of the text's UTF-8 bytes (lone surrogates replaced)."""
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def make_snippet(
    text: str,
    *,
    position: int,
    snippet_id: str | None = None,
    section_id: str | None = None,
    source_url: str | None = None,
    offsets: Offsets | None = None,
    origin: Origin = Origin.PASTED,
    score: float | None = None,
    index_hash: str | None = None,
    analyzer: str | None = None,
) -> Snippet:
    """A snippet whose missing contract fields are derived deterministically and marked as derived.

    Args:
        text: The passage.
        position: Place among the turn's snippets, from 0; gives the id s1, s2, ... where none is given.
        snippet_id: Id in its source.
        section_id: Section in its source; derived from the source (or the text's hash) where missing.
        source_url: URL or content hash; derived from the text's hash where missing.
        offsets: Place of the text in its source; [0, len) where missing.
        origin: Where it came from.
        score: The retriever's own score, if it has one.
        index_hash: Hash of the index that it was retrieved from, if there is one.
        analyzer: What that index was made with, such as the id of an embedding model.
    """
    text = encodable(text)
    given = {
        "snippet_id": snippet_id,
        "section_id": section_id,
        "source_url": source_url,
        "offsets": offsets,
    }
    url = source_url or content_hash(text)
    return Snippet(
        snippet_id=snippet_id or f"s{position + 1}",
        text=text,
        section_id=section_id or f"section:{hashlib.sha256(url.encode('utf-8', 'replace')).hexdigest()[:12]}",
        source_url=url,
        tokens=count_tokens(text),
        offsets=offsets or Offsets(0, len(text)),
        origin=origin,
        derived=frozenset(name for name, value in given.items() if value is None),
        score=score,
        index_hash=index_hash,
        analyzer=analyzer,
    )


def with_unique_ids(snippets: Iterable[Snippet]) -> tuple[Snippet, ...]:
    """The same snippets in order, later duplicates of an id renamed `id-2`, `id-3`, ..."""
    given = tuple(snippets)
    taken = {snippet.snippet_id for snippet in given}
    seen: dict[str, int] = {}
    out: list[Snippet] = []
    for snippet in given:
        name = snippet.snippet_id
        seen[name] = count = seen.get(name, 0) + 1
        if count > 1:
            while f"{name}-{count}" in taken:
                count += 1
            seen[name] = count
            taken.add(f"{name}-{count}")
            derived = snippet.derived | {"snippet_id"}
            snippet = replace(snippet, snippet_id=f"{name}-{count}", derived=derived)
        out.append(snippet)
    return tuple(out)


# --- support of an answer ------------------------------------------------------------------------------


class ClaimKind(str, Enum):
    """What a piece of an answer is; only CLAIM is counted for or against the answer."""

    CLAIM = "claim"
    QUESTION = "question"
    GREETING = "greeting"
    REFUSAL = "refusal"
    HEDGE = "hedge"
    CODE = "code"
    HEADING = "heading"


class FindingKind(str, Enum):
    """Which check speaks."""

    NUMBER = "number"
    DATE = "date"
    NAME = "name"
    NEGATION = "negation"
    COMPARISON = "comparison"
    QUOTE = "quote"
    CITATION = "citation"
    DISAGREEMENT = "snippets disagree"
    VERIFIER = "verifier"
    NOT_FOUND = "not found"


class Severity(str, Enum):
    """How a finding weighs: a conflict contradicts the snippets, a gap is absent from them."""

    CONFLICT = "conflict"
    GAP = "gap"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason, in one plain sentence, with the places it speaks of.

    `answer_span` counts characters of the whole answer, `snippet_span` characters of the snippet's text.
    """

    kind: FindingKind
    severity: Severity
    message: str
    answer_span: Span | None = None
    snippet_id: str | None = None
    snippet_span: Span | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """The window of 1-3 consecutive snippet sentences that carries a claim best."""

    snippet_id: str
    span: Span
    text: str
    overlap: float  # idf-weighted share of the claim's words found in the window, [0, 1]
    similarity: float | None = None  # cosine similarity [-1, 1]; None without an embedder


@dataclass(frozen=True, slots=True)
class ClaimSupport:
    """How far the snippets carry one piece of the answer. `span` counts characters of the answer."""

    text: str
    span: Span
    kind: ClaimKind
    support: Measure  # calibrated probability [0, 1]
    gate: Gate
    evidence: Evidence | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class SupportReport:
    """Support of a whole answer: as supported as its worst claim."""

    support: Measure  # calibrated probability [0, 1]
    gate: Gate
    supported: bool | None = None  # support at or above the operating point; None where not scored
    claims: tuple[ClaimSupport, ...] = ()
    findings: tuple[Finding, ...] = ()  # of the answer as a whole, such as snippets that disagree

    @property
    def worst(self) -> ClaimSupport | None:
        """The counted claim with the lowest support, or None."""
        counted = [claim for claim in self.claims if isinstance(claim.support, float)]
        return min(counted, key=lambda claim: claim.support, default=None)  # type: ignore[arg-type,return-value]


# --- a turn ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PairDistance:
    """Cosine distances of one text to each of k snippets, in snippet order; each in [0, 2]."""

    each: tuple[Measure, ...]
    top1: Measure
    min: Measure
    mean: Measure
    cited: Measure


@dataclass(frozen=True, slots=True)
class Distances:
    """Every ΔS of a turn by pair (docs/measures.md), with the id of the embedder that measured it."""

    embedder_id: str | None
    question_context: PairDistance
    answer_context: PairDistance
    context_anchor: Measure
    answer_anchor: Measure
    question_answer: Measure

    @property
    def gated(self) -> Measure:
        """ΔS(question, context) that the gate reads: `cited` where the answer cites, else `top1`."""
        cited = self.question_context.cited
        return cited if isinstance(cited, float) else self.question_context.top1


class AnchorKind(str, Enum):
    """Whether the anchor was given by the user or stands in (the best supported snippet)."""

    GIVEN = "given"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of the anchor inside the cited (else retrieved) text, and share of cited text outside it."""

    coverage: Measure  # [0, 1]
    bleed: Measure  # [0, 1]
    method: str = ""  # "intervals" or "lcs"
    anchor_kind: AnchorKind | None = None


class Finish(str, Enum):
    """How a reply ended."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    STOPPED = "stopped"
    DISCONNECTED = "disconnected"
    FAILED = "failed"


class Channel(str, Enum):
    """Which way a turn came."""

    CHAT = "chat"
    API_CHAT = "API chat"
    COMPLETION = "completion"
    PASTED = "pasted"
    HEADLESS = "headless"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who may see a turn: a login name, else a browser session, else an API client (both None)."""

    username: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The loaded model as the host names it; fields that the loader does not tell are None."""

    name: str
    loader: str
    quantisation: str | None = None
    cache_type: str | None = None
    context_tokens: int | None = None
    model_hash: str | None = None
    shard_hash: str | None = None
    devices: str | None = None  # what the hash is of, in words: how many devices, how they are used


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What is known when a reply starts."""

    turn_id: str
    question: str
    snippets: tuple[Snippet, ...]
    prompt: str = ""
    answer_prefix: str = ""  # text of the answer that was there before (Continue)
    anchor: Snippet | None = None
    chat_id: str | None = None
    reader: Reader = Reader()
    channel: Channel = Channel.CHAT
    model: ModelInfo | None = None
    regenerate: bool = False
    tool_turn: bool = False
    started_at_s: float = 0.0  # seconds since the epoch
    extensions: tuple[str, ...] | None = None  # the other extensions that were on; None: not known
    system_prompt: str = ""  # not kept in traces


@dataclass(frozen=True, slots=True)
class Verdict:
    """A turn's verdict with its reasons, most important first, each one plain sentence."""

    gate: Gate
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relevance:
    """Whether an answer speaks of what was asked. PASS, REVIEW (true perhaps, but beside the question)."""

    relevance: Measure  # calibrated probability [0, 1]
    gate: Gate
    distance: Measure  # ΔS(question, answer), [0, 2]
    overlap: Measure  # share of the question's telling words that the answer takes up, [0, 1]


NO_RELEVANCE = Relevance(
    NotScored(Reason.NO_QUESTION),
    Gate.NOT_MEASURED,
    NotScored(Reason.NO_QUESTION),
    NotScored(Reason.NO_QUESTION),
)


class Action(str, Enum):
    """What is done with an answer because of its verdict."""

    SHOW = "show"
    ANNOTATE = "annotate"
    REPAIR = "repair"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Try:
    """One try at an answer: the model's own words and how far the snippets carry them."""

    answer: str
    support: Measure  # calibrated probability [0, 1]
    gate: Gate
    relevance: Measure  # calibrated probability [0, 1]
    took_s: float  # generation and scoring of this try; 0 for the first, which nobody waited for
    kept: bool
    problem: str = ""  # why it did not count: stopped, ran out of time, came back empty, failed


@dataclass(frozen=True, slots=True)
class Acted:
    """What the setting asked for, what was done, and why in one plain sentence; `tries` the first first.

    `shown` is what the reader got in the answer's place (refuse) or under it (annotate); "" otherwise.
    """

    wanted: Action
    done: Action
    why: str
    tries: tuple[Try, ...] = ()
    shown: str = ""
    waited_ms: float = 0.0  # from the model's last word until it was decided what to do


@dataclass(frozen=True, slots=True)
class TurnReport:
    """Everything measured about one reply, or about its text so far while it streams.

    `answer` is the model's text that was measured: of several tries the kept one, and the original where
    it was refused.
    """

    request: TurnRequest
    answer: str
    finish: Finish
    distances: Distances
    coverage: Coverage
    cited_ids: tuple[str, ...]
    support: SupportReport
    zone: Zone | None
    distance_gate: Gate
    verdict: Verdict
    elapsed_s: float = 0.0  # time spent scoring
    time_to_first_token_s: float | None = None
    notes: tuple[str, ...] = ()
    relevance: Relevance = NO_RELEVANCE
    acted: Acted | None = None  # None: the setting is "show" and nothing was to be done
    beside: int = 0  # other replies that ran while this one did; not kept in traces
