"""What a loaded model tells of one statement without writing a word: its judgement, and the evidence's share.

Judge: is the statement supported, yes or no at the next token; asked twice, once the other way round, so that
a model that always says yes tells nothing. Contrast: how much likelier the evidence makes the statement's
words; a word that the model would have said anyway is not carried by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from exllama_guard.core.measures import FloatArray, Measure, NotScored, Reason
from exllama_guard.grounding.support import words_of
from exllama_guard.second_reader.model import LoadedReader

__all__ = ["Contrast", "contrast_of", "judge"]

_ASKED = "Text:\n{evidence}\n\nStatement:\n{statement}\n\n"
_STRAIGHT = "Does the text say that the statement is true? Answer with one word, Yes or No."
_TURNED = (
    "Does the statement say anything that the text does not say or says otherwise? "
    "Answer with one word, Yes or No."
)
_YES = ("Yes", " Yes", "yes", " yes", "YES")
_NO = ("No", " No", "no", " no", "NO")
_REACH = 8.0  # log-odds say no more beyond
_BEFORE_SPACE = re.compile(r"(?<=\S)(?=\s)")
# A template that opens a thinking block leaves it open; these close it, so that the answer comes next.
_THINKING = (("<think>", "\n</think>\n\n"), ("<seed:think>", "</seed:think>"), ("[THINK]", "[/THINK]"))
_THINKS = "<think>"  # what a thinking model whose template opens nothing would write first


@dataclass(frozen=True, slots=True)
class Contrast:
    """Nats that the evidence adds to the least helped word; nats of the most open choice of a word."""

    least: float
    entropy: Measure


def judge(reader: LoadedReader, evidence: str, statement: str) -> Measure:
    """Log-odds in [-8, 8] that the evidence supports the statement: the mean of both ways of asking.

    Raises:
        BackendError: The model is gone or failed.
        Stopped: The reading was ended.
    """
    asked = _ASKED.format(evidence=evidence, statement=statement)
    straight = _yes_against_no(reader, asked + _STRAIGHT)
    if isinstance(straight, NotScored):
        return straight
    turned = _yes_against_no(reader, asked + _TURNED)
    return turned if isinstance(turned, NotScored) else (straight - turned) / 2


def contrast_of(reader: LoadedReader, evidence: str, question: str, statement: str) -> Contrast | NotScored:
    """How much likelier the evidence makes the statement's telling words, the least of them.

    Words are read as pieces between spaces, each cut into tokens alone, so that every loader's tokens can be
    told to belong to a word.

    Raises:
        BackendError: The model is gone or failed.
        Stopped: The reading was ended.
    """
    pieces = [piece for piece in _BEFORE_SPACE.split(statement) if piece.strip()]
    ids = [reader.ids(piece) for piece in pieces]
    telling = [bool(got) and _tells(piece) for piece, got in zip(pieces, ids, strict=True)]
    if not any(telling):
        return NotScored(Reason.NO_CLAIMS)
    flat = [token for got in ids for token in got]
    asked = f"Question: {question}" if question.strip() else "Say something that is true."
    beside = reader.continuation(_past_thinking(reader.prompt(f"Text:\n{evidence}\n\n{asked}")), flat)
    if isinstance(beside, NotScored):
        return beside
    alone = reader.continuation(_past_thinking(reader.prompt(asked)), flat)
    if isinstance(alone, NotScored):
        return alone
    gains = _sums(beside.logprobs, ids) - _sums(alone.logprobs, ids)
    least = float(gains[telling].min())
    if not np.isfinite(least):
        return _not_finite()
    if beside.entropies is None:
        return Contrast(least, NotScored(Reason.NOT_SUPPORTED))
    starts = np.cumsum([0, *(len(got) for got in ids[:-1])])[telling]
    entropy = float(beside.entropies[starts].max())
    return Contrast(least, entropy if np.isfinite(entropy) else _not_finite())


def _yes_against_no(reader: LoadedReader, message: str) -> Measure:
    """Log-odds in [-8, 8] of yes against no as the next word of the model's reply."""
    yes, no = _first_tokens(reader, _YES), _first_tokens(reader, _NO)
    if not yes or not no or set(yes) & set(no):
        return NotScored(Reason.NOT_SUPPORTED, "this model's tokens do not tell Yes from No")
    thinks = reader.ids(_THINKS)
    wanted = [*yes, *no, *(thinks if len(thinks) == 1 else ())]
    prompt = _past_thinking(reader.prompt(message))
    read = reader.next_logprobs(prompt, wanted)
    if isinstance(read, NotScored):
        return read
    if not np.isnan(read).any() and _would_think(read, len(yes) + len(no)):
        read = reader.next_logprobs(f"{prompt}{_THINKS}\n\n</think>\n\n", wanted)
        if isinstance(read, NotScored):
            return read
    if np.isnan(read).any():
        return _not_finite()
    odds = _together(read[: len(yes)]) - _together(read[len(yes) : len(yes) + len(no)])
    return float(np.clip(odds, -_REACH, _REACH)) if np.isfinite(odds) else _not_finite()


def _would_think(read: FloatArray, answers: int) -> bool:
    """Whether a thinking block is likelier to come next than an answer; asked where it has a token."""
    return len(read) == answers + 1 and bool(read[-1] > _together(read[:answers]))


def _together(logprobs: FloatArray) -> float:
    return float(np.logaddexp.reduce(logprobs.astype(np.float64)))


def _first_tokens(reader: LoadedReader, words: tuple[str, ...]) -> list[int]:
    """The first token of each word, where that is one of its own."""
    found = {reader.ids(word)[0] for word in words if reader.ids(word)}
    spaces = {reader.ids(" ")[0]} if reader.ids(" ") else set()
    return sorted(found - spaces)


def _past_thinking(prompt: str) -> str:
    """The prompt with a thinking block that its template has opened closed again."""
    for opening, closing in _THINKING:
        if prompt.rstrip().endswith(opening):
            return prompt.rstrip() + closing
    return prompt


def _tells(piece: str) -> bool:
    return any(word.is_content or word.is_number for word in words_of(piece))


def _sums(values: FloatArray, ids: list[tuple[int, ...]]) -> FloatArray:
    """Shape (len(ids),): the sum of each piece's own values."""
    ends = np.cumsum([len(got) for got in ids])
    whole = np.concatenate([np.zeros(1), np.cumsum(values.astype(np.float64))])
    return np.asarray(whole[ends] - whole[ends - [len(got) for got in ids]], dtype=np.float32)


def _not_finite() -> NotScored:
    return NotScored(Reason.FAILED, "the model gave a value that is not a number")
