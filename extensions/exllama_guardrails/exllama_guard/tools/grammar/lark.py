"""Writes the grammar of tool calls in llguidance's Lark dialect: names, literals, JSON values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exllama_guard.tools.grammar.closed import close_schema
from exllama_guard.tools.grammar.enforce import enforceable
from exllama_guard.tools.registry import Tool

__all__ = ["JSON_STYLE", "LarkWriter"]

# White space as models write it, bounded: unbounded, a small model can fill a reply with blanks.
JSON_STYLE = {"whitespace_pattern": r"[ \n\r\t]{1,24}"}
_WS = r"[ \n\r\t]{0,16}"
_ANY = r"(.|\n)*"


class LarkWriter:
    """Collects rules; every method returns a piece of a rule's right-hand side.

    Args:
        special: The id of a special token with exactly this text, or None.
    """

    def __init__(self, special: Callable[[str], int | None] = lambda text: None) -> None:
        self._special = special
        self._rules: list[str] = []
        self._patterns: dict[str, str] = {}
        self._arguments: dict[str, str] = {}
        self.text_ends: dict[str, None] = {}  # what ends a text that may hold anything else

    def rule(self, stem: str, body: str) -> str:
        """Adds a rule and returns its name."""
        name = f"{stem}_{len(self._rules)}"
        self._rules.append(f"{name}: {body}")
        return name

    def text(self, text: str) -> str:
        """Exactly `text`, spelled in ordinary tokens."""
        return json.dumps(text, ensure_ascii=False)

    def mark(self, text: str) -> str:
        """Exactly `text`, as the special token of that text too where the tokenizer has one."""
        token = self._special(text)
        return self.text(text) if token is None else f"({self.text(text)} | <[{token}]>)"

    def until(self, end: str) -> str:
        """Any text up to and with `end`, which it does not hold before."""
        self.text_ends[end] = None
        token = self._special(end)
        if token is not None:
            return f"{self.pattern(_ANY)} <[{token}]>"
        closing = re.escape(end).replace("/", r"\/")
        name = f"until_{len(self._rules)}"
        self._rules.append(rf"{name}[lazy]: /(.|\n)*{closing}/")
        return name

    def json_text(self, text: str) -> str:
        """`text` as a JSON string."""
        return self.text(json.dumps(text, ensure_ascii=False))

    def pattern(self, regex: str) -> str:
        """A terminal for `regex`; equal ones share a name."""
        if regex not in self._patterns:
            self._patterns[regex] = f"P{len(self._patterns)}"
        return self._patterns[regex]

    def ws(self) -> str:
        """Up to 16 blanks, tabs and line ends."""
        return self.pattern(_WS)

    def json(self, schema: Mapping[str, Any]) -> str:
        """A JSON value that fits `schema`."""
        return self.rule(
            "json",
            "%json "
            + json.dumps({**enforceable(schema).schema, "x-guidance": JSON_STYLE}, ensure_ascii=False),
        )

    def arguments(self, tool: Tool) -> str:
        """The tool's arguments as one JSON object, without unknown keys."""
        if tool.name not in self._arguments:
            schema = close_schema(tool.parameters)
            schema.setdefault("type", "object")
            self._arguments[tool.name] = self.json(schema)
        return self._arguments[tool.name]

    def in_order(self, parts: Sequence[tuple[str, bool]]) -> str:
        """The parts one after the other; those with False may be left out."""
        return " ".join(part if required else f"{part}?" for part, required in parts)

    def separated(self, parts: Sequence[tuple[str, bool]], separator: str) -> str:
        """The parts in order with `separator` between those that are there; empty if none need be."""
        first = begun = ""  # what remains, when nothing stands before it and when something does
        for part, required in reversed(parts):
            following = f"{self.text(separator)} {part} {begun}".strip()
            leading = f"{part} {begun}".strip()
            first = self._choice(leading, first, required)
            begun = self._choice(following, begun, required)
        return first

    def _choice(self, taken: str, skipped: str, required: bool) -> str:
        """A rule of `taken`, or where that is not required of `skipped` (which may be nothing)."""
        if required:
            return self.rule("seq", taken)
        return self.rule("seq", f"({taken}) | {skipped}" if skipped else f"({taken})?")

    def grammar(self, start: str) -> str:
        """The whole grammar with `start` as the start rule's right-hand side."""
        lines = ["%llguidance {}", f"start: {start}", *self._rules]
        lines += [f"{name}: /{_slashed(regex)}/" for regex, name in self._patterns.items()]
        return "\n".join(lines) + "\n"


def _slashed(regex: str) -> str:
    return re.sub(r"(?<!\\)/", r"\\/", regex.replace("\n", "\\n"))
