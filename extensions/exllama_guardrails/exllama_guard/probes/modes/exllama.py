"""One mode of a model, opened by ExLlamaV2 or ExLlamaV3: an EXL2 or EXL3 folder with a type of KV cache."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from exllama_guard.backends import forced_logprobs, model_hash, quantisation, start_ids, tokenizer_hash
from exllama_guard.core.backend import Quantisation
from exllama_guard.core.measures import FloatArray, NotScored, Reason
from exllama_guard.errors import BackendError, UserError
from exllama_guard.probes.generation import Generation, Sampling
from exllama_guard.probes.modes.exllama_open import (
    CACHE_TYPES,
    LIBRARIES,
    ExLlamaSpec,
    OpenedModel,
    open_exllama,
)
from exllama_guard.probes.modes.exllama_write import (
    forward_v2,
    forward_v3,
    stream_v2,
    stream_v3,
)

if TYPE_CHECKING:
    import torch

    from exllama_guard.tools.locks import CompiledLock

__all__ = ["ExLlamaMode", "bits_of", "kind_of", "read_exllama_precision"]

_FAILED = (RuntimeError, ValueError, IndexError, AssertionError)


def read_exllama_precision(label: str, path: str, precision: str) -> ExLlamaSpec | None:
    """The mode of a PRECISION `exllamav2[:CACHE]` or `exllamav3[:CACHE]`; None where it is another's.

    Raises:
        UserError: The cache type is unknown or the folder is not there.
    """
    from pathlib import Path

    library, _, cache_type = precision.partition(":")
    if library not in LIBRARIES:
        return None
    cache_type = cache_type or "fp16"
    if cache_type not in CACHE_TYPES[library]:
        known = ", ".join(CACHE_TYPES[library])
        raise UserError(f"{library} has no cache type {cache_type!r}; choose one of {known}.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"There is no folder {path}; name an EXL2, EXL3 or Hugging Face folder.")
    return ExLlamaSpec(label or f"{folder.name} {cache_type}", folder, library, cache_type)


def bits_of(spec: ExLlamaSpec) -> float | None:
    """Mean bits per weight that the folder's configuration tells; None where it tells none."""
    return weights_of(spec).bits


def weights_of(spec: ExLlamaSpec) -> Quantisation:
    """How the folder's weights are stored."""
    return quantisation(spec.path)


def kind_of(spec: ExLlamaSpec) -> str:
    """`kv_cache` where only the cache is quantised, else `weights`."""
    return "kv_cache" if spec.cache_type != "fp16" and bits_of(spec) in (None, 16.0, 32.0) else "weights"


class ExLlamaMode:
    """A loaded mode: writes with a seed, tells distributions over forced text. One call at a time."""

    timed = True  # the library's own kernels

    def __init__(self, spec: ExLlamaSpec) -> None:
        """Loads the model.

        Raises:
            UserError: The library or the cache type is unknown.
            BackendError: It cannot be loaded; the message says why.
        """
        self.spec = spec
        hash_ = model_hash(spec.path)
        self._hash = "unknown" if isinstance(hash_, NotScored) else hash_
        self._template = _chat_template(spec)
        self._held: OpenedModel | None = open_exllama(spec)

    @property
    def id(self) -> str:
        """Cache type, the model's hash, library and attention: runs of another id are other runs."""
        spec = self.spec
        return f"{spec.cache_type}|{self._hash}|{spec.library}{'|sdpa' if spec.sdpa else ''}"

    @property
    def loader(self) -> str:
        """The loader's name in the WebUI."""
        return self.spec.loader

    @property
    def held(self) -> OpenedModel:
        """The loaded objects.

        Raises:
            BackendError: The mode was closed.
        """
        if self._held is None:
            raise BackendError(f"{self.spec.label} was closed; open it again.")
        return self._held

    @property
    def tokenizer_hash(self) -> str | NotScored:
        """Of the tokenizer's files."""
        return tokenizer_hash(self.spec.path)

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added."""
        ids = self.held.tokenizer.encode(text, add_bos=False, encode_special_tokens=True)
        return tuple(ids[0].tolist())

    def write(self, text: str, sampling: Sampling, seed: int, cancel: threading.Event) -> Generation:
        """The reply in the folder's chat template (without one: the text continued)."""
        prompt = self._template(text)
        started_s = time.perf_counter()
        first_s, parts, tokens = 0.0, list[str](), 0
        try:
            for chunk, count in self.stream(prompt, sampling, seed):
                first_s = first_s or time.perf_counter() - started_s
                parts.append(chunk)
                tokens += count
                if cancel.is_set():
                    break
        except _FAILED as error:
            raise BackendError(f"{self.spec.label} could not generate: {error}.") from error
        return Generation("".join(parts), tokens, first_s, time.perf_counter() - started_s, cancel.is_set())

    def stream(
        self, prompt: str, sampling: Sampling, seed: int, lock: CompiledLock | None = None
    ) -> Iterator[tuple[str, int]]:
        """(new text, its tokens) of a reply to `prompt` as it stands, the way the WebUI's loader streams it.

        What the cache holds of the prompt's beginning is not read again. `lock` constrains the reply.
        """
        steps = stream_v2 if self.spec.library == "exllamav2" else stream_v3
        return steps(self.held, prompt, sampling, seed, lock)

    def distributions(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Shape (n - 1, vocabulary) float32 natural logs of P(next | ids[: i + 1]), through the cache.

        The first half is read at once, as a prompt is, and the rest token by token, as a reply is written:
        the one shows a fault of attention, the other what a quantised cache costs. The cache is left empty.
        """
        import torch

        held = self.held
        if not 2 <= len(ids) <= held.max_tokens:
            return NotScored(
                Reason.NOT_ENOUGH_DATA, f"{len(ids)} tokens; 2 to {held.max_tokens} can be compared"
            )
        half = max(1, len(ids) // 2)
        spans = [(0, half), *((at, at + 1) for at in range(half, len(ids) - 1))]
        rows: list[torch.Tensor] = []
        try:
            with torch.inference_mode():
                for start, end in spans:
                    logits = self._forward(torch.tensor([list(ids[start:end])]), start)
                    rows.append(torch.log_softmax(logits[0].float(), dim=-1).cpu())
        except _FAILED as error:
            raise BackendError(f"{self.spec.label} could not read the text: {error}.") from error
        finally:
            self._forget()
        logs: FloatArray = torch.cat(rows).numpy().astype(np.float32)
        return logs

    def logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Shape (n - 1,): natural log of P(id i | ids before), all read in one pass, as a prompt is."""
        import torch

        if not 2 <= len(ids) <= self.held.max_tokens:
            return NotScored(
                Reason.NOT_ENOUGH_DATA, f"{len(ids)} tokens; 2 to {self.held.max_tokens} can be read"
            )
        try:
            with torch.inference_mode():
                values = forced_logprobs(self._forward(torch.tensor([list(ids)]), 0), ids)
        except _FAILED as error:
            raise BackendError(f"{self.spec.label} could not read the text: {error}.") from error
        finally:
            self._forget()
        return values

    def opening_ids(self) -> tuple[int, ...]:
        """What its files say stands before a text (BOS)."""
        return start_ids(self.spec.path)

    def inside(self) -> None:
        """Not reachable: its layers are the library's own."""

    def filled(self) -> tuple[str, ...]:
        """Not told by this library."""
        return ()

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else uses it."""
        return nullcontext()

    def close(self) -> None:
        """Lets the model go, so that the next mode has room."""
        import torch

        held, self._held = self._held, None
        if held is not None:
            held.close()
            torch.cuda.empty_cache()

    def _forward(self, ids: torch.Tensor, past: int) -> torch.Tensor:
        """Logits (1, n, vocabulary) of `ids` behind the first `past` tokens of the cache."""
        return (forward_v2 if self.spec.library == "exllamav2" else forward_v3)(self.held, ids, past)

    def _forget(self) -> None:
        """Makes the generator forget what the forced text has overwritten."""
        held = self.held
        if self.spec.library == "exllamav2":
            held.cache.current_seq_len = 0
            held.generator.sequence_ids = None
        else:
            held.generator.pagetable.reset_page_table()


def _chat_template(spec: ExLlamaSpec) -> Callable[[str], str]:
    """Fills the folder's chat template with one user message; without one the text itself.

    Raises:
        BackendError: The tokenizer's files are missing or unreadable.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(spec.path, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise BackendError(f"{spec.label} has no usable tokenizer: {first[:300]}") from error
    if not getattr(tokenizer, "chat_template", None):
        return lambda text: text

    def fill(text: str) -> str:
        return str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
            )
        )

    return fill
