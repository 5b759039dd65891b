"""Puts a compiled lock where the loaded model's loader takes one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from exllama_guard.host.patches import Patches
from exllama_guard.host.tool_turn import ToolTurn
from exllama_guard.locks.compiled import CompiledLock
from exllama_guard.locks.vocabulary import Vocabulary

__all__ = ["Constrainer", "model_key", "vocabulary_loader"]


def model_key(shared: ModuleType) -> str:
    """Key of the loaded model: another one after every load."""
    return f"{getattr(shared, 'model_name', '')}:{id(getattr(shared, 'model', None))}"


def vocabulary_loader(shared: ModuleType) -> Callable[[], Vocabulary] | None:
    """What reads the loaded model's vocabulary, or None where the loader keeps it in another process."""
    from exllama_guard.locks import vocabulary as words

    model: Any = getattr(shared, "model", None)
    tokenizer: Any = getattr(shared, "tokenizer", None)
    kind = type(model).__name__
    if kind == "Exllamav3Model":
        return lambda: words.from_exllamav3(model.tokenizer)
    if kind == "Exllamav2Model":
        folder = Path(model.tokenizer.config.model_dir)
        return lambda: words.from_tokenizer_file(
            folder / "tokenizer.json", [int(model.tokenizer.eos_token_id)]
        )
    if tokenizer is not None and hasattr(tokenizer, "backend_tokenizer"):
        listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        ends = listed if isinstance(listed, Sequence) else ([] if listed is None else [listed])
        return lambda: words.from_hf_tokenizer(tokenizer, ends)
    return None


class Constrainer:
    """Patches the loaders' classes once, as they are met. `current` gives the turn of the running reply."""

    def __init__(self, current: Callable[[], ToolTurn | None], patches: Patches) -> None:
        self._current = current
        self._patches = patches

    def meet(self, model: object) -> None:
        """Prepares the loader of `model`; does nothing where that is done, or is not needed."""
        kind: Any = type(model)
        module = sys.modules.get(kind.__module__)
        if module is None:
            return
        if kind.__name__ == "LlamaServer":
            self._patches.replace(kind, "prepare_payload", self._payload)
        elif kind.__name__ == "Exllamav3Model":
            self._patches.replace(module, "Job", self._job)
        elif kind.__name__ == "Exllamav2Model":
            generator: Any = getattr(model, "generator", None)
            if generator is not None:
                owner: Any = type(generator)
                self._patches.replace(owner, "begin_stream_ex", self._begin)

    def _lock(self) -> tuple[ToolTurn, CompiledLock] | None:
        turn = self._current()
        if turn is None or turn.outcome is None or turn.outcome.lock is None:
            return None
        return turn, turn.outcome.lock

    def _payload(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def prepare_payload(server: Any, state: Any) -> Any:  # noqa: ANN401 - the host's signature
            from exllama_guard.locks.llamacpp_request import call_schema, locked_payload

            payload = original(server, state)
            turn = self._current()
            plan = turn.plan if turn is not None else None
            if turn is None or plan is None or not plan.always:
                return payload
            turn.enforced = True
            return locked_payload(payload, plan.answer_schema or call_schema(plan.tools))

        return prepare_payload

    def _job(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def job(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the library's signature
            held = self._lock()
            if held is not None:
                from exllama_guard.host.webui import shared_module
                from exllama_guard.locks.exllamav3_filter import build_filter

                turn, lock = held
                tokenizer = shared_module().model.tokenizer
                ids = kwargs.get("input_ids", args[0] if args else None)
                end = b"" if ids is None else _bytes_of(lock, ids[0, -256:].tolist())
                turn.processor = build_filter(lock, tokenizer, end)
                turn.enforced = True
                kwargs["filters"] = [*(kwargs.get("filters") or []), turn.processor]
            return original(*args, **kwargs)

        return job

    def _begin(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def begin_stream_ex(generator: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the library's
            held = self._lock()
            if held is not None:
                from exllama_guard.locks.exllamav2_filter import build_filter

                turn, lock = held
                turn.processor = build_filter(lock, generator)
                turn.enforced = True
                kwargs["filters"] = [*(kwargs.get("filters") or []), turn.processor]
            return original(generator, *args, **kwargs)

        return begin_stream_ex


def _bytes_of(lock: CompiledLock, ids: Sequence[int]) -> bytes:
    tokens = lock.vocabulary.tokens
    return b"".join(tokens[token] for token in ids if 0 <= token < len(tokens))
