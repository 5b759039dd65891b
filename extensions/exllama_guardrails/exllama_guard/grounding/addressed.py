"""Text of a snippet that speaks to the model, or that a reader does not see: named, and judged by nobody.

A document may speak of such sentences; what is found is a place to look at. It changes no verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from exllama_guard.core.snippets import Snippet, Span
from exllama_guard.core.turns import Finding, FindingKind, Severity

__all__ = ["addressed_findings"]

_MOST_EACH = 3  # findings of one kind in one snippet; more of them say nothing new
_MOST_QUOTED = 80

# Each part is bounded, so that a text is read in a time in proportion to its length.
_GAP = r"[\s,:;*_\"'-]{1,8}"
_QUANTITY = rf"(?:(?:all|any|every|of|the|these|those|your|my|our){_GAP}){{0,4}}"
_OBJECT = r"(?:instructions?|prompts?|rules?|messages?|guidelines?|orders?|directions?)\b"
_ORDERS = re.compile(
    rf"\b(?:ignore|disregard|forget|override|bypass|skip){_GAP}{_QUANTITY}"
    rf"(?:(?:previous|prior|earlier|above|preceding|foregoing)\b(?:{_GAP}(?:\w{{1,20}}{_GAP})?{_OBJECT})?"
    rf"|(?:system|your|all){_GAP}(?:\w{{1,20}}{_GAP})?{_OBJECT})"
    rf"|\b(?:ignore|disregard|forget|override|bypass){_GAP}(?:all{_GAP}(?:of{_GAP})?)?(?:your|all){_GAP}{_OBJECT}"
    rf"|\b(?:new|updated|real|actual|hidden){_GAP}(?:system{_GAP})?instructions?\s{{0,4}}:"
    rf"|\byou{_GAP}are{_GAP}now{_GAP}(?:a|an|in|the|no)\b"
    rf"|\b(?:do{_GAP}not|don.t|never){_GAP}(?:tell|inform|reveal|mention|show){_GAP}"
    rf"(?:(?:this|it|that){_GAP}(?:to{_GAP})?)?(?:the{_GAP})?(?:user|human|reader)\b"
    rf"|\b(?:reveal|print|repeat|output|show){_GAP}(?:me{_GAP})?(?:your|the){_GAP}(?:system{_GAP}prompt|hidden{_GAP}prompt)"
    rf"|\bignorier\w{{0,3}}{_GAP}(?:(?:bitte|alle|die|den|das|deine){_GAP}){{0,3}}(?:vorherig|vorig|bisherig|obig|"
    rf"fr\u00fcher)\w{{0,3}}{_GAP}(?:anweisung|befehl|regel|text)\w{{0,3}}"
    rf"|\bignore[zr]?{_GAP}(?:(?:toutes|tous|les|las|todas|le){_GAP}){{0,3}}(?:instructions|instrucciones|consignes)"
    rf"{_GAP}(?:pr\u00e9c\u00e9dentes|anteriores)",
    re.IGNORECASE,
)
# Marks with which a chat template begins a turn, and with which a model begins a call.
_TURNS = re.compile(
    r"<\|(?:im_start|im_end|start_header_id|eot_id|system|user|assistant|endoftext)\|>|<start_of_turn>|"
    r"\[/?INST\]|<</?SYS>>"
)
_CALLS = re.compile(
    r"<tool_call>|<function_call>|<function=|\[TOOL_CALLS\]|<\|python_tag\|>|<\|tool_calls?(?:_section)?_begin\|>"
    r"|\{\s{0,20}\"(?:name|function)\"\s{0,20}:\s{0,20}\"[\w.-]{1,64}\"\s{0,20},\s{0,20}\"(?:arguments|parameters)\""
)
# What is not seen: Unicode tags, and runs of zero-width or direction marks (one joins letters or emoji).
_UNSEEN = re.compile(
    "[\U000e0001\U000e0020-\U000e007f]{2,}|[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]{4,}|[\u202d\u202e]"
)
_KINDS = (
    (_ORDERS, "gives orders to the model"),
    (_TURNS, "holds a mark that begins a message"),
    (_CALLS, "holds a tool call"),
    (_UNSEEN, "holds characters that nobody sees"),
)


def addressed_findings(snippets: Sequence[Snippet]) -> tuple[Finding, ...]:
    """A note for each place of the snippets that speaks to the model, in the order of the snippets."""
    return tuple(finding for snippet in snippets for finding in _of(snippet))


def _of(snippet: Snippet) -> Iterator[Finding]:
    for pattern, what in _KINDS:
        for place in islice(pattern.finditer(snippet.text), _MOST_EACH):
            span = Span(*place.span())
            message = (
                f"Snippet {snippet.snippet_id} {what} at character {span.start}: “{_shown(place.group())}”. "
                "Read it before you trust the answer."
            )
            yield Finding(
                FindingKind.ADDRESSED,
                Severity.NOTE,
                message,
                snippet_id=snippet.snippet_id,
                snippet_span=span,
            )


def _shown(text: str) -> str:
    """The words in one line, unseen characters by their code; flags of Unicode tags by what they spell."""
    tags = "".join(chr(ord(sign) - 0xE0000) for sign in text if 0xE0020 <= ord(sign) <= 0xE007E)
    if tags:
        return tags[:_MOST_QUOTED]
    line = " ".join(text.split())
    return "".join(sign if sign.isprintable() else f"U+{ord(sign):04X} " for sign in line)[
        :_MOST_QUOTED
    ].strip()
