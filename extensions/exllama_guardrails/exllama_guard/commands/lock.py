"""`lock`: checks recorded tool calls against their tools' schemas, or explains what can be enforced where."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from exllama_guard.commands import command_parser
from exllama_guard.commands.streams import opened_input, opened_output, write_object
from exllama_guard.errors import SchemaError, UserError
from exllama_guard.loaders import LOADERS, LockPlace, promise_on
from exllama_guard.tools import (
    CallVerdict,
    Checker,
    LockMode,
    Tool,
    ToolLock,
    check_call,
    read_json,
    tool_checker,
    tool_from_openai,
)
from exllama_guard.trace import read_object

_HELP = """\
TOOLS is a JSON file: a list of tools in OpenAI form, or an object with such a list under "tools".
Each line of CALLS is one call, {"id": "1", "name": "get_weather", "arguments": {"city": "Rome"}} (arguments
as an object, or as the text that the model wrote), and gives one line of OUTPUT:
  {"id": "1", "valid": false, "errors": [{"path": "/days", "expected": "type integer", "found": "\\"3\\"",
   "message": "\\"3\\" is not of type \\"integer\\""}]}
A line that is no call gives {"line": 7, "error": "..."}. Unknown keys are errors unless the schema
allows them.
Exit status: 0 all lines were read, 1 some lines were no calls (or tools are unusable), 2 could not run.

examples:
  python3 extensions/exllama_guardrails lock --tools tools.json --calls calls.jsonl --output checked.jsonl
  python3 extensions/exllama_guardrails lock --tools tools.json --explain
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 all lines were read, 1 some were no calls or tools are unusable, 2 could not run."""
    parser = _parser()
    options = parser.parse_args(argv)
    if not options.explain and (options.calls is None or options.output is None):
        parser.error("give --calls and --output, or --explain")
    try:
        tools = read_tools(options.tools)
        if options.explain:
            return _explain(tools)
        with ExitStack() as stack:
            source = opened_input(stack, options.calls)
            target = opened_output(stack, options.output, options.calls, options.tools)
            return _check_all(tools, source, target)
    except (UserError, OSError) as error:
        print(f"lock: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "lock", "Checks tool calls against their tools' JSON schemas; needs no model and no WebUI.", _HELP
    )
    parser.add_argument("--tools", required=True, metavar="FILE", help="JSON file of tools")
    parser.add_argument("--calls", metavar="FILE", help="file of JSON lines, or - for standard input")
    parser.add_argument("--output", metavar="FILE", help="file to write, or - for standard output")
    parser.add_argument(
        "--explain", action="store_true", help="say for each tool what each loader can enforce, and why not"
    )
    return parser


def read_tools(name: str) -> list[Tool]:
    """The tools of a file, in its order.

    Raises:
        UserError: The file is missing, is not JSON, or holds no list of tools.
    """
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name} cannot be read ({error}); give a JSON file of tools") from error
    read = read_json(text, max_depth=500, max_chars=200_000_000)
    if not read.ok:
        raise UserError(f"{name} is no list of tools: {read.problems[0].message}")
    entries = read.value.get("tools", [read.value]) if isinstance(read.value, dict) else read.value
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{name} holds no tools; give a list of them in OpenAI form")
    return [tool_from_openai(entry) for entry in entries]


def _check_all(tools: Sequence[Tool], source: IO[bytes], target: IO[str]) -> int:
    lock = ToolLock()
    statuses = {status.tool.name: status for status in lock.observe(tools)}
    checkers, unusable = _checkers(status.tool for status in statuses.values())
    bad = 0
    for number, line in enumerate(source, start=1):
        if not line.strip():
            continue
        try:
            identity, verdict = _verdict(line, number, statuses, checkers)
        except UserError as error:
            bad += 1
            result: dict[str, Any] = {"line": number, "error": str(error)}
        else:
            result = {
                "id": identity,
                "valid": verdict.valid,
                "errors": [error.as_dict() for error in verdict.errors],
            }
        write_object(target, result)
    for name, reason in unusable.items():
        print(f"lock: {name or '(unnamed)'}: {reason}", file=sys.stderr)
    return 1 if bad or unusable else 0


def _checkers(tools: Iterable[Tool]) -> tuple[dict[str, Checker], dict[str, str]]:
    """(what checks each tool's calls by its name, why the calls of others cannot be checked)."""
    found = {tool.name: _checker(tool) for tool in tools}
    checkers = {name: one for name, one in found.items() if not isinstance(one, SchemaError)}
    return checkers, {name: str(one) for name, one in found.items() if isinstance(one, SchemaError)}


def _checker(tool: Tool) -> Checker | SchemaError:
    try:
        return tool_checker(tool)
    except SchemaError as error:
        return error


def _verdict(
    line: bytes, number: int, statuses: dict[str, Any], checkers: dict[str, Checker]
) -> tuple[object, CallVerdict]:
    loose = read_object(line, number)
    name, arguments = loose.get("name"), loose.get("arguments", {})
    if not isinstance(name, str):
        raise UserError(f"line {number}: 'name' must be a string, not {type(name).__name__}")
    text = line.decode("utf-8", "replace")
    if not isinstance(arguments, str) and not read_json(text).ok:
        arguments = text  # duplicate keys, NaN: named as faults of the call
    known = tuple(statuses)
    return loose.get("id"), check_call(name, arguments, statuses.get(name), checkers.get(name), known=known)


def _explain(tools: Sequence[Tool]) -> int:
    unusable = 0
    for tool in tools:
        print(f"{tool.name or '(unnamed)'}  sha256 {tool.sha256[:16]}")
        try:
            tool_checker(tool)
        except SchemaError as error:
            unusable += 1
            print(f"  blocked on every loader: {error}")
            continue
        for reading in tool.readings:
            print(f"  {reading}")
        here, server = _left_to_the_check(tool), _left_by_llama_cpp(tool)
        for loader in (one for one in LOADERS if one.lock is not LockPlace.NOWHERE):
            left = server if loader.lock is LockPlace.REQUEST else here
            for mode in (LockMode.ENFORCE_CALLS, LockMode.ENFORCE_ALWAYS):
                print(f"  {loader.name}, {mode.value}: {promise_on(loader.name, mode, left)}")
    return 1 if unusable else 0


def _left_by_llama_cpp(tool: Tool) -> str:
    """What the server's own converter passes over; what it refuses shows at run time only."""
    from exllama_guard.tools.locks import server_reason

    return server_reason(tool)


def _left_to_the_check(tool: Tool) -> str:
    """Why not all of the tool's schema is enforced by loaders in this process, or an empty string."""
    from exllama_guard.tools.locks import byte_vocabulary, compile_reason

    try:
        return compile_reason(tool, byte_vocabulary())
    except SchemaError as error:
        return str(error)
