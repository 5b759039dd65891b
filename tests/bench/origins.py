"""Where arguments come from, on BFCL: alarms on right values, and swapped values that are named.

    python tests/bench/origins.py --bfcl FOLDER [--half building|reading] [--show 20]

Questions are split in two halves by the hash of their id. The module was written on *building*; *reading* is
for the figure. One value of each call is swapped for another plausible one: a permitted one, or one that an
argument of the same name or type has in another question and that the question does not hold; no Booleans.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "extensions" / "exllama_guardrails"))

from exllama_guard.tools.origins import CallSources, Origin, origins_of  # noqa: E402 - needs the path
from exllama_guard.tools.registry import tool_from_openai  # noqa: E402 - needs the path

SETS = ("simple_python", "multiple", "parallel")


@dataclass(frozen=True, slots=True)
class Item:
    """One right call: the question, the tool's parameters, the arguments and what else is permitted."""

    identity: str
    question: str
    parameters: dict[str, Any]
    arguments: dict[str, Any]
    permitted: dict[str, list[Any]]


def half_of(identity: str) -> str:
    """ "building" or "reading" by the hash of a question's id."""
    return "building" if hashlib.sha256(identity.encode()).digest()[0] % 2 else "reading"


def items(folder: Path, half: str) -> Iterator[Item]:
    """The right calls of a half, in file order."""
    for name in SETS:
        questions = (folder / f"BFCL_v4_{name}.json").read_text(encoding="utf-8").splitlines()
        answers = (folder / f"answer_{name}.json").read_text(encoding="utf-8").splitlines()
        for question_line, answer_line in zip(questions, answers, strict=True):
            question, answer = json.loads(question_line), json.loads(answer_line)
            if half_of(question["id"]) != half:
                continue
            tools = {tool.name: tool for tool in map(tool_from_openai, question["function"])}
            text = "\n".join(part["content"] for part in question["question"][0] if part["role"] == "user")
            for call in answer["ground_truth"]:
                ((called, permitted),) = call.items()
                given = {
                    key: first(values) for key, values in permitted.items() if values and values[0] != ""
                }
                yield Item(question["id"], text, dict(tools[called].parameters), given, permitted)


def first(values: list[Any]) -> Any:
    """The first permitted value; objects list the values of their keys."""
    value = values[0]
    if isinstance(value, dict):
        return {key: first(part) if isinstance(part, list) and part else part for key, part in value.items()}
    if isinstance(value, list):
        return [first([part]) for part in value]
    return value


def swapped(
    item: Item, pools: dict[tuple[str, str], list[Any]], rng: random.Random
) -> tuple[str, dict[str, Any]] | None:
    """The name of one argument and the call with another plausible value in its place, or None."""
    plain = item.question.casefold().replace(",", "")
    names = [
        key
        for key, value in item.arguments.items()
        if isinstance(value, (str, int, float)) and not isinstance(value, bool)
    ]
    rng.shuffle(names)
    for name in names:
        schema = item.parameters.get("properties", {}).get(name, {})
        kind = type(item.arguments[name]).__name__
        options = schema.get("enum") or pools[name, kind] or pools["", kind]
        if len(options) < 3 and "enum" not in schema:
            options = pools["", kind]
        fresh = [
            value
            for value in options
            if value not in item.permitted[name] and str(value).casefold() not in plain
        ]
        if fresh:
            return name, {**item.arguments, name: rng.choice(fresh)}
    return None


def main() -> None:
    """Prints the table and some of the misses."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bfcl", type=Path, default=ROOT.parent / "shared" / "data" / "bfcl")
    parser.add_argument("--half", choices=("building", "reading"), default="building")
    parser.add_argument("--show", type=int, default=0, help="misses to print (building only)")
    options = parser.parse_args()
    if options.show and options.half == "reading":
        parser.error("the half for reading is not looked at")
    rng = random.Random(5)  # noqa: S311 - a fixed draw
    listed = list(items(options.bfcl, options.half))
    pools: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for item in listed:
        for name, value in item.arguments.items():
            pools[name, type(value).__name__].append(value)
            pools["", type(value).__name__].append(value)
    values = alarms = swaps = named = 0
    missed: list[str] = []
    for item in listed:
        sources = CallSources(item.question)
        for found in origins_of(item.arguments, item.parameters, sources):
            values += 1
            if found.origin is Origin.NOWHERE:
                alarms += 1
                missed.append(f"alarm  {found.path}={found.value}  {item.question[:150]!r}")
        change = swapped(item, pools, rng)
        if change is None:
            continue
        name, arguments = change
        swaps += 1
        wrong = {found.origin for found in origins_of({name: arguments[name]}, item.parameters, sources)}
        if Origin.NOWHERE in wrong:
            named += 1
        else:
            missed.append(f"missed {name}={arguments[name]!r} ({', '.join(wrong)})  {item.question[:110]!r}")
    print(f"half {options.half}: {len(listed)} calls")
    print(f"right values without an alarm  {values - alarms}/{values} = {1 - alarms / values:.1%}")
    print(f"swapped values that are named  {named}/{swaps} = {named / swaps:.1%}")
    for line in missed[: options.show]:
        print(line)


if __name__ == "__main__":
    main()
