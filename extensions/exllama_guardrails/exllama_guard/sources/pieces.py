"""The pieces of a prompt that are sources: marked blocks and attachments that a user or program put there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exllama_guard.core.snippets import Span
from exllama_guard.sources.attachments import SIGN, Placed, Room, from_history, in_prompt, placed_in
from exllama_guard.sources.marked_block import OPENING, MarkedBlock, find_blocks
from exllama_guard.sources.tool_results import results
from exllama_guard.sources.voices import Voices, end_around, said_by_model, said_by_user, voices_of

__all__ = ["BlockPiece", "Pieces", "pieces_of"]


@dataclass(frozen=True, slots=True)
class BlockPiece:
    """A marked block of the prompt; `is_message` where a user's text or a setting holds it as it is."""

    block: MarkedBlock
    is_message: bool


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a prompt holds that counts as a source, each kind in the prompt's order."""

    blocks: tuple[BlockPiece, ...] = ()
    attachments: tuple[Placed, ...] = ()


def pieces_of(
    prompt: str,
    history: Mapping[str, Any],
    *,
    given: Sequence[str] = (),
    documents: Sequence[str] = (),
    continued: str = "",
) -> Pieces:
    """The blocks and attachments of `prompt` that a user, the host or a program put there.

    A piece inside another is none: what a file holds opens no second source, nor does a passage in a block.

    Args:
        prompt: As the model gets it.
        history: As the host keeps it.
        given: Texts of the user and of the settings that are not in the history.
        documents: Texts that we put into the prompt ourselves.
        continued: The answer that the prompt ends with; "" where none is continued.
    """
    if OPENING not in prompt and SIGN not in prompt:
        return Pieces()
    attached = from_history(history)
    texts = (*said_by_user(history), *given)
    others = (continued, *said_by_model(history), *(content for _, content in results(history)))
    known = (*texts, *documents, *(one.content for one in attached))
    voices = voices_of(prompt, others, known, (OPENING, SIGN))
    blocks = _blocks(prompt, texts, voices, is_chat=any(texts))
    room = Room(
        attached,
        frozenset(one for text in texts if SIGN in text for one in in_prompt(text)),
        voices,
        tuple(piece.block.span for piece in blocks),
    )
    attachments = placed_in(prompt, room)
    return Pieces(_outside(blocks, [placed.span for placed in attachments]), attachments)


def _blocks(prompt: str, texts: Sequence[str], voices: Voices, is_chat: bool) -> tuple[BlockPiece, ...]:
    written = {
        text[block.span.start : block.span.end]
        for text in texts
        if OPENING in text
        for block in find_blocks(text)
    }
    found = []
    for block in find_blocks(prompt) if OPENING in prompt else ():
        is_message = prompt[block.span.start : block.span.end] in written
        text = "\n".join(snippet.text for snippet in block.snippets)
        if is_message or voices.admit(block.span, text):
            found.append(BlockPiece(block, is_message or not is_chat))
    return tuple(found)


def _outside(blocks: Sequence[BlockPiece], contents: Sequence[Span]) -> tuple[BlockPiece, ...]:
    return tuple(piece for piece in blocks if end_around(contents, piece.block.span.start) is None)
