"""What of a model's raw reply is the answer: without thinking blocks, and whether it is a tool call."""

from __future__ import annotations

import re

# Thinking comes first in a reply; open tag, end tag. Formats of the model families that TextGen WebUI 4.7
# knows: DeepSeek/Qwen, GPT-OSS, Seed-OSS, Gemma 4, Solar, Magistral, Cohere.
_THINKING = (
    ("<think>", "</think>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
    ("<|channel|>commentary<|message|>", "<|end|>"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel>thought", "<channel|>"),
    ("<|think|>", "<|end|>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
_ANY_TAG = re.compile("|".join(re.escape(tag) for tags in _THINKING for tag in tags))
_ANSWER_MARK = re.compile(
    r"\A\s*(?:<\|start\|>assistant)?(?:<\|channel\|>final<\|message\|>|<\|content\|>|<\|START_RESPONSE\|>)"
)

_TOOL_CALL_START = re.compile(
    r"(?:<tool_call>|<function_call>|<function=|<minimax:tool_call>|<\|tool_calls?(?:_section)?_begin\|>"
    r"|<｜tool▁calls?▁begin｜>|\[TOOL_CALLS\]|<\|python_tag\|>|<\|tool_call>"
    r"|<\|channel\|>commentary to=functions\."
    r'|\[?\s{0,99}\{\s*"(?:name|function)"\s*:'
    r'|[A-Za-z_][\w.-]{0,63}\s{0,99}(?:\[ARGS\])?\s{0,99}\{\s*"[^"\n]*"\s*:)'  # a name before its arguments
)


def answer_of(reply: str) -> str:
    """The reply without its leading thinking blocks; "" while a block is still open.

    A lone end tag counts as the end of a block whose start was part of the prompt.
    """
    at = 0
    while True:
        start = _word_from(reply, at)
        tags = next((tags for tags in _THINKING if reply.startswith(tags[0], start)), None)
        if tags is None:
            break
        end = reply.find(tags[1], start)
        if end < 0:
            return ""
        at = end + len(tags[1])
    text = reply[at:]
    if not at:
        for opening, closing in _THINKING:
            if closing.startswith(("</", "[/")) and closing in text and opening not in text:
                text = text.partition(closing)[2]
                break
    text = _ANSWER_MARK.sub("", text)
    return text if text == reply else text.lstrip()


def written_parts(reply: str) -> tuple[str, ...]:
    """A reply whole, and each piece between its thinking tags, none blank: a template may show some only."""
    parts = (part.strip() for part in (reply, *_ANY_TAG.split(reply)))
    return tuple(dict.fromkeys(part for part in parts if part))


def _word_from(text: str, at: int) -> int:
    """Where the white space at `at` ends."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def is_tool_call(reply: str) -> bool:
    """True when the reply, after its thinking, starts as a tool call of a known format."""
    return _TOOL_CALL_START.match(answer_of(reply).lstrip()) is not None
