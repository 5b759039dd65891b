"""The calls that a model tried to write in a reply, read from its raw text, also the broken ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from exllama_guard.tools.grammar.formats import FORMATS, THINKING, CallFormat
from exllama_guard.tools.strict_json import json_spans, read_json

__all__ = ["Attempt", "find_attempts", "prose_beside", "restore_text", "without_thinking"]

_NAME = re.compile(r'"(?:name|function)"\s{0,20}:\s{0,20}"([^"\\]{1,256})"')
# Where a value in tags starts, with its key, and what ends it.
_TAGGED = (
    (re.compile(r"<parameter=(?P<key>[^<>]{1,256})>"), "</parameter>"),
    (re.compile(r"<parameter\s{1,20}name=\"(?P<key>[^<>\"]{1,256})\">"), "</parameter>"),
    (re.compile(r"<arg_key>(?P<key>[^<>]{1,256})</arg_key>\s{0,99}<arg_value>"), "</arg_value>"),
)
_PYTHON_ARGUMENT = re.compile(r"\b(?P<key>\w+)\s{0,20}=\s{0,20}\"(?P<value>(?:[^\"\\]|\\.)*)\"")
# So many calls of one reply are read to the end of their arguments; a later one up to the next one's head.
_MOST_READ_AHEAD = 64


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call as it stands in the reply: `arguments` is the text that should be one JSON object.

    `start` counts characters of the text without its thinking blocks.
    """

    name: str
    arguments: str
    start: int
    broken: bool  # the text is not one strict JSON object, or names no tool
    repaired: str = ""  # what other readers stumble over, where this reading went on behind it


def without_thinking(text: str) -> str:
    """`text` without thinking blocks; one that is still open hides all that follows it."""
    for opening, closing in THINKING:
        text = re.sub(
            re.escape(opening) + r".*?(?:" + re.escape(closing) + r"|\Z)", "", text, flags=re.DOTALL
        )
    head, mark, tail = text.rpartition("</think>")
    return tail if mark else head + tail


def find_attempts(reply: str, names: Sequence[str]) -> tuple[Attempt, ...]:
    """The calls in `reply` whose arguments are written as JSON, in order; the broken ones are marked.

    Args:
        reply: Raw text of the model's reply.
        names: Tools of this turn, for calls that start with a bare name.
    """
    text = without_thinking(reply)
    for form in FORMATS:
        found: list[Attempt] = []
        if form.head is not None:
            found = _all_headed(text, form.head)
        elif form.body is not None:
            found = _enveloped_calls(text, form)
        if found:
            return tuple(found)
    bare = [name for name in names if name]
    if not bare:
        return ()
    either = "|".join(map(re.escape, sorted(bare, key=len, reverse=True)))
    return tuple(_all_headed(text, re.compile(rf"(?<![\w.:])(?P<name>{either})\s?(?=\{{)")))


def restore_text(
    reply: str, name: str, arguments: Mapping[str, Any], fits: Callable[[str, Any], bool]
) -> dict[str, Any]:
    """`arguments` with values put back to the text between their tags where a host has read them as JSON.

    A host that reads `<parameter=zip>94103</parameter>` as the number 94103 breaks a tool that wants text.

    Args:
        reply: Raw text of the model's reply.
        name: The tool.
        arguments: Arguments as the host read them.
        fits: Whether a value suits an argument's schema.
    """
    text = without_thinking(reply)
    position = text.find(name)
    if position < 0:
        return dict(arguments)
    raw = _written_values(text, position)
    out = dict(arguments)
    for key, value in arguments.items():
        if not isinstance(value, str) and key in raw and not fits(key, value) and fits(key, raw[key]):
            out[key] = raw[key]
    return out


def _written_values(text: str, position: int) -> dict[str, str]:
    """The values of the first form that stands behind `position`, by their keys, as they are written."""
    for opening, closing in _TAGGED:
        raw: dict[str, str] = {}
        at = position
        while match := opening.search(text, at):
            end = text.find(closing, match.end())
            if end < 0:
                break
            raw.setdefault(match["key"].strip(), text[match.end() : end].strip())
            at = end + len(closing)
        if raw:
            return raw
    found = _PYTHON_ARGUMENT.finditer(text, position)
    return {match["key"]: match["value"].strip() for match in reversed(list(found))}


_NEXT_MARK = re.compile(r"<[|｜/]|\[TOOL_CALLS\]")
_MARKS = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{4,24}\]")


def prose_beside(reply: str) -> bool | None:
    """Whether words stand before, between or after the calls of `reply`; None where it holds no call."""
    text = without_thinking(reply)
    for form in FORMATS:
        pattern = form.head or form.body
        if pattern is None:
            continue
        kept: list[str] = []
        end = 0
        heads = list(pattern.finditer(text))
        for match, until in zip(heads, _reach(heads, len(text)), strict=True):
            kept.append(text[end : max(end, match.start())])
            end = match.end() if form.head is None else match.end() + _length(text[match.end() : until])
        if end:
            kept.append(text[end:])
            return any(char.isalnum() for char in _MARKS.sub(" ", "".join(kept)))
    return None


def _reach(heads: Sequence[re.Match[str]], length: int) -> list[int]:
    """How far to read behind each head: the first ones to the end, later ones to the next head."""
    following = [head.start() for head in heads[1:]] + [length]
    return [length] * min(len(heads), _MOST_READ_AHEAD) + following[_MOST_READ_AHEAD:]


def _length(text: str) -> int:
    """Characters of the JSON that `text` begins with; of its first line where there is none."""
    span = next(json_spans(text), None) if text[:1] in ("{", "[") else None
    return span[1] if span else len(text.partition("\n")[0])


def _all_headed(text: str, head: re.Pattern[str]) -> list[Attempt]:
    heads = list(head.finditer(text))
    return [
        _headed(text[match.end() : until], match)
        for match, until in zip(heads, _reach(heads, len(text)), strict=True)
    ]


def _headed(rest: str, match: re.Match[str]) -> Attempt:
    """The call whose name `match` found; its JSON starts `rest`."""
    if rest[:1] in ("{", "["):
        span = next(json_spans(rest), None)
        arguments = rest[: span[1]] if span else rest
    else:
        arguments = _NEXT_MARK.split(rest, maxsplit=1)[0]
    return Attempt(match["name"].strip(), arguments, match.start(), not _is_object(arguments))


def _enveloped_calls(text: str, form: CallFormat) -> list[Attempt]:
    """The calls in all envelopes of `text`. A closing mark inside a JSON string is text, not the end."""
    found: list[Attempt] = []
    position = 0
    while form.body is not None and (match := form.body.search(text, position)) is not None:
        body, position, repaired = match["body"], max(match.end(), match.start() + 1), ""
        whole = next(json_spans(text[match.start("body") :]), None) if form.closing in text else None
        if form.closing and whole is not None and whole[1] > len(body) and not read_json(body.strip()).ok:
            body = text[match.start("body") :][: whole[1]]
            position = match.start("body") + whole[1]
            repaired = f"{form.closing} stood inside one of its texts"
        found += [replace(attempt, repaired=repaired) for attempt in _enveloped(body, match.start())]
    return found


def _enveloped(body: str, start: int) -> list[Attempt]:
    """The calls in an envelope: one `{"name", "arguments"}`, several on lines, or a list."""
    body = body.strip()
    if body.startswith("<") or "<arg_key>" in body or not re.search(r"[{\[]", body):
        return []  # tags inside: another format
    read = read_json(body)
    items = read.value if isinstance(read.value, list) else [read.value]
    if not read.ok:
        spans = list(json_spans(body))
        between = re.sub(r"\s", "", "".join(_gaps(body, spans)))
        if len(spans) < 2 or between:
            named = _NAME.search(body)
            return [Attempt(named[1] if named else "", body, start, True)]
        return [_from_object(body[begin:end], start) for begin, end in spans]
    if len(items) == 1 and isinstance(items[0], dict):
        return [_from_object(json.dumps(items[0]), start)]
    return [_from_object(json.dumps(item), start) for item in items]


def _from_object(text: str, start: int) -> Attempt:
    read = read_json(text)
    value: dict[str, Any] = read.value if isinstance(read.value, dict) else {}
    nested = value.get("function")
    inner: dict[str, Any] = nested if isinstance(nested, dict) else value
    name = inner.get("name", value.get("function"))
    arguments = inner.get("arguments", inner.get("parameters"))
    if not read.ok or not isinstance(name, str) or arguments is None:
        named = _NAME.search(text)
        return Attempt(named[1] if named else "", text, start, True)
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Attempt(name, written, start, not _is_object(written))


def _gaps(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return [text[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2)]


def _is_object(text: str) -> bool:
    read = read_json(text)
    return read.ok and isinstance(read.value, dict)
