"""The question of a turn, from what the host knows of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from exllama_guard.sources import OPENING, without_blocks

__all__ = ["last_user_text", "user_texts", "last_answer", "question_of_prompt", "with_stripped_blocks"]

_PLACEHOLDER = "<|BEGIN-VISIBLE-CHAT|>"  # the host's user message before a greeting
_TAIL_CHARACTERS = 4_000
_TAGS = ("<|begin-user-input|>", "<|end-user-input|>")  # superbooga(v2)
_USER_TURN = re.compile(
    r"(?:<\|im_start\|>user|<\|user\|>|<start_of_turn>user|<\|start_header_id\|>user<\|end_header_id\|>"
    r"|\[INST\]|^#* *(?:user|human|instruction|question|q)\s*:)",
    re.IGNORECASE | re.MULTILINE,
)
_TURN_END = re.compile(
    r"<\|im_end\|>|<\|end\|>|<\|eot_id\|>|<end_of_turn>|\[/INST\]|<\|assistant\|>"
    r"|^#* *(?:assistant|ai|bot|response|answer|a)\s*:",
    re.IGNORECASE | re.MULTILINE,
)


def last_user_text(history: Mapping[str, Any]) -> str:
    """The newest message of the user in the host's history, without marked blocks; "" where there is none.

    3.23 drops the user's message before a tool's result from the rows; the API's own messages still have it.
    """
    for row in reversed(history.get("internal") or ()):
        meta = row[3] if len(row) > 3 and isinstance(row[3], Mapping) else {}
        text = row[0] if row else ""
        if isinstance(text, str) and text.strip() and text != _PLACEHOLDER and meta.get("role") != "system":
            return without_blocks(text).strip() if OPENING in text else text.strip()
    for message in reversed(history.get("messages") or ()):
        text = message.get("content")
        if message.get("role") == "user" and isinstance(text, str) and text.strip():
            return without_blocks(text).strip()
    return ""


def user_texts(history: Mapping[str, Any], most: int = 4) -> tuple[str, ...]:
    """The newest messages of the user, oldest first, without marked blocks; at most `most`."""
    found: list[str] = []
    for row in reversed(history.get("internal") or ()):
        if len(found) == most:
            break
        text = last_user_text({"internal": [row]})
        if text:
            found.insert(0, text)
    return tuple(found)


def last_answer(history: Mapping[str, Any]) -> str:
    """The newest answer in the host's history, as it is; "" where there is none."""
    rows: Sequence[Sequence[Any]] = history.get("internal") or ()
    return str(rows[-1][1]) if rows and len(rows[-1]) > 1 else ""


def question_of_prompt(prompt: str) -> str:
    """The question that a bare prompt ends with: its tagged or last user turn, else its last paragraph."""
    tail = prompt[-_TAIL_CHARACTERS:]
    if OPENING in prompt:
        tail = without_blocks(prompt)[-_TAIL_CHARACTERS:]
    end = tail.rfind(_TAGS[1])
    start = tail.rfind(_TAGS[0], 0, max(end, 0))
    if start >= 0:
        return tail[start + len(_TAGS[0]) : end].strip()
    turns = list(_USER_TURN.finditer(tail))
    if turns:
        return _TURN_END.split(tail[turns[-1].end() :], maxsplit=1)[0].strip()
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", tail) if part.strip()]
    return paragraphs[-1] if paragraphs else ""


def with_stripped_blocks(history: dict[str, Any]) -> dict[str, Any]:
    """The same history object, marked blocks taken out of all but the newest user message."""
    rows = history.get("internal") or []
    for row in rows[:-1]:
        if isinstance(row, list) and row and isinstance(row[0], str) and OPENING in row[0]:
            row[0] = without_blocks(row[0])
    return history
