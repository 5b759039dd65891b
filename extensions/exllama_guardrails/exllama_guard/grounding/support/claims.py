"""An answer cut into pieces, each a claim or something that claims nothing (question, courtesy, code ...)."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.core.snippets import Span
from exllama_guard.core.turns import ClaimKind
from exllama_guard.grounding.statements import Kind, statements_of
from exllama_guard.grounding.support.text import Word, words_of

_KINDS = {
    Kind.CLAIM: ClaimKind.CLAIM,
    Kind.COURTESY: ClaimKind.GREETING,
    Kind.QUESTION: ClaimKind.QUESTION,
    Kind.HEADING: ClaimKind.HEADING,
    Kind.LEAD_IN: ClaimKind.HEADING,
    Kind.TABLE_HEAD: ClaimKind.HEADING,
    Kind.SOURCE: ClaimKind.HEADING,
    Kind.CODE: ClaimKind.CODE,
    Kind.ABSTENTION: ClaimKind.REFUSAL,
}


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of an answer; `words` count their places from `span.start`."""

    text: str
    span: Span
    kind: ClaimKind
    words: tuple[Word, ...]
    sentence_end: int  # end of the sentence it belongs to; what a growing answer has finished
    absent: str = ""  # what a refusal says the documents do not hold


def pieces_of(answer: str, language: str = "en") -> tuple[Piece, ...]:
    """The pieces of `answer` in order; white space, rules and list markers belong to none."""
    out = []
    for one in statements_of(answer, language):
        kind = _KINDS[one.kind]
        words = () if kind is ClaimKind.CODE else words_of(one.text)
        if words or kind is ClaimKind.CODE:
            out.append(Piece(one.text, Span(one.start, one.end), kind, words, one.end, one.absent))
    return tuple(out)
