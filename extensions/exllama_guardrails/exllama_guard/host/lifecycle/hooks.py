"""Ties the lifecycle to the host: what is loaded, and requests that wait until it is warm."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exllama_guard.backends import LoadedModel, LoadSettings, reference
from exllama_guard.core.backend import Capabilities, ModelCard
from exllama_guard.host import webui
from exllama_guard.host.guard import guarded
from exllama_guard.host.lifecycle.model_watch import stop_presses
from exllama_guard.host.lifecycle.path import HostPath
from exllama_guard.host.turn.generation_lock import take_wait
from exllama_guard.host.turn.observe import PROBE
from exllama_guard.lifecycle import CanaryStore, Lifecycle
from exllama_guard.loaders import capabilities

if TYPE_CHECKING:
    from exllama_guard.monitor import Monitor
    from exllama_guard.second_reader import SecondReader

__all__ = ["BadLogitsWatch", "HostPath", "gating", "lifecycle_for", "loaded_model"]

Reply = Callable[..., Generator[str, Any, Any]]


def lifecycle_for(monitor: Monitor) -> Lifecycle:
    """A lifecycle that probes through the host and keeps canaries in the host's user data."""
    return Lifecycle(
        settings=lambda: monitor.settings,
        path=HostPath(),
        notices=monitor,
        spawn=_spawn,
        store=CanaryStore(webui.user_data_dir() / "exllama_guardrails" / "canaries.json"),
        on_card=functools.partial(_report_card, monitor),
    )


def _report_card(monitor: Monitor, card: ModelCard, can: Capabilities) -> None:
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
        devices=card.shards.in_words(),
    )
    monitor.model_changed(known, (*capabilities(info.loader), *can.sentences()))
    monitor.record_event("model", f"{card.name}: {_hashes(monitor, card)}.")


def _hashes(monitor: Monitor, card: ModelCard) -> str:
    """What the model and the index are known by, the first 12 digits of each."""
    named = {"model": card.model_hash, "tokenizer": card.tokenizer_hash, "shards": card.shard_hash}
    knowledge = monitor.knowledge
    if knowledge is not None:
        named["knowledge index"] = knowledge.index_hash or "not ready"
    return ", ".join(
        f"{name} {value[:12] if isinstance(value, str) else value}" for name, value in named.items()
    )


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
        options=functools.partial(_options, args),
    )


# Part of the card, of the shard hash or of the context, and told of by those names.
_ON_THE_CARD = frozenset(("cache_type", "gpu_split", "tensor_split", "ctx_size", "enable_tp", "tp_backend"))


def _options(args: object) -> dict[str, str]:
    """What the host was told for this loader besides what the card has, and the active extensions, by name.

    `modules.loaders.loaders_and_params` lists each loader's own settings (4.7.3 and 3.23).
    """
    params = getattr(sys.modules.get("modules.loaders"), "loaders_and_params", None) or {}
    names = params.get(getattr(args, "loader", None), ())
    known = {
        name: str(getattr(args, name)) for name in names if name not in _ON_THE_CARD and hasattr(args, name)
    }
    extensions = getattr(sys.modules.get("modules.extensions"), "state", None) or {}
    active = sorted(str(name) for name, entry in tuple(extensions.items()) if entry[0])
    return {**known, "extensions": ", ".join(active)}


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


def gating(
    lifecycle: Lifecycle, second: Callable[[], SecondReader | None] = lambda: None
) -> Callable[[Reply], Reply]:
    """A wrapper for `_generate_reply`: a request waits until the model is warm, and is counted afterwards.

    `second` reads nothing while a reply is written; a prompt that it is reading ends before the reply begins.
    """

    def wrap(original: Reply) -> Reply:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def gated(*args: Any, **kwargs: Any) -> Generator[str, Any, Any]:  # noqa: ANN401 - the host's
            prompt, state = _given(signature, args, kwargs)
            if not isinstance(prompt, str) or not isinstance(state, dict) or not _concerns_us(state):
                return (yield from original(*args, **kwargs))
            if _wait(lifecycle, state):
                yield ""  # what the host gives where nothing was written
                return
            reader = second()
            _starts(reader)
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
                _ends(reader)
                _ended(lifecycle, prompt, text, first_s)

        return gated

    return wrap


@guarded(lambda signature, args, kwargs: (None, None))
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


class _Patience:
    """Whether the person behind a request still waits for it: no Stop since it came, and no client gone."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """A request with this state comes now; it may have waited for the host's lock before."""
        wait = take_wait()
        self.since_s = None if wait is None else wait.since_s
        self._stopped = wait is not None and wait.stopped
        self._presses = stop_presses()
        self._left = state.get("stop_event")  # the API sets it when the client is gone

    def over(self) -> bool:
        """True once the request is to be dropped."""
        left = getattr(self._left, "is_set", None)
        return self._stopped or stop_presses() != self._presses or bool(left is not None and left())


@guarded(lambda lifecycle, state: False)
def _wait(lifecycle: Lifecycle, state: Mapping[str, Any]) -> bool:
    """Waits until the model is warm; True where nobody waits for the reply any more."""
    patience = _Patience(state)
    lifecycle.before_reply(loaded_model(), patience.over, patience.since_s)
    return patience.over()


@guarded(lambda second: None)
def _starts(second: SecondReader | None) -> None:
    if second is not None:
        second.way.reply_starts()


@guarded(lambda second: None)
def _ends(second: SecondReader | None) -> None:
    if second is not None:
        second.way.reply_ended()


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
