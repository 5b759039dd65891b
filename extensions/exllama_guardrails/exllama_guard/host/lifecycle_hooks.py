"""Ties the lifecycle to the host: what is loaded, probes through the host's generation, requests that wait.

A probe calls `_generate_reply` itself while it holds the host's generation lock, so that a user's request,
which waits for that lock, cannot come between two probes of a warm-up (4.7.3 and 3.23).
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exllama_guard.backends.loaded import LoadedModel, LoadSettings, reference
from exllama_guard.core.backend import Capabilities, ModelCard
from exllama_guard.core.canary import CanaryStore
from exllama_guard.core.warmup import Run
from exllama_guard.errors import BackendError
from exllama_guard.host import webui
from exllama_guard.host.hooks import guarded
from exllama_guard.host.loaders import capabilities
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.lifecycle.path import Turnstile

if TYPE_CHECKING:
    from exllama_guard.monitor import Monitor

__all__ = ["PROBE", "BadLogitsWatch", "HostPath", "gating", "lifecycle_for", "loaded_model"]

PROBE = "exllama_guardrails_probe"  # a state with this key is our own generation (host/observe.py)

Reply = Callable[..., Generator[str, Any, Any]]


def lifecycle_for(monitor: Monitor) -> Lifecycle:
    """A lifecycle that probes through the host and keeps canaries in the host's user data."""
    return Lifecycle(
        settings=lambda: monitor.settings,
        path=HostPath(),
        tell=monitor,
        spawn=_spawn,
        store=CanaryStore(webui.user_data_dir() / "exllama_guardrails" / "canaries.json"),
        on_card=functools.partial(_tell_card, monitor),
    )


def _tell_card(monitor: Monitor, card: ModelCard, can: Capabilities) -> None:
    """Gives the monitor the hashes, which every later trace then carries, and what the loader allows."""
    info = webui.model_info()
    if info is None or info.name != card.name:
        return
    known = replace(
        info,
        quantisation=info.quantisation or card.quantisation.label,
        cache_type=card.cache_type or info.cache_type,
        context_tokens=card.context_tokens or info.context_tokens,
        model_hash=card.model_hash if isinstance(card.model_hash, str) else None,
        shard_hash=card.shard_hash,
    )
    monitor.model_changed(known, (*capabilities(info.loader), *can.sentences()))


def loaded_model() -> LoadedModel | None:
    """The model that the host has loaded now, by weak reference, or None. Reads attributes only."""
    shared = webui.shared_module()
    model, name = getattr(shared, "model", None), getattr(shared, "model_name", None)
    if model is None or name in (None, "None"):
        return None
    args = getattr(shared, "args", None)
    return LoadedModel(
        name=str(name),
        loader=str(getattr(args, "loader", None) or type(model).__name__),
        model=reference(model),
        tokenizer=_tokenizer,
        path=_path(str(name), model, args),
        settings=LoadSettings(
            cache_type=str(getattr(args, "cache_type", None) or ""),
            split=str(getattr(args, "gpu_split", None) or getattr(args, "tensor_split", None) or ""),
            context_tokens=_positive(getattr(args, "ctx_size", None)),
            tensor_parallel=bool(getattr(args, "enable_tp", False)),
            tensor_backend=str(getattr(args, "tp_backend", None) or ""),
            loras=tuple(getattr(shared, "lora_names", None) or ()),
            parallel=_positive(getattr(args, "parallel", None)) or 1,
            draft_model=str(getattr(args, "model_draft", None) or ""),
        ),
    )


def _tokenizer() -> object | None:
    """The host's tokenizer as it is when it is needed: it is assigned after the model."""
    return getattr(webui.shared_module(), "tokenizer", None)


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _path(name: str, model: object, args: object) -> Path | None:
    """The model's file or folder: what the server was started with, else under the host's model folder."""
    given = getattr(model, "model_path", None) or getattr(model, "name_or_path", None)
    folder = getattr(args, "model_dir", None)
    candidates = [Path(str(given))] if given else []
    if folder:
        candidates.append(Path(str(folder)) / name)
    return next((path for path in candidates if path.exists()), None)


class HostPath:
    """Generates through the host: its lock, its state, its `_generate_reply`."""

    def enter(self, wait_s: float) -> Turnstile | None:
        """The host's generation lock; None when it was not free in time, or the host has none yet."""
        lock = getattr(webui.shared_module(), "generation_lock", None)
        if lock is None:
            time.sleep(min(wait_s, 0.05))
            return None
        return Turnstile(lock) if lock.acquire(timeout=max(0.0, wait_s)) else None

    def run(self, prompt: str, n_tokens: int, cancel: threading.Event) -> Run:
        """A greedy streamed reply, as the host would give it to a user; `tokens` is what was asked for."""
        if getattr(webui.shared_module(), "model", None) is None:
            raise BackendError("no model is loaded any more.")
        replies = webui.text_generation_module()._generate_reply(
            prompt, _greedy_state(n_tokens), None, is_chat=True
        )
        started_s = time.perf_counter()
        first_s, text = None, ""
        try:
            for text in replies:
                if text and first_s is None:
                    first_s = time.perf_counter() - started_s
                if cancel.is_set():
                    break
        finally:
            replies.close()
        elapsed_s = time.perf_counter() - started_s
        if webui.stopped():
            raise BackendError("it was ended by the Stop button.")
        if first_s is None:
            raise BackendError("the model wrote nothing; the host's log says why.")
        return Run(first_s, elapsed_s, n_tokens, text)


def _greedy_state(n_tokens: int) -> dict[str, Any]:
    """A state for `_generate_reply` with the host's own defaults and the likeliest token each time.

    top_k = 1 is greedy with every loader; a temperature of 0 is not understood by all of them.
    """
    shared = webui.shared_module()
    state: dict[str, Any] = dict(getattr(shared, "settings", None) or {})
    if find_spec("modules.presets") is not None:  # the embedded default has none
        state.update(import_module("modules.presets").default_preset())
    state.update(
        {
            PROBE: True,
            "max_new_tokens": n_tokens,
            "auto_max_new_tokens": False,
            "do_sample": False,
            "temperature": 1,
            "top_k": 1,
            "repetition_penalty": 1,
            "seed": 0,
            "stream": True,
            "max_tokens_second": 0,
            "custom_stopping_strings": "",
            "custom_token_bans": "",
            "negative_prompt": "",
            "grammar_string": "",
            "ban_eos_token": False,
            "prompt_lookup_num_tokens": 0,
        }
    )
    return state


def gating(lifecycle: Lifecycle) -> Callable[[Reply], Reply]:
    """A wrapper for `_generate_reply`: a request waits until the model is warm, and is counted afterwards."""

    def wrap(original: Reply) -> Reply:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def gated(*args: Any, **kwargs: Any) -> Generator[str, Any, Any]:  # noqa: ANN401 - the host's
            prompt, state = _given(signature, args, kwargs)
            if not isinstance(prompt, str) or not isinstance(state, dict) or not _concerns_us(state):
                return (yield from original(*args, **kwargs))
            _wait(lifecycle)
            started_s = time.perf_counter()
            first_s: float | None = None
            text = ""
            replies = original(*args, **kwargs)
            try:
                for text in replies:
                    if first_s is None and isinstance(text, str) and text:
                        first_s = time.perf_counter() - started_s
                    yield text
            finally:
                replies.close()
                _ended(lifecycle, prompt, text, first_s)

        return gated

    return wrap


def _given(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[object, object]:
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return None, None  # the original raises it
    return given.get("question"), given.get("state")


@guarded(lambda state: False)
def _concerns_us(state: dict[str, Any]) -> bool:
    """Whether this is a reply to somebody, while the extension is ticked."""
    return PROBE not in state and webui.is_switched_on()


@guarded(lambda lifecycle: None)
def _wait(lifecycle: Lifecycle) -> None:
    lifecycle.before_reply(loaded_model())


@guarded(lambda lifecycle, prompt, text, first_s: None)
def _ended(lifecycle: Lifecycle, prompt: str, text: str, first_s: float | None) -> None:
    if isinstance(text, str):
        lifecycle.reply_ended(prompt, text, first_s)


class BadLogitsWatch:
    """A logits processor for the host's list: changes nothing, tells the lifecycle of NaN or +Inf."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        """Tells `lifecycle` once."""
        self._lifecycle: Lifecycle | None = lifecycle

    def __call__(self, input_ids: object, scores: Any) -> Any:  # noqa: ANN401 - tensors
        """The same scores; -Inf is how a token is ruled out, so only NaN and +Inf are told of."""
        self._look(scores)
        return scores

    @guarded(lambda self, scores: None)
    def _look(self, scores: Any) -> None:  # noqa: ANN401 - a tensor
        if self._lifecycle is None:
            return
        top = float(scores.max())
        if top != top or top == float("inf"):
            lifecycle, self._lifecycle = self._lifecycle, None
            lifecycle.saw_bad_logits()


def _spawn(job: Callable[[], None]) -> None:
    """Runs `job` on a daemon thread; a fault in it is told and logged like a fault in a hook."""

    @guarded(lambda: None)
    def lifecycle_job() -> None:
        job()

    threading.Thread(target=lifecycle_job, name="guardrails-lifecycle", daemon=True).start()
