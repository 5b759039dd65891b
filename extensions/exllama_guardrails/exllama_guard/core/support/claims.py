"""An answer cut into pieces, each a claim or something that claims nothing (question, greeting, code ...)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from exllama_guard.core.records import ClaimKind, Span
from exllama_guard.core.support.text import Word, sentence_ranges, words_of

_FENCE = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[^\n]*$|\Z)", re.DOTALL | re.MULTILINE)
_MARKER = re.compile(r"[ \t]*(?:[-*+•–]|\(?\d{1,3}[.)]|[a-zA-Z][.)]|#{1,6}|>)[ \t]+|[ \t]*\|?[ \t]*")
_RULE_LINE = re.compile(r"[\s|:*_=+~-]*")
_GREETING = re.compile(
    r"\W*(?:hi|hello|hey|dear \w+|good (?:morning|afternoon|evening)|thanks?(?: you)?(?: \w+){0,6}|"
    r"you(?:'|’)?re welcome"
    r"|sure|certainly|of course|great question|no problem|hallo|hola|bonjour|merci|gracias|danke"
    r"|i hope (?:this|that) helps|let me know (?:if|whether)\b.*|feel free to\b.*|happy to help.*"
    r"|here (?:is|are) (?:the|a|an|your|some|my)\b[^.]*:|is there anything else\b.*"
    r"|(?:based on|according to) the (?:provided |given |retrieved )?(?:context|snippets?|text|"
    r"documents?|sources?))\W*",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\W*(?:(?:i'm |i am )?(?:sorry|afraid)\b.{0,20})?(?:i (?:can(?:no|')t|could not|couldn't|am unable "
    r"to|am not able to|won't"
    r"|do(?: not|n't) (?:know|see|find|have (?:any|enough|access|information|details|data|that|the))|"
    r"did(?: not|n't) find)|i['’]m "
    r"(?:sorry|afraid|unable|not able)|as an ai\b|as a language model\b|unfortunately,? (?:i|the|there)\b)",
    re.IGNORECASE,
)
_SILENT = re.compile(
    r"\b(?:there is (?:no|not enough) (?:information|mention)|no information (?:is|was|about|on)|"
    r"(?:context|snippets?|text|"
    r"documents?|sources?|passages?) (?:do(?:es)?(?: not|n't)|did(?: not|n't)) (?:say|mention|contain|"
    r"provide|include|"
    r"specify|state|give|answer)|(?:is|are|was) not (?:mentioned|specified|provided|stated|given) in the "
    r"(?:\w+ )?(?:context|snippets?|text|documents?|sources?|passages?))",
    re.IGNORECASE,
)
_ASSENT = re.compile(
    r"(?:\W|\b(?:yes|yeah|yep|yup|no|nope|ok|okay|right|true|exactly|absolutely|indeed|definitely|of "
    r"course|sure|well|wow|oh|ah"
    r"|cool|great|nice|awesome|amazing|interesting|really|very|so|too|lol|haha|hmm|i (?:agree|see|know|"
    r"understand|think so|believe"
    r" (?:so|it was|it is)|guess so|would too|do too)|me too|same here|you too|that(?: i|'?)? ?s|that "
    r"sounds|it sounds|sounds|(?:it|they|"
    r"he|she|that|i|you) (?:\w+ly )?(?:is|are|was|were|does|do|did|has|have|can|will|would)|not|n't|but|"
    r"and|actually|correct)\b)+",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\W*(?:i(?:'m| am) not (?:entirely |quite |completely |too |really )?(?:sure|certain|aware)|i "
    r"(?:would|might) guess|it(?:'s| is) "
    r"(?:hard|difficult|impossible) to (?:say|tell|know)|(?:please )?(?:note|verify|check|consult|"
    r"remember) (?:that )?"
    r"(?:this|the (?:original|official)|with)|it depends)\b",
    re.IGNORECASE,
)
_CUT = re.compile(
    r";\s{1,20}|,\s{1,20}(?:and|but|while|whereas|although|though|yet)\s{1,20}(?=(?:[A-Z][\w'’-]+|he|she|it|they|"
    r"we|this|that|these|"
    r"those|the|its|his|her|their|there)\s)|(?<!\s)\s{1,20}(?:but|whereas)\s{1,20}(?=(?:he|she|it|they|the|there|his|"
    r"her|their|its|i)\s)|:\s{1,20}(?=[A-Z]\w+ \w+ \w+)",
    re.IGNORECASE,
)
_LEAST_WORDS_OF_A_PART = 4  # a shorter part stays with its neighbour: it says too little alone
_MOST_CHARACTERS = 1500  # a longer run of text without an end of sentence is cut there


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of an answer; `words` count their places from `span.start`."""

    text: str
    span: Span
    kind: ClaimKind
    words: tuple[Word, ...]
    sentence_end: int  # end of the sentence it belongs to; what a growing answer has finished


def pieces_of(answer: str, language: str = "en") -> tuple[Piece, ...]:
    """The pieces of `answer` in order; white space, rules and list markers belong to none."""
    out: list[Piece] = []
    at = 0
    for fence in _FENCE.finditer(answer):
        out.extend(_prose(answer, at, fence.start(), language))
        span = Span(fence.start(), fence.end())
        out.append(Piece(fence.group(), span, ClaimKind.CODE, (), fence.end()))
        at = fence.end()
    out.extend(_prose(answer, at, len(answer), language))
    return tuple(out)


def _prose(answer: str, start: int, end: int, language: str) -> Iterator[Piece]:
    position = start
    for line in answer[start:end].splitlines(keepends=True):
        yield from _line(answer, position, position + len(line.rstrip()), language)
        position += len(line)


def _line(answer: str, start: int, end: int, language: str) -> Iterator[Piece]:
    """The pieces of one line, without its list marker or table bars."""
    line = answer[start:end]
    if _RULE_LINE.fullmatch(line):
        return
    marker = _MARKER.match(line)
    heading = line.lstrip().startswith("#")
    if marker is not None:
        start += marker.end()
    for first, last in sentence_ranges(answer[start:end], language):
        for low in range(start + first, start + last, _MOST_CHARACTERS):
            yield from _sentence(answer, low, min(low + _MOST_CHARACTERS, start + last), heading)


def _sentence(answer: str, start: int, end: int, heading: bool) -> Iterator[Piece]:
    text = answer[start:end]
    words = words_of(text)
    if not words:
        return
    kind = ClaimKind.HEADING if heading else _kind_of(text, words)
    if kind in (ClaimKind.QUESTION, ClaimKind.HEADING):
        yield Piece(text, Span(start, end), kind, words, end)
        return
    for first, last in _parts(text):
        part = text[first:last]
        own = words_of(part)
        yield Piece(part, Span(start + first, start + last), _kind_of(part, own), own, end)


def _kind_of(text: str, words: tuple[Word, ...]) -> ClaimKind:
    if text.rstrip(" \"'”’)*_").endswith(("?", "？", "؟")):
        return ClaimKind.QUESTION
    if text.rstrip("*_ ").endswith(":") and len(words) <= 12:
        return ClaimKind.HEADING
    plain = text.replace("’", "'").strip()
    if _GREETING.fullmatch(plain) or (len(words) <= 8 and _ASSENT.fullmatch(plain)):
        return ClaimKind.GREETING
    if _REFUSAL.match(plain) or _SILENT.search(plain):
        return ClaimKind.REFUSAL
    if _HEDGE.match(plain):
        return ClaimKind.HEDGE
    if not any(word.is_content for word in words):
        return ClaimKind.GREETING
    return ClaimKind.CLAIM


def _parts(text: str) -> list[tuple[int, int]]:
    """Ranges of the facts that a sentence joins; one range where it states one."""
    cuts = [0]
    for match in _CUT.finditer(text):
        before = text[cuts[-1] : match.start()]
        after = text[match.end() :]
        if _says_enough(before) and _says_enough(after):
            cuts.append(match.start())
    edges = [*cuts, len(text)]
    out = []
    for first, last in itertools.pairwise(edges):
        skip = _CUT.match(text, first) if first else None
        first = skip.end() if skip else first
        out.append((first, last))
    return out


def _says_enough(text: str) -> bool:
    return len(text.split()) >= _LEAST_WORDS_OF_A_PART or _HEDGE.match(text) is not None
