"""An answer cut into pieces, each a claim or something that claims nothing (question, courtesy, code ...)."""

from __future__ import annotations

import re
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

_GOES_ON = re.compile(r"\b(?:but|however|aber|jedoch|mais|pero|mas|ma|maar|но)\b", re.IGNORECASE)
_MARKS = " .!?*"
# "I am sorry, I cannot answer that": nothing is said of the documents, unless an amount is
_DECLINES = re.compile(
    r"\W{0,3}(?:i(?:'m| am) (?:sorry|afraid)[,.]? )?(?:but )?i (?:cannot|can't|am unable to|do not|don't)"
    r" (?:answer|help|know|say|do)\b[^\d]{0,60}\Z",
    re.IGNORECASE,
)


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
        kind, absent = _KINDS[one.kind], one.absent
        if _GOES_ON.search(absent):  # "I'm not sure, but the limit is 42" states something
            kind, absent = ClaimKind.CLAIM, ""
        if kind in (ClaimKind.CLAIM, ClaimKind.REFUSAL) and _DECLINES.match(one.text.replace("’", "'")):
            kind, absent = ClaimKind.REFUSAL, ""
        if absent.strip(_MARKS) == one.text.strip(_MARKS):  # "I don't know" says nothing of the documents
            absent = ""
        words = () if kind is ClaimKind.CODE else words_of(one.text)
        if words or kind is ClaimKind.CODE:
            out.append(Piece(one.text, Span(one.start, one.end), kind, words, one.end, absent))
    return tuple(out)
