"""What the loaded model said of an answer's undecided statements, as plain rows; no markup, no gradio."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.core.measures import Gate
from exllama_guard.core.turns import ReadStatement, SecondOpinion
from exllama_guard.panel.turn.rows import Badge, badge, number
from exllama_guard.panel.words import GATE_WORDS

__all__ = ["ReadRow", "SecondRow", "second_row"]


@dataclass(frozen=True, slots=True)
class ReadRow:
    """One statement as the loaded model reads it, and what that changes."""

    text: str
    said: str  # one sentence
    badge: Badge
    numbers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SecondRow:
    """Both verdicts, each statement that was asked about, and what that cost."""

    change: str
    badge: Badge
    statements: tuple[ReadRow, ...]
    cost: str


def second_row(opinion: SecondOpinion | None) -> SecondRow | None:
    """The row of a second opinion, or None where there is none."""
    if opinion is None:
        return None
    before, after = (GATE_WORDS[gate] for gate in (opinion.before, opinion.after))
    return SecondRow(
        change=f"{before} → {after}" if opinion.before is not opinion.after else f"Still {after}",
        badge=badge(opinion.after),
        statements=tuple(_statement(one) for one in opinion.statements),
        cost=f"{opinion.model} read {opinion.prompt_tokens:,} tokens in {opinion.took_ms / 1000:.1f} s, "
        "after the answer.",
    )


def _statement(one: ReadStatement) -> ReadRow:
    if one.before is one.after:
        said = f"Your model settles nothing here ({one.support:.2f} beside {one.snippet_id})."
    else:
        supporting = "supporting" if one.after is Gate.PASS else "not supporting"
        said = f"Your model reads {one.snippet_id} as {supporting} this ({one.support:.2f})."
    return ReadRow(
        text=one.text,
        said=said,
        badge=badge(one.after),
        numbers=(
            ("support before", number(one.first)),
            ("yes against no", number(one.judge)),
            ("added by the snippet", number(one.contrast)),
            ("joined", number(one.support)),
        ),
    )
