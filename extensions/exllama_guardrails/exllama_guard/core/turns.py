"""What travels with a turn: its request, its support, distances and verdict, its report. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from exllama_guard.core.measures import Gate, Measure, NotScored, Reason, Zone
from exllama_guard.core.snippets import Snippet, Span


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
    ADDRESSED = "speaks to the model"


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
    """The window of 1-3 consecutive snippet sentences that supports a claim best."""

    snippet_id: str
    span: Span
    text: str
    overlap: float  # idf-weighted share of the claim's words found in the window, [0, 1]
    similarity: float | None = None  # cosine similarity [-1, 1]; None without an embedder


@dataclass(frozen=True, slots=True)
class ClaimSupport:
    """How far the snippets support one piece of the answer. `span` counts characters of the answer."""

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
        """ΔS(question, context) that the gate reads: `cited` where the answer cites, else `min`."""
        cited = self.question_context.cited
        return cited if isinstance(cited, float) else self.question_context.min


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
    nothing: NotScored | None = (
        None  # why the folder gave no snippet; traces have it as the reason of `support`
    )


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
    """One try at an answer: the model's own words and how far the snippets support them."""

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
class ReadStatement:
    """One statement as the loaded model reads it beside its evidence, and what that changes."""

    text: str
    snippet_id: str
    first: float  # support before, [0, 1]
    judge: Measure  # log-odds that the evidence supports it: yes against no
    contrast: Measure  # nats that the evidence adds to its least expected word
    entropy: Measure  # nats: how open the choice of that word was at its most open
    support: float  # the three joined, [0, 1]
    before: Gate
    after: Gate


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """What the loaded model says of the undecided statements of an answer, and what that cost."""

    model: str
    before: Gate  # of the whole answer
    after: Gate
    statements: tuple[ReadStatement, ...]
    prompt_tokens: int
    took_ms: float


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
    about_snippets: tuple[Finding, ...] = ()  # places in snippets that speak to the model or are not seen
    second_reader: SecondOpinion | None = None  # None: the loaded model was not asked
    beside: int = 0  # other replies that ran while this one did; not kept in traces

    @property
    def measures(self) -> dict[str, Measure]:
        """What a turn is judged by, each under the name that traces and commands give it."""
        distances = self.distances
        return {
            "question_context": distances.gated,
            "answer_context": distances.answer_context.top1,
            "context_anchor": distances.context_anchor,
            "answer_anchor": distances.answer_anchor,
            "question_answer": distances.question_answer,
            "coverage": self.coverage.coverage,
            "bleed": self.coverage.bleed,
            "support": self.support.support,
            "relevance": self.relevance.relevance,
        }
