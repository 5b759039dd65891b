"""Locks on what a model may write while it decodes: llguidance behind one adapter a loader."""

from __future__ import annotations

from exllama_guard.tools.locks.cache import LockCache, Outcome
from exllama_guard.tools.locks.compiled import CompiledLock, LockPlan, compile_reason, plan_answer, plan_calls
from exllama_guard.tools.locks.exllamav2_filter import filter_for_exllamav2
from exllama_guard.tools.locks.exllamav3_filter import filter_for_exllamav3
from exllama_guard.tools.locks.llamacpp_grammar import Ask, ServerLock, lock_for_server, server_reason
from exllama_guard.tools.locks.transformers_processor import LockProcessor
from exllama_guard.tools.locks.vocabulary import (
    Vocabulary,
    byte_vocabulary,
    vocabulary_from_exllamav3,
    vocabulary_from_file,
    vocabulary_from_transformers,
)

__all__ = [
    "Ask",
    "CompiledLock",
    "LockCache",
    "LockPlan",
    "LockProcessor",
    "Outcome",
    "ServerLock",
    "Vocabulary",
    "byte_vocabulary",
    "compile_reason",
    "filter_for_exllamav2",
    "filter_for_exllamav3",
    "lock_for_server",
    "plan_answer",
    "plan_calls",
    "server_reason",
    "vocabulary_from_exllamav3",
    "vocabulary_from_file",
    "vocabulary_from_transformers",
]
