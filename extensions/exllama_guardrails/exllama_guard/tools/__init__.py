"""The tool lock: tools as first seen, calls before they run, what a grammar can promise."""

from __future__ import annotations

from exllama_guard.tools.attempts import Attempt, find_attempts, prose_beside, restore_text, without_thinking
from exllama_guard.tools.calls import (
    MAX_REPAIR_ROUNDS,
    CallError,
    CallVerdict,
    Checker,
    check_call,
    compile_checker,
    tool_checker,
)
from exllama_guard.tools.ledger import AnswerOutcome, CallRecord, ToolLedger, ToolRow, may_see
from exllama_guard.tools.messages import closed_error, refusal_text, repair_message, unsourced_error
from exllama_guard.tools.origins import ArgumentOrigin, CallSources, Origin, origins_of
from exllama_guard.tools.promise import LockMode, Promise, promise_of
from exllama_guard.tools.registry import Tool, ToolLock, ToolLocks, ToolState, ToolStatus, tool_from_openai
from exllama_guard.tools.strict_json import canonical_sha256, json_spans, read_json

__all__ = [
    "AnswerOutcome",
    "ArgumentOrigin",
    "CallSources",
    "Origin",
    "Attempt",
    "CallError",
    "CallRecord",
    "CallVerdict",
    "Checker",
    "LockMode",
    "MAX_REPAIR_ROUNDS",
    "Promise",
    "Tool",
    "ToolLedger",
    "ToolLock",
    "ToolLocks",
    "ToolRow",
    "ToolState",
    "ToolStatus",
    "canonical_sha256",
    "check_call",
    "closed_error",
    "compile_checker",
    "find_attempts",
    "json_spans",
    "may_see",
    "origins_of",
    "promise_of",
    "prose_beside",
    "read_json",
    "refusal_text",
    "repair_message",
    "restore_text",
    "tool_checker",
    "tool_from_openai",
    "unsourced_error",
    "without_thinking",
]
