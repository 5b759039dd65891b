"""Every loader that is known, one line each, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exllama_guard.backends import LoadedModel
from exllama_guard.core.backend import Backend
from exllama_guard.errors import BackendError
from exllama_guard.loaders.exllamav2 import EXLLAMAV2, EXLLAMAV2_HF
from exllama_guard.loaders.exllamav3 import EXLLAMAV3, EXLLAMAV3_HF
from exllama_guard.loaders.llama_cpp import LLAMA_CPP
from exllama_guard.loaders.loader import MEASURED, Loader, LockPlace
from exllama_guard.loaders.tensorrt import TENSORRT
from exllama_guard.loaders.transformers import TRANSFORMERS, read_vocabulary
from exllama_guard.tools import LockMode, Promise, promise_of
from exllama_guard.tools.locks import Vocabulary

__all__ = ["LOADERS", "backend_for", "capabilities", "loader_of", "promise_on", "vocabulary_reader"]

# Read in the host's sources and tried where docs/verified.md says so (WebUI 4.7.3 and 3.23).
LOADERS: tuple[Loader, ...] = (
    TRANSFORMERS,
    EXLLAMAV3_HF,
    EXLLAMAV2_HF,
    EXLLAMAV3,
    EXLLAMAV2,
    LLAMA_CPP,
    TENSORRT,
)


def loader_of(model: object, name: str = "") -> Loader | None:
    """The loader of the host's model, by the model's class, else by the loader's name; None: not known."""
    kind = type(model).__name__
    by_class = (loader for loader in LOADERS if loader.host_class and loader.host_class == kind)
    return next(by_class, None) or next((loader for loader in LOADERS if loader.name == name), None)


def backend_for(loaded: LoadedModel) -> Backend:
    """The adapter for a loaded model.

    Raises:
        BackendError: No adapter knows this loader; the chat goes on without warm-up and rotation.
    """
    loader = loader_of(loaded.model(), loaded.loader)
    if loader is None or loader.adapter is None:
        known = ", ".join(one.name for one in LOADERS if one.adapter is not None)
        raise BackendError(
            f"No adapter knows the loader {loaded.loader}: warm-up and rotation are off for it, the chat is "
            f"not affected. They work with {known}."
        )
    return loader.adapter(loaded)


def vocabulary_reader(model: Any, tokenizer: Any) -> Callable[[], Vocabulary] | None:  # noqa: ANN401 - the host's
    """What reads the loaded model's vocabulary, or None where the loader keeps it in another process."""
    loader = loader_of(model)
    return (loader.vocabulary if loader is not None else read_vocabulary)(model, tokenizer)


def capabilities(name: str | None) -> tuple[str, ...]:
    """Plain sentences on what works with the loader; one that says so for a loader that is not known."""
    if not name:
        return ("No model is loaded; pasted answers can still be checked.",)
    loader = next((one for one in LOADERS if one.name == name), None)
    return loader.sentences if loader else (MEASURED, f"Nothing else is known about the loader {name}.")


def promise_on(name: str, mode: LockMode, unenforced_reason: str = "") -> Promise:
    """The promise for one tool with the loader; `unenforced_reason` is why its schema cannot be enforced."""
    takes_locks = any(one.name == name and one.lock is not LockPlace.NOWHERE for one in LOADERS)
    reason = unenforced_reason
    if not takes_locks and not reason:
        reason = f"The loader {name or '(none)'} has no way to constrain what is written."
    return promise_of(mode, reason)
