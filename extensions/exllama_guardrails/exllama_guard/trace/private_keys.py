"""Private keys in PEM form, whole or cut anywhere, hidden line by line."""

from __future__ import annotations

import re
from bisect import bisect_left

__all__ = ["without_private_keys"]

_MASK = "\N{BULLET}"
_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_LINE = re.compile(r"(?P<between>(?:\s|\\[nr]|[>|\"'#*]){0,40})(?P<body>[A-Za-z0-9+/=]{1,4096})")
_HEADER = re.compile(r"(?:\s|\\[nr]){0,8}[A-Za-z][A-Za-z0-9-]{1,40}: [^\n\\]{0,400}")
_LEAST_LINE = 16  # characters; a key's line has 64 or 76, its last one any number
_FULL_LINE = 48


def without_private_keys(text: str) -> str:
    """`text` with what stands in a private key replaced, its first and last line kept; of the same length.

    Where the end is cut off, what looks like a key's lines is hidden; where the beginning is, those before.
    """
    begins = [found.span() for found in _BEGIN.finditer(text)]
    ends = [found.span() for found in _END.finditer(text)]
    spans: list[tuple[int, int]] = []
    for index, (_, start) in enumerate(begins):
        following = bisect_left(ends, (start, 0))
        next_begin = begins[index + 1][0] if index + 1 < len(begins) else len(text)
        whole = following < len(ends) and ends[following][0] <= next_begin
        spans.append((start, ends[following][0] if whole else _lines_after(text, start, next_begin)))
    spans += [(_lines_before(text, end), end) for end, _ in ends]
    return _hidden(text, sorted(spans))


def _lines_after(text: str, at: int, most: int) -> int:
    """Where the lines of a key end that starts at `at`."""
    while (header := _HEADER.match(text, at, most)) is not None:
        at = header.end()
    before = 0
    while (line := _LINE.match(text, at, most)) is not None:
        length = len(line["body"])
        is_line = "\n" in line["between"] or "\\n" in line["between"]
        if not is_line or (length < _LEAST_LINE and before < _FULL_LINE):
            break
        at, before = line.end(), length
    return at


def _lines_before(text: str, end: int) -> int:
    """Where the lines of a key begin that ends at `end`."""
    at, is_last = end, True
    while at > 0:
        start = text.rfind("\n", 0, at - 1) + 1 if at > 1 else 0
        body = text[start:at].strip()
        if not re.fullmatch(r"[A-Za-z0-9+/=]+", body or "") or (len(body) < _LEAST_LINE and not is_last):
            return at
        at, is_last = start, False
    return at


def _hidden(text: str, spans: list[tuple[int, int]]) -> str:
    parts, kept = [], 0
    for start, end in spans:
        start = max(start, kept)
        if end > start:
            parts += [text[kept:start], _MASK * (end - start)]
            kept = end
    return "".join([*parts, text[kept:]])
