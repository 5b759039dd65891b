"""One mode of a model, opened by transformers: a folder or GGUF, in a dtype or in weight-only bits."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exllama_guard.backends import model_hash, quantisation, tokenizer_hash
from exllama_guard.core.measures import FloatArray, NotScored
from exllama_guard.errors import BackendError
from exllama_guard.probes.generation import Generation, Sampling
from exllama_guard.probes.modes.inside import Inside, inside_of

if TYPE_CHECKING:
    import torch

__all__ = ["PRECISIONS", "WEIGHT_ONLY", "WEIGHT_ONLY_SPEED", "LocalMode", "ModeSpec", "opening_of"]

_DTYPES = ("float32", "bfloat16", "float16")
WEIGHT_ONLY = {"int8": 8.0, "int4": 4.0}
_BITS = {"float32": 32.0, "bfloat16": 16.0, "float16": 16.0, **WEIGHT_ONLY}
PRECISIONS = tuple(_BITS)
_UNLOADABLE = (OSError, ValueError, RuntimeError, KeyError, ImportError, TypeError, AttributeError)
WEIGHT_ONLY_SPEED = (
    "on a CPU torchao puts rounded weights back to floats for each product: it saves memory there, not time"
)
_GROUP = 32  # weights that share one scale at 4 bits, as GGUF's Q4_0 has


@dataclass(frozen=True, slots=True)
class ModeSpec:
    """A mode as it was asked for: {kind: weights | kv_cache, bits, label} and where the model lies."""

    label: str
    path: Path
    kind: str = "weights"
    precision: str = "float32"  # a dtype, or int8 / int4: weight-only by torchao

    @property
    def bits(self) -> float | None:
        """Bits per weight: of a GGUF those it is stored with, although they are de-quantised to compute."""
        return quantisation(self.path).bits if self.path.is_file() else _BITS[self.precision]


class LocalMode:
    """A loaded mode: writes with a seed, and tells the distributions over forced text. One call at a time."""

    def __init__(self, spec: ModeSpec, *, kernels: bool = False) -> None:
        """Loads the model; with `kernels` weight-only modes keep torchao's own, which are slow on a CPU.

        Raises:
            BackendError: It cannot be loaded; the message says why.
        """
        self.spec, self._kernels = spec, kernels
        hash_ = model_hash(spec.path)
        self._hash = "unknown" if isinstance(hash_, NotScored) else hash_
        self._model, self._tokenizer, self._filled = _load(spec, kernels)

    @property
    def id(self) -> str:
        """Precision and the model's hash."""
        return f"{self.spec.precision}|{self._hash}|transformers"

    @property
    def timed(self) -> bool:
        """Whether its speed is that of the mode; False where the weights were put back to floats."""
        return self._kernels or not (self.spec.path.is_file() or self.spec.precision in WEIGHT_ONLY)

    @property
    def tokenizer_hash(self) -> str | NotScored:
        """Of the tokenizer's files."""
        return tokenizer_hash(self.spec.path)

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def write(self, text: str, sampling: Sampling, seed: int, cancel: threading.Event) -> Generation:
        """The reply in the model's chat template (without one: the text continued)."""
        import torch

        ids = self._prompt(text)
        watch = _Watch(cancel)
        torch.manual_seed(seed)
        started_s = time.perf_counter()
        try:
            with torch.inference_mode():
                out = self._model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=sampling.max_tokens,
                    stopping_criteria=[watch],
                    pad_token_id=self._tokenizer.eos_token_id,
                    **_drawing(sampling),
                )
        except (RuntimeError, ValueError, IndexError) as error:
            raise BackendError(f"{self.spec.label} could not generate: {error}.") from error
        made = out[0, ids.shape[1] :]
        return Generation(
            text=self._tokenizer.decode(made, skip_special_tokens=True),
            tokens=len(made),
            ttft_s=(watch.first_s or started_s) - started_s,
            elapsed_s=time.perf_counter() - started_s,
            stopped=cancel.is_set(),
        )

    def distributions(self, ids: Sequence[int]) -> FloatArray:
        """Shape (n - 1, vocabulary) float32 natural logs of P(next | ids[: i + 1]), without a cache."""
        import torch

        with torch.inference_mode():
            logits = self._model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0, :-1]
            logs: FloatArray = torch.log_softmax(logits.float(), dim=-1).numpy().astype(np.float32)
        return logs

    def logprobs(self, ids: Sequence[int]) -> FloatArray:
        """Shape (n - 1,): natural log of P(id i | ids before), for i = 1 .. n - 1."""
        logs: FloatArray = self.distributions(ids)[range(len(ids) - 1), list(ids[1:])]
        return logs

    def opening_ids(self) -> tuple[int, ...]:
        """What the tokenizer itself puts before a text (BOS), by its own configuration."""
        return opening_of(self._tokenizer)

    def inside(self) -> Inside | None:
        """The model seen from inside; None where its layers are not found."""
        return inside_of(self._model)

    def filled(self) -> tuple[str, ...]:
        """Tensors that the files lack, so that the library filled them with random numbers."""
        return self._filled

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else uses it."""
        return nullcontext()

    def close(self) -> None:
        """Lets the model go, so that the next mode has room."""
        import gc

        self._model = None
        gc.collect()

    def _prompt(self, text: str) -> torch.Tensor:
        import torch

        if getattr(self._tokenizer, "chat_template", None):
            filled = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
            )
            return torch.tensor([self._tokenizer.encode(filled, add_special_tokens=False)])
        return torch.tensor([self._tokenizer.encode(text)])


def opening_of(tokenizer: Any) -> tuple[int, ...]:  # noqa: ANN401 - a tokenizer of transformers
    """The ids that the tokenizer adds before a text."""
    plain = list(tokenizer.encode("a", add_special_tokens=False))
    whole = list(tokenizer.encode("a"))
    at = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
    return tuple(whole[:at])


class _Watch:
    """Notes when the first token came, and stops once `cancel` is set."""

    def __init__(self, cancel: threading.Event) -> None:
        self.first_s: float | None = None
        self._cancel = cancel

    def __call__(self, ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        import torch

        self.first_s = self.first_s or time.perf_counter()
        return torch.full((ids.shape[0],), self._cancel.is_set(), dtype=torch.bool, device=ids.device)


def _tensor() -> type:
    import torch

    return torch.Tensor


def _drawing(sampling: Sampling) -> dict[str, Any]:
    if sampling.deterministic:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
    }


def _load(spec: ModeSpec, kernels: bool) -> tuple[Any, Any, tuple[str, ...]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    quiet: Any = logging.disable_progress_bar
    quiet()
    factory: Any = AutoModelForCausalLM
    dtype = torch.float32 if spec.precision in WEIGHT_ONLY else getattr(torch, spec.precision)
    where: dict[str, Any] = {"local_files_only": True}
    folder = spec.path
    if spec.path.is_file():
        folder, where["gguf_file"] = spec.path.parent, spec.path.name

    def load() -> tuple[Any, Any, tuple[str, ...]]:
        tokenizer = AutoTokenizer.from_pretrained(folder, **where)
        model, told = factory.from_pretrained(folder, dtype=dtype, output_loading_info=True, **where)
        model.eval()
        if spec.precision in WEIGHT_ONLY:
            _quantise(model, spec.precision)
            if not kernels:
                _put_back(model)
        return model, tokenizer, tuple(sorted(told.get("missing_keys", ())))

    # A damaged tokenizer.json makes the tokenizers library raise a bare Exception, which only a future's
    # own record tells from a fault of ours without catching everything.
    with ThreadPoolExecutor(max_workers=1) as pool:
        loading = pool.submit(load)
        error = loading.exception()
    if isinstance(error, _UNLOADABLE) or type(error) is Exception:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise BackendError(f"{spec.label} cannot be loaded: {first[:300]}") from error
    return loading.result()


def _quantise(model: Any, precision: str) -> None:  # noqa: ANN401 - a PreTrainedModel
    """Rounds the linear layers' weights to 8 or 4 bits in place (torchao's weight-only modes).

    Raises:
        ImportError: torchao is not installed.
    """
    import torch

    try:
        from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, quantize_
        from torchao.quantization.granularity import PerGroup
    except ImportError as error:
        raise ImportError("int8 and int4 need torchao; install it with `pip install torchao`") from error
    four_bits: Any = vars(torch)["int4"]  # absent from torch's types
    config = (
        Int8WeightOnlyConfig()
        if precision == "int8"
        else IntxWeightOnlyConfig(weight_dtype=four_bits, granularity=PerGroup(_GROUP))
    )
    quantize_(model, config)


def _put_back(model: Any) -> None:  # noqa: ANN401 - a PreTrainedModel
    """Holds rounded weights as float32: kernels on a CPU do that for each product, which takes far longer."""
    import torch

    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, torch.nn.Linear) and weight is not None and hasattr(weight, "dequantize"):
            rounded = weight.dequantize().to(torch.float32).clone()
            module.weight = torch.nn.Parameter(rounded, requires_grad=False)
