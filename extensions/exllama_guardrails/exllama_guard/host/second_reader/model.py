"""Makes the second reader over the host: its model, its chat template, its lock, its folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from exllama_guard.core.turns import TurnReport
from exllama_guard.errors import BackendError
from exllama_guard.host import webui
from exllama_guard.host.guard import guarded
from exllama_guard.host.lifecycle.hooks import loaded_model
from exllama_guard.host.lifecycle.path import HostPath
from exllama_guard.host.probes.generator import probe_state
from exllama_guard.loaders import backend_for
from exllama_guard.probes import Sampling
from exllama_guard.second_reader import ReaderStore, ReadingModel, RightOfWay, SecondReader

if TYPE_CHECKING:
    from exllama_guard.monitor import Monitor

__all__ = ["load_key", "reading_model", "second_reader_for"]


def second_reader_for(monitor: Monitor) -> SecondReader:
    """A second reader over the host's model; what it measures lies in the host's user data."""

    def check(question: str, document: str, answer: str, cancel: threading.Event) -> TurnReport:
        return monitor.check_pasted(question, [document], answer, stop=cancel)

    return SecondReader(
        lambda: monitor.settings,
        RightOfWay(HostPath()),
        ReaderStore(webui.user_data_dir() / "exllama_guardrails" / "second-readers.json"),
        open_model=reading_model,
        check=check,
        give_back=monitor.give_back,
        spawn=_spawn,
    )


def load_key() -> object:
    """Something that differs from one load of a model to the next; None where none is loaded."""
    loaded = loaded_model()
    if loaded is None:
        return None
    return loaded.name, loaded.loader, loaded.settings, id(loaded.model())


def reading_model() -> ReadingModel | None:
    """The loaded model as one that can be asked, or None where none is loaded; reads its files.

    Raises:
        BackendError: Its loader has no adapter, or gives no log-probabilities.
    """
    loaded, info = loaded_model(), webui.model_info()
    if loaded is None or info is None:
        return None
    backend = backend_for(loaded)
    if not backend.capabilities.next_logprobs:
        raise BackendError(
            f"The loader {loaded.loader} gives no log-probabilities of the next token, so the model "
            "cannot be asked as a second reader; load it with another loader."
        )
    card = backend.card()
    files = card.model_hash if isinstance(card.model_hash, str) else ""
    return ReadingModel(
        name=info.name,
        loader=info.loader,
        model_hash="+".join((files, *card.loras)) if files else "",
        tokens=backend,
        fill=_filled,
    )


def _filled(message: str) -> str:
    """A user's message in the chat template that the host has for the model, without thinking."""
    state = probe_state(Sampling(temperature=0.0, max_tokens=1), seed=0)
    try:
        prompt = import_module("modules.chat").generate_chat_prompt(message, state, history=state["history"])
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise BackendError(
            f"The host could not put a question into the chat template ({type(error).__name__}: "
            f"{str(error)[:120]})."
        ) from error
    return str(prompt)


def _spawn(job: Callable[[], None]) -> None:
    """Runs `job` on a daemon thread; a fault in it is told and logged like a fault in a hook."""

    @guarded(lambda: None)
    def second_reader_job() -> None:
        job()

    threading.Thread(target=second_reader_job, name="guardrails-second-reader", daemon=True).start()
