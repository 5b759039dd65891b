"""The model that the host has loaded, as one that reads given tokens; nobody's reply runs meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from exllama_guard.backends import LoadedModel, read_json, start_ids
from exllama_guard.core.backend import Backend, not_possible
from exllama_guard.core.measures import FloatArray, NotScored
from exllama_guard.errors import BackendError
from exllama_guard.probes.modes.inside import Inside, inside_of
from exllama_guard.probes.modes.transformers import opening_of

__all__ = ["LoadedReading"]


class LoadedReading:
    """Reads through the loader's adapter; whole distributions only where the model is one of torch's own."""

    def __init__(
        self,
        loaded: LoadedModel,
        backend: Backend,
        enter: Callable[[threading.Event], AbstractContextManager[bool]],
        cancel: threading.Event,
    ) -> None:
        """`enter` waits for the right of way, users first; False inside means it was cancelled."""
        self._loaded, self._backend, self._enter, self._cancel = loaded, backend, enter, cancel

    @property
    def loader(self) -> str:
        """The loader's name in the host."""
        return self._loaded.loader

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added.

        Raises:
            IndexError: One is beyond the model's vocabulary; on a GPU reading it would end CUDA.
        """
        ids = self._backend.token_ids(text)
        size = self._vocabulary()
        if size is not None and max(ids, default=0) >= size:
            raise IndexError(f"id {max(ids)} is beyond the vocabulary of {size}")
        return ids

    def logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """As the adapter reads them."""
        return self._backend.prompt_logprobs(ids)

    def distributions(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """From one forward pass, where the model is a torch module that takes ids."""
        import torch

        model = self._module()
        if model is None:
            return not_possible(self._loaded.loader, "whole distributions of a prompt")
        with torch.inference_mode():
            tensor = torch.tensor([list(ids)], device=model.device)
            logits = model(input_ids=tensor, use_cache=False).logits[0, :-1]
            logs: FloatArray = torch.log_softmax(logits.float(), dim=-1).cpu().numpy().astype(np.float32)
        return logs

    def opening_ids(self) -> tuple[int, ...]:
        """What the tokenizer itself puts before a text (BOS); of another library's, what the files say."""
        tokenizer = self._loaded.tokenizer()
        if type(tokenizer).__module__.startswith("transformers."):
            return opening_of(tokenizer)
        return start_ids(self._loaded.path)

    def inside(self) -> Inside | None:
        """The model seen from inside, where transformers made it."""
        model = self._module()
        return None if model is None else inside_of(model)

    def filled(self) -> tuple[str, ...]:
        """Not known of a model that the host has loaded."""
        return ()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The right of way.

        Raises:
            BackendError: It was stopped while somebody's reply ran.
        """
        with self._enter(self._cancel) as entered:
            if not entered:
                raise BackendError("it was stopped while a reply was being written.")
            yield

    def _vocabulary(self) -> int | None:
        """Rows of the model's embedding, else what its config.json says, else None."""
        model = self._module()
        if model is not None:
            return int(model.get_input_embeddings().weight.shape[0])
        folder = self._loaded.path
        size = read_json(folder / "config.json").get("vocab_size") if folder and folder.is_dir() else None
        return size if isinstance(size, int) else None

    def _module(self) -> Any:  # noqa: ANN401 - a PreTrainedModel
        """The model where transformers made it; a loader's own class has caches of its own."""
        model = self._loaded.alive()
        return model if type(model).__module__.startswith(("transformers.", "peft.")) else None
