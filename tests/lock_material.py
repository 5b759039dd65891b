"""Schemas from one seed and a model with uniform logits, for the lock's tests and benches."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from exllama_guard.tools.locks.compiled import CompiledLock
from exllama_guard.tools.locks.run import LockRun, Phase
from exllama_guard.tools.registry import Tool, tool_from_openai

WORDS = (
    "city",
    "days",
    "unit",
    "query",
    "limit",
    "note",
    "when",
    "tags",
    "owner",
    "flag",
    "größe",
    "x-y",
    "a_b",
    "id",
)


def random_schema(rng: random.Random, depth: int = 0) -> dict[str, Any]:  # noqa: C901 - one line a kind
    """A schema of one value; strings and lists are bounded so that a uniform model comes to an end."""
    kinds = [
        "string",
        "string",
        "integer",
        "number",
        "boolean",
        "enum",
        "null",
        "union",
        "format",
        "pattern",
        "const",
    ]
    if depth < 3:
        kinds += ["object", "array", "object", "array", "anyOf", "ref-free"]
    kind = rng.choice(kinds)
    if kind == "string":
        return {
            "type": "string",
            "maxLength": rng.randint(0, 12),
            **({"minLength": 0} if rng.random() < 0.2 else {}),
        }
    if kind == "integer":
        return {
            "type": "integer",
            **rng.choice([{}, {"minimum": -5, "maximum": 12}, {"exclusiveMinimum": 0}, {"multipleOf": 5}]),
        }
    if kind == "number":
        return {"type": "number", **rng.choice([{}, {"minimum": 0, "maximum": 1}, {"maximum": -0.5}])}
    if kind == "enum":
        return {"enum": rng.sample(["C", "F", 'é "quoted"', 3, 2.5, None, True, "a/b", "日本"], 3)}
    if kind == "const":
        return {"const": rng.choice(["fixed", 7, {"k": [1]}])}
    if kind == "union":
        return {"type": rng.sample(["boolean", "integer", "null"], 2)}
    if kind == "format":
        return {
            "type": "string",
            "format": rng.choice(["date", "time", "date-time", "uuid", "ipv4", "duration"]),
        }
    if kind == "pattern":
        return {
            "type": "string",
            "pattern": rng.choice(["^[a-z]{2,4}$", "^\\d{3}-\\d{2}$", "^(red|green)$", "^[A-F0-9]{6}$"]),
        }
    if kind == "array":
        return {
            "type": "array",
            "items": random_schema(rng, depth + 1),
            "minItems": rng.randint(0, 1),
            "maxItems": rng.randint(1, 3),
        }
    if kind == "anyOf":
        return {"anyOf": [random_schema(rng, depth + 1) for _ in range(2)]}
    if kind in ("object", "ref-free"):
        return random_object(rng, depth + 1)
    return {"type": kind}


def random_object(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """An object schema of 0 to 4 properties."""
    names = rng.sample(WORDS, rng.randint(0, 4))
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: random_schema(rng, depth) for name in names},
        "required": [name for name in names if rng.random() < 0.6],
    }
    if rng.random() < 0.3 and depth == 0:
        schema["$defs"] = {
            "node": {
                "type": "object",
                "properties": {
                    "n": {"type": "integer", "minimum": 0, "maximum": 9},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["n"],
            }
        }
        schema["properties"]["node"] = {"$ref": "#/$defs/node"}
    return schema


def random_tools(count: int, seed: int = 7) -> list[Tool]:
    """`count` tools with schemas of their own, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - test material
    return [
        tool_from_openai(
            {"name": f"tool_{index}", "description": f"number {index}", "parameters": random_object(rng)}
        )
        for index in range(count)
    ]


def allowed_tokens(mask: np.ndarray, count: int | None = None) -> np.ndarray:
    """The ids that a mask allows, lowest first; of the first `count` ids where that is given."""
    return np.flatnonzero(np.unpackbits(mask.view(np.uint8), count=count, bitorder="little"))


def uniform_reply(
    lock: CompiledLock, rng: np.random.Generator, max_tokens: int = 4000, *, told: bool = False
) -> tuple[bytes, bool]:
    """What a model with uniform logits writes under the lock, and whether it came to its end.

    Where the lock is `told` how many tokens the reply may have, it closes the reply before.
    """
    run = LockRun(lock, limit=max_tokens if told else None)
    tokens = lock.vocabulary.tokens
    ends = set(lock.vocabulary.eos_ids)
    out = bytearray()
    for _ in range(max_tokens):
        mask = run.mask()
        if mask is None:
            return bytes(out), run.phase is Phase.DONE
        allowed = allowed_tokens(mask, len(tokens))
        if not allowed.size:
            raise AssertionError(f"the lock allows no token after {bytes(out)!r}")
        token = int(allowed[int(rng.integers(allowed.size))])
        if token in ends:
            return bytes(out), True
        out += tokens[token]
        run.feed(token)
        if run.phase is Phase.BROKEN:
            raise AssertionError(f"the lock broke: {run.reason}")
    return bytes(out), run.phase is Phase.DONE
