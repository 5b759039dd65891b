r"""The marked block: how snippets travel inside a prompt, so that any program can hand them over.

    <<<GUARDRAIL_SNIPPETS
    [s1] source="warm_up.md" section_id="Warm-up" start=0 end=120
    the snippet's text, as many lines as it has
    GUARDRAIL_SNIPPETS>>>

A header line is an id in brackets, then any of `section_id`, `source`, `start`, `end`, `unit`; strings are
JSON.
A text line that would read as a header or a marker carries one backslash in front.
The opening marker ends its line, the closing marker begins one. Lines end at `\n` and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exllama_guard.core.snippets import Offsets, Origin, Snippet, Span, make_snippet

__all__ = [
    "OPENING",
    "CLOSING",
    "MarkedBlock",
    "format_block",
    "find_blocks",
    "parse_snippets",
    "without_blocks",
]

OPENING = "<<<GUARDRAIL_SNIPPETS"
CLOSING = "GUARDRAIL_SNIPPETS>>>"

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_FIELD = re.compile(rf"(section_id|source|unit|start|end)=({_STRING}|\d{{1,18}})")
_HEADER = re.compile(rf'\[({_STRING}|[^\]\["\s\\]+)\]((?: +{_FIELD.pattern})*) *\Z')
_PLAIN_ID = re.compile(r'[^\]\["\s\\]+\Z')


@dataclass(frozen=True, slots=True)
class MarkedBlock:
    """One block found in a text: its snippets, its place, and one sentence for each thing not right."""

    snippets: tuple[Snippet, ...]
    span: Span
    problems: tuple[str, ...] = ()


def format_block(snippets: Iterable[Snippet], *, short: bool = False) -> str:
    """The block's text for `snippets`, in their order, ending with the closing marker and no newline.

    A `short` header holds id and source only, a third of the tokens; the rest is looked up by the text.
    """
    lines = [OPENING]
    for snippet in snippets:
        lines.append(_short_header(snippet) if short else _header(snippet))
        lines.extend(_escaped(line) for line in snippet.text.split("\n"))
    lines.append(CLOSING)
    return "\n".join(lines)


def find_blocks(text: str) -> tuple[MarkedBlock, ...]:
    """Every complete block of `text` in order; an opening marker without a closing one is left alone."""
    found: list[MarkedBlock] = []
    at = 0
    while (block := _next_block(text, at)) is not None:
        found.append(block)
        at = block.span.end
    return tuple(found)


def parse_snippets(text: str) -> tuple[Snippet, ...]:
    """The snippets of every complete block of `text`, in order; empty where there is none."""
    return tuple(snippet for block in find_blocks(text) for snippet in block.snippets)


def without_blocks(text: str) -> str:
    """`text` with every complete block taken out, and with the blank space around it."""
    kept: list[str] = []
    at = 0
    for block in find_blocks(text):
        kept.append(text[at : block.span.start])
        at = block.span.end
    if not kept:
        return text
    kept.append(text[at:])
    return "\n\n".join(part.strip() for part in kept if part.strip())


def _short_header(snippet: Snippet) -> str:
    name = snippet.snippet_id
    shown = name if _PLAIN_ID.match(name) else _quoted(name)
    return f"[{shown}] source={_quoted(snippet.source_url)}"


def _header(snippet: Snippet) -> str:
    unit = "" if snippet.offsets.unit == "char" else f" unit={_quoted(snippet.offsets.unit)}"
    return (
        f"{_short_header(snippet)} section_id={_quoted(snippet.section_id)} "
        f"start={snippet.offsets.start} end={snippet.offsets.end}{unit}"
    )


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_special(line: str) -> bool:
    return line.startswith(CLOSING) or line.endswith(OPENING) or _HEADER.match(line) is not None


def _escaped(line: str) -> str:
    return "\\" + line if _is_special(line.lstrip("\\")) else line


def _unescaped(line: str) -> str:
    return line[1:] if line.startswith("\\") and _is_special(line.lstrip("\\")) else line


def _next_block(text: str, at: int) -> MarkedBlock | None:
    """The first complete block that opens at or after `at`; an opening inside an open one starts over."""
    start: int | None = None
    lines: list[str] = []
    while at < len(text):
        end = text.find("\n", at)
        line = text[at:] if end < 0 else text[at:end]
        after = len(text) if end < 0 else end + 1
        escaped = line.startswith("\\")
        if line.endswith(OPENING) and not (escaped and start is not None):
            start, lines = at + len(line) - len(OPENING), []
        elif start is not None and line.startswith(CLOSING):
            snippets, problems = _read(lines)
            return MarkedBlock(snippets, Span(start, at + len(CLOSING)), problems)
        elif start is not None:
            lines.append(line)
        at = after
    return None


def _read(lines: Sequence[str]) -> tuple[tuple[Snippet, ...], tuple[str, ...]]:
    groups: list[tuple[re.Match[str], list[str]]] = []
    stray = 0
    for line in lines:
        header = _HEADER.match(line)
        if header is not None:
            groups.append((header, []))
        elif groups:
            groups[-1][1].append(_unescaped(line))
        elif line.strip():
            stray += 1
    problems: list[str] = []
    if stray:
        problems.append(
            f"A marked block has {stray} line(s) of text before its first header; "
            "write a line such as [s1] first."
        )
    snippets = [
        _snippet(position, header, "\n".join(body), problems)
        for position, (header, body) in enumerate(groups)
    ]
    return tuple(snippets), tuple(problems)


def _snippet(position: int, header: re.Match[str], text: str, problems: list[str]) -> Snippet:
    given = {name: _value(value) for name, value in _FIELD.findall(header.group(2))}
    name = _string(header.group(1))
    return make_snippet(
        text,
        position=position,
        snippet_id=name,
        section_id=_text(given.get("section_id")),
        source_url=_text(given.get("source")),
        offsets=_offsets(name, given, problems),
        origin=Origin.MARKED_BLOCK,
    )


def _value(written: str) -> str | int:
    """A field's value: a string, or a number of at most 18 digits."""
    return _string(written) if written.startswith('"') else int(written)


def _string(written: str) -> str:
    if not written.startswith('"'):
        return written
    try:
        return str(json.loads(written, strict=False))
    except json.JSONDecodeError:
        return written.strip('"')


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _offsets(name: str, given: dict[str, str | int], problems: list[str]) -> Offsets | None:
    start, end = given.get("start"), given.get("end")
    if start is None and end is None:
        return None
    if isinstance(start, int) and isinstance(end, int) and start <= end:
        return Offsets(start, end, str(given.get("unit", "char")))
    problems.append(
        f"Snippet {name} of a marked block has start={start} and end={end}; give both, start not above end."
    )
    return None
