"""The ways in which models write a tool call: what starts one, and its grammar (llguidance's Lark).

The formats are those that TextGen WebUI 4.7.3 reads out of a reply (`modules/tool_parsing.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from exllama_guard.errors import SchemaError
from exllama_guard.tools.grammar.lark import LarkWriter
from exllama_guard.tools.grammar.values import fields_of, gemma_value, python_value, tag_value
from exllama_guard.tools.registry import Tool

__all__ = ["FORMATS", "THINKING", "CallFormat", "formats_for_template"]

# (opening, closing) of blocks in which a model thinks; nothing inside them is a call.
THINKING = (
    ("<think>", "</think>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel>thought", "<channel|>"),
    ("<|think|>", "<|end|>"),
)

_QUOTE_MAYBE = '"?'
_PLAIN_NAME = re.compile(r"""[^\s<>{}()\[\]"'=:|,]+""")


@dataclass(frozen=True, slots=True)
class CallFormat:
    """One way to write a call.

    `call` writes the rule of one call of one tool and returns its name; it raises SchemaError where this form
    cannot carry the tool's arguments. `head` finds a call's name (group `name`) in a reply and ends where its
    JSON arguments begin; `body` instead finds a whole envelope (group `body`). One of the two is set.
    """

    name: str
    hints: tuple[str, ...]
    triggers: tuple[str, ...]
    call: Callable[[LarkWriter, Tool], str]
    head: re.Pattern[str] | None = None
    body: re.Pattern[str] | None = None
    per_tool_triggers: Callable[[str], tuple[str, ...]] | None = None
    loose_end: str = ""  # closes a call whose arguments are not JSON
    longer: str = ""  # what an optional part of the form, once begun, adds to a call's shortest end
    closing: str = ""  # a mark that readers take for the call's end wherever it stands, also in a JSON string

    def loose_call(self, out: LarkWriter, tool: Tool) -> str:
        """The rule of a call of `tool` with a locked name and open arguments, for a checked-only tool.

        Raises:
            SchemaError: The tool's name cannot be written in this form.
        """
        if not self.loose_end:
            return self.call(out, replace(tool, parameters={"type": "object"}))
        start = self.triggers_for((tool,))[0]
        if tool.name in start:
            return out.rule("call", f"{out.text(start)} {out.until(self.loose_end)}")
        name = _plain(tool, self.name)
        head = f"{out.mark(start)} {out.ws()} {out.pattern('[<a-z:]{0,24}')} {out.pattern('[= a-z]{0,16}')} "
        return out.rule(
            "call",
            f"{head} {out.pattern(_QUOTE_MAYBE)} {out.text(name)} {out.until(self.loose_end)}",
        )

    def triggers_for(self, tools: Sequence[Tool]) -> tuple[str, ...]:
        """Texts that start a call of one of `tools`."""
        if self.per_tool_triggers is None:
            return self.triggers
        return tuple(text for tool in tools for text in self.per_tool_triggers(tool.name))


def formats_for_template(template: str) -> tuple[CallFormat, ...]:
    """The formats that a chat template speaks of, else the common ones; `name{...}` is always among them.

    Args:
        template: The Jinja text of the chat or instruction template; may be empty.
    """
    named = [fmt for fmt in FORMATS if any(hint in template for hint in fmt.hints)]
    if "<arg_key>" in template or "<function=" in template:
        named = [fmt for fmt in named if fmt.name != "tagged JSON"]
    if not named:
        named = [fmt for fmt in FORMATS if fmt.name in ("tagged JSON", "plain JSON")]
    return (*named, BARE)


def _plain(tool: Tool, form: str) -> str:
    if not _PLAIN_NAME.fullmatch(tool.name):
        raise SchemaError(f"The name '{tool.name}' cannot be written in the call format '{form}'.")
    return tool.name


def _between(
    start: str, separator: str, end: str, form: str, before: str = "", after: str = ""
) -> Callable[[LarkWriter, Tool], str]:
    """A call `start before NAME after separator JSON end`."""

    def call(out: LarkWriter, tool: Tool) -> str:
        name = out.text(before + _plain(tool, form))
        tail = f"{out.ws()} {out.mark(end)}" if end else ""
        middle = f"{out.pattern(after)} " if after else ""
        head = f"{out.mark(start)} {out.ws()} {name} {middle}{out.mark(separator)} {out.ws()}"
        return out.rule("call", f"{head} {out.arguments(tool)} {tail}")

    return call


def _deepseek(out: LarkWriter, tool: Tool) -> str:
    """As V3.1 writes it, NAME sep JSON, and as R1 and V3 do: function sep NAME, then JSON in a fence."""
    name, ws = out.text(_plain(tool, "DeepSeek")), out.ws()
    begin, sep, end = map(out.mark, ("<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"))
    arguments = out.arguments(tool)
    plain = f"{name} {sep} {ws} {arguments}"
    fenced = f"{out.text('function')} {sep} {name} {out.text(chr(10) + '```json' + chr(10))} {arguments} "
    fenced += out.text(chr(10) + "```")
    return out.rule("call", f"{begin} {ws} ({plain} | {fenced}) {ws} {end}")


def _mistral(out: LarkWriter, tool: Tool) -> str:
    """NAME [ARGS] JSON, with or without a [CALL_ID] of nine letters and digits between."""
    name, ws = out.text(_plain(tool, "Mistral")), out.ws()
    identity = f"({out.mark('[CALL_ID]')} {out.pattern('[A-Za-z0-9]{9}')})?"
    head = f"{out.mark('[TOOL_CALLS]')} {ws} {name} {identity} {out.mark('[ARGS]')} {ws}"
    return out.rule("call", f"{head} {out.arguments(tool)}")


def _channel(out: LarkWriter, tool: Tool) -> str:
    name = out.text("to=functions." + _plain(tool, "channel"))
    first = f"{out.ws()} {out.mark('<|channel|>')} {out.pattern('[a-z ]{0,24}')}"
    second = f"{out.ws()} ({out.mark('<|constrain|>')} {out.pattern('[a-z]{0,12}')})?"
    return out.rule(
        "call", f"{name} ({first} | {second}) {out.mark('<|message|>')} {out.ws()} {out.arguments(tool)}"
    )


def _json_object(out: LarkWriter, tool: Tool, *keys: str) -> str:
    """The rule of `{"name": NAME, "arguments": JSON}`; `keys` may stand for "arguments" too."""
    ws = out.ws()
    quoted = out.json_text(tool.name)
    key = "(" + " | ".join(map(out.json_text, ("arguments", *keys))) + ")"
    return out.rule(
        "object",
        f'"{{" {ws} {out.json_text("name")} {ws} ":" {ws} {quoted} {ws} "," {ws} {key} {ws} ":" {ws} '
        f'{out.arguments(tool)} {ws} "}}"',
    )


def _plain_json(out: LarkWriter, tool: Tool) -> str:
    return _json_object(out, tool, "parameters")  # as Llama 3 writes it


def _tagged(tag: str) -> Callable[[LarkWriter, Tool], str]:
    def call(out: LarkWriter, tool: Tool) -> str:
        item, ws = _json_object(out, tool), out.ws()
        items = f'"[" {ws} {item} {ws} "]"'
        return out.rule(
            "call", f"{out.mark(f'<{tag}>')} {ws} ({item} | {items}) {ws} {out.mark(f'</{tag}>')}"
        )

    return call


def _bare(out: LarkWriter, tool: Tool) -> str:
    return out.rule(
        "call", f"{out.text(_plain(tool, 'bare name'))} {out.pattern(' ?')} {out.arguments(tool)}"
    )


def _xml(out: LarkWriter, tool: Tool) -> str:
    name, ws = _plain(tool, "XML parameters"), out.ws()
    parts = [
        (
            out.rule(
                "field",
                f"{out.text(f'<parameter={field.name}>')} {tag_value(out, field, '</parameter>')} {ws}",
            ),
            field.required,
        )
        for field in fields_of(tool)
    ]
    inner = out.in_order(parts)
    return out.rule(
        "call",
        f"{out.mark('<tool_call>')} {ws} {out.text(f'<function={name}>')} {ws} {inner} "
        f"{out.text('</function>')} {ws} {out.mark('</tool_call>')}",
    )


def _minimax(out: LarkWriter, tool: Tool) -> str:
    name, ws = _plain(tool, "MiniMax"), out.ws()
    parts = [
        (
            out.rule(
                "field",
                f"{out.text(f'<parameter name={_quote(field.name)}>')} "
                f"{tag_value(out, field, '</parameter>')} {ws}",
            ),
            field.required,
        )
        for field in fields_of(tool)
    ]
    invoke = f"{out.text(f'<invoke name={_quote(name)}>')} {ws} {out.in_order(parts)} {out.text('</invoke>')}"
    return out.rule(
        "call", f"{out.mark('<minimax:tool_call>')} {ws} {invoke} {ws} {out.mark('</minimax:tool_call>')}"
    )


def _glm(out: LarkWriter, tool: Tool) -> str:
    name, ws = _plain(tool, "GLM"), out.ws()
    parts = []
    for field in fields_of(tool):
        key = f"{out.mark('<arg_key>')} {out.text(field.name)} {out.mark('</arg_key>')} {ws}"
        value = f"{out.mark('<arg_value>')} {tag_value(out, field, '</arg_value>')} {ws}"
        parts.append((out.rule("field", f"{key} {value}"), field.required))
    gap = out.pattern(r"[ \n]{1,4}")
    body = f"{out.text(name)} {gap} {out.in_order(parts)}" if parts else f"{out.text(name)} {ws}"
    return out.rule("call", f"{out.mark('<tool_call>')} {ws} {body} {out.mark('</tool_call>')}")


def _gemma(out: LarkWriter, tool: Tool) -> str:
    name = _plain(tool, "Gemma")
    value = gemma_value(out, tool.parameters, tool.parameters)
    return out.rule(
        "call", f"{out.mark('<|tool_call>')} {out.text(f'call:{name}')} {value} {out.mark('<tool_call|>')}"
    )


def _pythonic(out: LarkWriter, tool: Tool) -> str:
    name = _plain(tool, "Python call")
    parts = [
        (out.rule("field", f"{out.text(f'{field.name}=')} {python_value(out, field)}"), field.required)
        for field in fields_of(tool)
    ]
    return out.rule("call", f"{out.text(f'[{name}(')} {out.separated(parts, ', ')} {out.text(')]')}")


def _quote(text: str) -> str:
    return f'"{text}"'


BARE = CallFormat(
    "bare name",
    (),
    (),
    _bare,
    per_tool_triggers=lambda name: (f"{name}{{", f"{name} {{"),
)

# Order as the host tries them, so that the first that fits is the one that it reads.
FORMATS: tuple[CallFormat, ...] = (
    CallFormat(
        "DeepSeek",
        ("tool▁call▁begin", "tool▁calls▁begin"),
        ("<｜tool▁call▁begin｜>",),
        _deepseek,
        longer="function\n```json\n\n```",
        head=re.compile(
            r"<｜tool▁call▁begin｜>\s{0,20}(?:function\s{0,20}<｜tool▁sep｜>\s{0,20}(?=[^\s{]))?"
            r"(?P<name>[^\s<]{1,256}?)\s{0,20}(?:<｜tool▁sep｜>|\n)\s{0,20}(?:```(?:json)?\s*)?"
        ),
    ),
    CallFormat(
        "Kimi",
        ("<|tool_call_begin|>", "tool_calls_section"),
        ("<|tool_call_begin|>",),
        _between(
            "<|tool_call_begin|>",
            "<|tool_call_argument_begin|>",
            "<|tool_call_end|>",
            "Kimi",
            before="functions.",
            after=":[0-9]{1,3}",
        ),
        head=re.compile(
            r"<\|tool_call_begin\|>\s{0,20}(?:functions\.)?(?P<name>\S{1,256}?)(?::\d{1,9})?\s{0,20}"
            r"<\|tool_call_argument_begin\|>\s*"
        ),
    ),
    CallFormat(
        "channel",
        ("to=functions.", "<|channel|>"),
        ("to=functions.",),
        _channel,
        head=re.compile(r"to=functions\.(?P<name>[^<\s]{1,256})(?=[<\s])[^{]{0,80}?<\|message\|>\s*"),
    ),
    CallFormat("Gemma", ("<|tool_call>call:",), ("<|tool_call>",), _gemma, loose_end="<tool_call|>"),
    CallFormat(
        "MiniMax",
        ("minimax:tool_call",),
        ("<minimax:tool_call>",),
        _minimax,
        loose_end="</minimax:tool_call>",
    ),
    CallFormat("GLM", ("<arg_key>",), ("<tool_call>",), _glm, loose_end="</tool_call>"),
    CallFormat("XML parameters", ("<function=",), ("<tool_call>",), _xml, loose_end="</tool_call>"),
    CallFormat(
        "Mistral",
        ("[TOOL_CALLS]",),
        ("[TOOL_CALLS]",),
        _mistral,
        longer="[CALL_ID]a1B2c3D4e",
        head=re.compile(
            r"\[TOOL_CALLS\]\s{0,20}(?P<name>[^\s\[]{1,256}?)\s{0,20}"
            r"(?:\[CALL_ID\]\s{0,20}[^\s\[]{0,64}\s{0,20})?\[ARGS\]\s*"
        ),
    ),
    CallFormat(
        "tagged JSON",
        ("<tool_call>",),
        ("<tool_call>",),
        _tagged("tool_call"),
        body=re.compile(r"<tool_call>(?P<body>.*?)(?:</tool_call>|\Z)", re.DOTALL),
        closing="</tool_call>",
    ),
    CallFormat(
        "tagged JSON (function_call)",
        ("<function_call>",),
        ("<function_call>",),
        _tagged("function_call"),
        body=re.compile(r"<function_call>(?P<body>.*?)(?:</function_call>|\Z)", re.DOTALL),
        closing="</function_call>",
    ),
    CallFormat(
        "Python call",
        ("[func_name1(", "[func_name("),
        (),
        _pythonic,
        loose_end=")]",
        per_tool_triggers=lambda name: (f"[{name}(",),
    ),
    CallFormat(
        "plain JSON",
        ('{"name": function name', '{\\"name\\": function name'),
        ('{"name":',),
        _plain_json,
        body=re.compile(r"\A\s*(?P<body>\{\s*\"name\".*)\Z", re.DOTALL),
    ),
)
