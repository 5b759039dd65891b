"""The grammar of a turn's calls for one tokenizer, compiled once; immutable and shared by all replies."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from exllama_guard.errors import SchemaError
from exllama_guard.tools.grammar.closed import close_schema
from exllama_guard.tools.grammar.enforce import enforceable
from exllama_guard.tools.grammar.formats import THINKING, CallFormat, formats_for_template
from exllama_guard.tools.grammar.lark import LarkWriter
from exllama_guard.tools.grammar.least import longest_piece
from exllama_guard.tools.locks.bans import NO_TOKENS, completing, holding, running_on
from exllama_guard.tools.locks.ending import shortest_end
from exllama_guard.tools.locks.vocabulary import Vocabulary
from exllama_guard.tools.registry import Tool
from exllama_guard.tools.strict_json import canonical_sha256

__all__ = [
    "ANSWER",
    "CompiledLock",
    "LockPlan",
    "compile_plan",
    "compile_reason",
    "plan_answer",
    "plan_calls",
]

ANSWER = ""  # in the place of a tool's name
# llguidance's own defaults refuse a schema that would stall a reply; a megabyte of schema stays below them.
_LOG_LEVEL = 0
# Places in triggers that are worked out beforehand, some 0.1 ms each; the rest on first need.
_EAGER = 400
# What an escape of a character outside the basic plane needs once it is begun; some tokens to spare.
_ESCAPE, _SPARE = "ud83d\\ude00", 2
# Characters of a grammar from which on it is tried out: some of llguidance's limits show only then.
_LARGE = 20_000


@dataclass(frozen=True, slots=True)
class LockPlan:
    """What to lock, before a tokenizer is known: hashable by `key`."""

    tools: tuple[Tool, ...]
    formats: tuple[CallFormat, ...]
    always: bool  # the whole reply is a call (or the answer); else text is free until a call starts
    thinking: tuple[tuple[str, str], ...]
    answer_schema: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """64 hex digits over everything that shapes the grammar."""
        return canonical_sha256(
            [
                [tool.sha256 for tool in self.tools],
                [fmt.name for fmt in self.formats],
                self.always,
                [list(pair) for pair in self.thinking],
                self.answer_schema,
            ]
        )


def plan_calls(tools: Sequence[Tool], template: str, *, always: bool) -> LockPlan:
    """A plan that locks the calls of `tools` in the formats that `template` speaks of."""
    return LockPlan(tuple(tools), formats_for_template(template), always, _thinking(template, always))


def plan_answer(schema: Mapping[str, Any], template: str) -> LockPlan:
    """A plan that locks the whole answer to `schema`, as it stands: unknown keys follow the schema."""
    return LockPlan((), (), True, _thinking(template, True), schema)


@dataclass(slots=True)
class CompiledLock:
    """A compiled grammar with what starts it.

    `unenforced` names the tools of whose schema not all is held while decoding, with the reason; ANSWER
    stands for an answer's schema. `margin` is about
    by how many tokens one token can make the shortest end of a reply longer; `again` is how many one more
    call takes at least where the reply may go on with one, else 0; `text_ends` end texts that may hold
    anything. `closing_bans` complete a closing mark, which no text may hold. `_bans` is filled on first need
    under `_guard`: tokens that complete a trigger and run on into
    what is forbidden.
    """

    vocabulary: Vocabulary
    grammar: str
    always: bool
    triggers: tuple[bytes, ...]
    thinking: tuple[tuple[bytes, bytes], ...]
    unenforced: Mapping[str, str]
    margin: int
    again: int
    text_ends: tuple[bytes, ...]
    prototype: Any = field(repr=False)  # llguidance.LLMatcher in its first state
    mid_bans: npt.NDArray[np.int64] = field(repr=False)
    closing_bans: Mapping[bytes, npt.NDArray[np.int64]] = field(default_factory=dict, repr=False)
    _bans: dict[tuple[bytes, int], npt.NDArray[np.int64]] = field(default_factory=dict, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def holds_all(self) -> bool:
        """Whether whatever is written fits: nothing is left to the check."""
        return not self.unenforced

    def matcher(self) -> Any:  # noqa: ANN401 - llguidance.LLMatcher
        """A matcher of its own in the first state; the grammar is not compiled again."""
        with self._guard:
            return self.prototype.deep_copy()

    def bans(self, pattern: bytes, matched: int, *, replayed: bool) -> npt.NDArray[np.int64]:
        """Ids of tokens that complete `pattern`, of which `matched` bytes stand, with a forbidden rest."""
        with self._guard:
            known = self._bans.get((pattern, matched))
            if known is None:
                known = running_on(self.vocabulary, self.prototype, pattern, matched, replayed)
                self._bans[pattern, matched] = known
            return known


def compile_plan(plan: LockPlan, vocabulary: Vocabulary) -> CompiledLock:
    """The compiled lock of a plan; tools that cannot be enforced keep a locked name and open arguments.

    Raises:
        SchemaError: Nothing of the plan can be enforced; the message says why.
    """
    if plan.answer_schema is not None:
        fault = _fault_of_schema(plan.answer_schema, vocabulary)
        if fault:
            raise SchemaError(fault)
        out = LarkWriter(vocabulary.special_id)
        grammar = out.grammar(f"{out.ws()} {out.json(plan.answer_schema)}")
        reason = enforceable(plan.answer_schema).reason
        return _finish(plan, vocabulary, grammar, (), {ANSWER: reason} if reason else {}, ())
    if not plan.tools:
        raise SchemaError("There is no tool to lock.")
    faults = {tool.name: _fault_of_tool(tool, vocabulary) for tool in plan.tools}
    unenforced = {name: fault for name, fault in faults.items() if fault}
    out = LarkWriter(vocabulary.special_id)
    calls: list[str] = []
    triggers: list[str] = []
    for call_format in plan.formats:
        written = [_one_call(out, call_format, tool, unenforced) for tool in plan.tools]
        if any(written):
            calls += [name for name in written if name]
            triggers += call_format.triggers_for(
                [tool for tool, name in zip(plan.tools, written, strict=True) if name]
            )
    if not calls:
        raise SchemaError(
            "No call format of this model can carry these tools: " + "; ".join(unenforced.values())
        )
    left = {tool.name: enforceable(_schema_of(tool)).reason for tool in plan.tools}
    unenforced = {**{name: reason for name, reason in left.items() if reason}, **unenforced}
    any_call = out.rule("anycall", " | ".join(calls))
    start = f"{out.ws()} {any_call} ({out.ws()} {any_call})* {out.ws()}" if plan.always else any_call
    grammar, starts = out.grammar(start), tuple(dict.fromkeys(triggers))
    return _finish(plan, vocabulary, grammar, starts, unenforced, tuple(out.text_ends))


def compile_reason(tool: Tool, vocabulary: Vocabulary) -> str:
    """Why not all of the tool's schema is enforced while decoding, in one sentence; empty when all is."""
    return _fault_of_tool(tool, vocabulary) or enforceable(_schema_of(tool)).reason


def _fault_of_tool(tool: Tool, vocabulary: Vocabulary) -> str:
    return tool.problem or _fault_of_schema(_schema_of(tool), vocabulary)


def _schema_of(tool: Tool) -> dict[str, Any]:
    schema = close_schema(tool.parameters)
    schema.setdefault("type", "object")
    return schema


def _one_call(out: LarkWriter, call_format: CallFormat, tool: Tool, unenforced: dict[str, str]) -> str:
    """The name of the rule for `tool` in `form`: strict, else with open arguments, else empty."""
    try:
        if tool.name not in unenforced:
            return call_format.call(out, tool)
    except SchemaError as error:
        unenforced.setdefault(tool.name, str(error))
    try:
        open_tool = replace(tool, name=tool.name, parameters={"type": "object"}, sha256=tool.sha256 + ":open")
        return call_format.loose_call(out, open_tool)
    except SchemaError as error:
        unenforced.setdefault(tool.name, str(error))
        return ""


def _finish(
    plan: LockPlan,
    vocabulary: Vocabulary,
    grammar: str,
    triggers: tuple[str, ...],
    unenforced: dict[str, str],
    text_ends: tuple[str, ...],
) -> CompiledLock:
    from llguidance import LLMatcher

    fault = _fault(grammar, vocabulary)
    if fault:
        raise SchemaError(fault)
    prototype = LLMatcher(vocabulary.ll_tokenizer, LLMatcher.grammar_from_lark(grammar), log_level=_LOG_LEVEL)
    if prototype.is_error():
        raise SchemaError(_plain_fault(prototype.get_error()))
    starts = tuple(text.encode() for text in triggers)
    thinking = tuple((opening.encode(), closing.encode()) for opening, closing in plan.thinking)
    margin, ends = _margin(plan, vocabulary), tuple(end.encode() for end in text_ends)
    whole = shortest_end(prototype, vocabulary, ends) if plan.always and plan.tools else None
    lock = CompiledLock(
        vocabulary,
        grammar,
        plan.always,
        starts,
        thinking,
        unenforced,
        margin,
        len(whole or ()),
        ends,
        prototype,
        NO_TOKENS,
        completing(vocabulary, [form.closing.encode() for form in plan.formats if form.closing]),
    )
    if not plan.always:
        lock.mid_bans = holding(vocabulary, prototype, starts)
        for trigger, matched in [(text, place) for text in starts for place in range(1, len(text))][:_EAGER]:
            lock.bans(trigger, matched, replayed=True)
    return lock


def _margin(plan: LockPlan, vocabulary: Vocabulary) -> int:
    schemas = [plan.answer_schema or {}, *(tool.parameters for tool in plan.tools)]
    longest = max(map(longest_piece, schemas), key=len)
    texts = (_ESCAPE, longest, *(form.longer for form in plan.formats))
    return max(len(vocabulary.ll_tokenizer.tokenize_str(text)) for text in texts) + _SPARE


def _fault(grammar: str, vocabulary: Vocabulary) -> str:
    from llguidance import LLMatcher

    text = LLMatcher.validate_grammar(LLMatcher.grammar_from_lark(grammar), vocabulary.ll_tokenizer)
    return "" if not text or text.startswith("WARNING") else _plain_fault(text)


def _fault_of_schema(schema: Mapping[str, Any], vocabulary: Vocabulary) -> str:
    """Why no value can be held to `schema`; a large one is tried out, since some limits show only then."""
    from llguidance import LLMatcher

    out = LarkWriter()
    grammar = out.grammar(out.json(schema))
    fault = _fault(grammar, vocabulary)
    if fault or len(grammar) < _LARGE:
        return fault
    matcher = LLMatcher(vocabulary.ll_tokenizer, LLMatcher.grammar_from_lark(grammar), log_level=_LOG_LEVEL)
    if shortest_end(matcher, vocabulary) is not None:
        return ""
    return _plain_fault("a part of it offers more choices than llguidance follows, 2,000 in a row")


def _plain_fault(text: str) -> str:
    first = re.sub(
        r"^at \d+\(\d+\): |failed to compile JSON schema: ", "", " ".join(text.split("<state>")[0].split())
    )
    return f"This schema cannot be enforced while decoding, only checked before a call runs: {first[:240]}"


def _thinking(template: str, always: bool) -> tuple[tuple[str, str], ...]:
    """The thinking blocks to look for: all while text is free, only the template's own where it is not."""
    if not always:
        return THINKING
    return tuple(pair for pair in THINKING if pair[0] in template or pair[1] in template)
