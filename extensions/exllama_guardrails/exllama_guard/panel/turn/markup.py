"""HTML of one turn: the one line, the marked answer, the evidence beside a sentence, numbers, snippets."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from exllama_guard.core.html import Html, el, join, source_link
from exllama_guard.panel.html import badge, button, empty
from exllama_guard.panel.turn.evidence import Difference, EvidenceRow, Piece
from exllama_guard.panel.turn.rows import GaugeRow, GlanceRow, MeasureRow, SnippetRow
from exllama_guard.panel.turn.segments import SegmentRow

_MOST_SHOWN = 20_000  # characters of one snippet in the page
_MOST_NAME = 60  # characters of its file's name


def glance(row: GlanceRow) -> Html:
    """The one line: verdict, gauge, support, and the sentence that decides."""
    why = el("span", row.reason, cls="eg-why")
    quote = el("q", row.sentence, cls="eg-quote") if row.sentence else None
    live = el("span", el("span", "live", cls="eg-vh"), cls="eg-live") if row.streaming else None
    return join(
        el("span", badge(row.badge.word, row.badge.tone), live, cls="eg-verdict"),
        " ",  # for who copies the line, or hears it
        gauge(row.gauge),
        " ",
        el("span", el("span", "Support ", cls="eg-label"), el("b", row.support, cls="eg-num"), cls="eg-stat"),
        " ",
        el("span", quote, " " if quote else None, why, cls="eg-worst"),
    )


def glance_empty(title: str, what_to_do: str) -> Html:
    """The one line before there is a turn, or while switched off."""
    return join(
        el("span", badge(title, "none"), cls="eg-verdict"),
        " ",
        el("span", el("span", what_to_do, cls="eg-why"), cls="eg-worst"),
    )


def gauge(row: GaugeRow) -> Html:
    """ΔS as a small gauge with both limits drawn, its number and its zone's word."""
    mark = el("i", cls="eg-mark", style=f"left:{row.at:.0%}") if row.at is not None else None
    track = el(
        "span",
        el("i", cls="eg-band", style=f"left:{row.accept:.0%};right:{1 - row.reject:.0%}"),
        mark,
        cls="eg-track",
        role="img",
        aria_label=f"ΔS {row.spoken}",
    )
    return el(
        "span",
        el("span", "ΔS ", cls="eg-label"),
        el("b", row.value, cls="eg-num"),
        " ",
        track,
        el("span", row.zone, cls="eg-zone") if row.zone else None,
        cls=f"eg-gauge eg-{row.tone}",
        title=row.spoken,
    )


@lru_cache(maxsize=1024)
def segment(row: SegmentRow, prefix: str) -> Html:
    """A piece of the answer; a checked sentence can be pointed at, clicked and reached with Tab."""
    if row.claim is None or row.badge is None:
        return join(el("code", row.text) if row.code else row.text, row.after)
    marked = el(
        "span",
        row.text,
        el("span", f" ({row.badge.word})", cls="eg-vh"),
        cls=f"eg-s eg-{row.badge.tone}",
        role="button",
        tabindex="0",
        data_act="claim",
        data_claim=f"{prefix}{row.claim}",
        aria_pressed="false",
    )
    return join(marked, row.after)


@lru_cache(maxsize=128)
def evidence(row: EvidenceRow) -> Html:
    """The snippet beside a sentence: what matches, what differs, and the reason."""
    return join(
        el("div", badge(row.badge.word, row.badge.tone), _of("support", row.support), cls="eg-ev-head"),
        el("p", row.claim, cls="eg-ev-claim"),
        el("p", row.reason, cls="eg-ev-why"),
        _differences(row.differences),
        _passage(row),
    )


def evidence_empty(has_answer: bool, has_snippets: bool = True) -> Html:
    """What stands beside the answer before a sentence is chosen."""
    if has_answer and not has_snippets:
        return empty(
            "Nothing was retrieved",
            "There is nothing to check this answer against. Attach a file, switch web search on, or name a "
            "folder of documents under Settings.",
        )
    if has_answer:
        return empty("Nothing to compare", "No sentence of this reply can be checked against a snippet.")
    return empty("No answer yet", "When a reply streams, its weakest sentence appears here.")


def _of(label: str, value: str) -> Html | None:
    return el("span", el("span", label, cls="eg-label"), el("b", value, cls="eg-num"), cls="eg-stat")


def _differences(rows: Iterable[Difference]) -> Html | None:
    shown = [row for row in rows if row.answer or row.snippet]
    if not shown:
        return None
    return el("div", [_difference(row) for row in shown], cls="eg-diffs")


def _difference(row: Difference) -> Html:
    other = el("b", row.snippet) if row.snippet else el("em", "not there")
    return el(
        "dl",
        el("div", el("dt", "Answer says"), el("dd", el("b", row.answer or "–"))),
        el("div", el("dt", "Snippet says"), el("dd", other)),
        cls="eg-diff" + (" eg-fail" if row.conflict else " eg-review"),
        title=row.message,
    )


def _passage(row: EvidenceRow) -> Html | None:
    if not row.pieces:
        return None
    how = [
        f"{row.overlap} of the sentence’s words found" if row.overlap else "",
        f"similarity {row.similarity}" if row.similarity else "",
    ]
    return el(
        "figure",
        el("figcaption", el("b", row.snippet_id), " ", source_link(row.source)),
        el("blockquote", [_piece(piece) for piece in row.pieces]),
        el("p", " · ".join(part for part in how if part), cls="eg-note"),
        cls="eg-passage",
    )


def _piece(piece: Piece) -> Html:
    if piece.mark == "differs":
        return el("mark", piece.text, cls="eg-differs")
    if piece.mark == "match":
        return el("mark", piece.text)
    return el("span", piece.text, cls="eg-window") if piece.mark == "window" else join(piece.text)


@lru_cache(maxsize=128)
def measure(row: MeasureRow, slot: str) -> Html:
    """A number's row: its name, a place for the value (sent apart into `slot`), its explanation."""
    return el(
        "dl",
        el("dt", row.name),
        el("dd", cls="eg-m-value", data_slot=slot),
        el("dd", row.limits, cls="eg-m-limits"),
        el("dd", row.explanation, cls="eg-m-what"),
        cls="eg-m",
    )


@lru_cache(maxsize=512)
def measure_value(row: MeasureRow) -> Html:
    """The part of a number's row that changes while a reply streams."""
    missing = row.value.startswith("not measured")
    shown = el("span" if missing else "b", row.value, cls="eg-missing" if missing else "eg-num")
    if row.badge is None or missing:
        return shown
    return join(shown, badge(row.badge.word, row.badge.tone))


@lru_cache(maxsize=128)
def snippet(row: SnippetRow, slot: str) -> Html:
    """A snippet: id, origin and distances in one line (sent apart into `slot`), its text folded."""
    about = [_short(row.source) or row.origin, f"{row.tokens} tokens"] + (["cited"] if row.cited else [])
    return el(
        "details",
        el(
            "summary",
            el("b", row.snippet_id, cls="eg-sn-id"),
            el("span", " · ".join(about), cls="eg-note"),
            el("span", data_slot=slot, cls="eg-sn-d"),
        ),
        el("p", _beginning(row.text), cls="eg-sn-text"),
        el(
            "p",
            source_link(row.source),
            f" · {row.origin} · section {row.section}",
            f" · derived: {row.derived}" if row.derived else None,
            cls="eg-note",
        ),
        cls="eg-sn",
    )


def _short(source: str) -> str:
    """The file's or page's own name, at most 60 characters; "" where the source is only a hash."""
    if source.startswith("sha256:"):
        return ""
    name = source.rstrip("/").rsplit("/", 1)[-1]
    return name if len(name) <= _MOST_NAME else name[:_MOST_NAME] + "…"


def _beginning(text: str) -> str:
    """The text, or its first 20,000 characters and how long it is."""
    if len(text) <= _MOST_SHOWN:
        return text
    return f"{text[:_MOST_SHOWN]} … (the first {_MOST_SHOWN:,} of {len(text):,} characters)"


@lru_cache(maxsize=512)
def snippet_distances(to_question: str, to_answer: str) -> Html:
    """A snippet's ΔS to the question and to the answer."""
    return join(_of("to question", to_question), _of("to answer", to_answer))


@lru_cache(maxsize=128)
def heading(
    question: str,
    facts: tuple[tuple[str, str], ...],
    latest: bool,
    notes: tuple[str, ...],
    diagnosed: str = "",
) -> Html:
    """The question above a turn, what is known about it, and the way back to the newest one.

    `diagnosed` is the id of the turn whose diagnostic prompt can be copied.
    """
    back = None if latest else button("Back to the latest turn", "latest", cls="eg-link")
    diagnose = (
        button("Copy a diagnostic prompt", "diagnose", cls="eg-link", data_turn=diagnosed)
        if diagnosed
        else None
    )
    rows = [el("span", f"{label}: ", el("b", value)) for label, value in facts]
    return join(
        el("p", question or "No question", cls="eg-question"),
        el("p", rows, back, diagnose, cls="eg-facts"),
        *[el("p", note, cls="eg-note") for note in notes],
    )


def legend() -> Html:
    """What the marks under the answer's sentences mean."""
    kinds = (("supported", "pass"), ("partly", "review"), ("not supported", "fail"))
    return el("p", [el("span", word, cls=f"eg-s eg-{tone}") for word, tone in kinds], cls="eg-legend")
