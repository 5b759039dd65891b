"""A model of torch's seen from inside: its layers, RoPE bases and window, each changed for one reading."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from exllama_guard.core.measures import FloatArray

if TYPE_CHECKING:
    import torch

__all__ = ["Inside", "LayerTrace", "inside_of"]


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """What flowed into each layer and out of the last: shape (layers + 1,) each.

    `norms`: mean length of a token's state; `turns`: cosine of a layer's output to its input, mean over
    tokens (the first entry is 1); `bad`: share of values that are not finite.
    """

    norms: FloatArray
    turns: FloatArray
    bad: FloatArray


def inside_of(model: Any) -> Inside | None:  # noqa: ANN401 - a torch module
    """The inside of a decoder with one stack of layers; None where no such stack is found."""
    import torch

    config = model.config.get_text_config()
    number = getattr(config, "num_hidden_layers", None)
    stacks = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == number]
    return Inside(model, config, stacks[0]) if number and stacks else None


class Inside:
    """Every change is undone when its context ends. One reading at a time."""

    def __init__(self, model: Any, config: Any, layers: Any) -> None:  # noqa: ANN401
        """`layers`: the stack of decoder layers."""
        self._model, self._config, self._layers = model, config, layers

    @property
    def n_layers(self) -> int:
        """Layers of the stack."""
        return len(self._layers)

    def embeddings(self, ids: Sequence[int]) -> FloatArray:
        """Rows of the embedding as float32, shape (ids, width)."""
        rows = self._model.get_input_embeddings().weight.detach()[list(ids)]
        found: FloatArray = rows.float().cpu().numpy()
        return found

    # --- positions ---

    def bases(self) -> dict[str, float]:
        """RoPE base of each kind of layer (``: of all), where its frequencies are plain powers of it."""
        found = {}
        for module, name in self._frequencies():
            base = _base(getattr(module, name))
            if base is not None:
                found[name.removesuffix("inv_freq").removesuffix("_").removesuffix("_attention")] = base
        return found

    @contextlib.contextmanager
    def with_base(self, kind: str, base: float) -> Iterator[None]:
        """The layers of a kind read with another base."""
        import torch

        wanted = f"{kind}_attention_inv_freq" if kind else "inv_freq"
        held = [
            (module, name, getattr(module, name)) for module, name in self._frequencies() if name == wanted
        ]
        for module, name, before in held:
            powers = torch.arange(len(before), dtype=torch.float64) / len(before)
            setattr(module, name, (1.0 / base**powers).to(before.device, before.dtype))
        try:
            yield
        finally:
            for module, name, before in held:
                setattr(module, name, before)

    def _frequencies(self) -> list[tuple[Any, str]]:
        """Rotary modules and the names of their frequencies; only plain ones, as others are computed anew."""
        found = []
        for module in self._model.modules():
            kinds = getattr(module, "rope_type", "default")
            for name, _ in module.named_buffers(recurse=False):
                if not name.endswith("inv_freq") or "original" in name:
                    continue
                kind = kinds.get(name.removesuffix("_inv_freq")) if isinstance(kinds, Mapping) else kinds
                if kind == "default":
                    found.append((module, name))
        return found

    def window(self) -> int | None:
        """Tokens that sliding layers look back on; None where no layer slides."""
        kinds = getattr(self._config, "layer_types", None) or ()
        value = getattr(self._config, "sliding_window", None)
        return int(value) if "sliding_attention" in kinds and value else None

    @contextlib.contextmanager
    def with_window(self, tokens: int) -> Iterator[None]:
        """Sliding layers look back on so many tokens."""
        before = self._config.sliding_window
        self._config.sliding_window = tokens
        try:
            yield
        finally:
            self._config.sliding_window = before

    # --- layers ---

    def trace(self, read: Callable[[], object]) -> tuple[LayerTrace, list[torch.Tensor]]:
        """What flows through the layers while `read` runs, and the inputs of the layers."""
        inputs: list[Any] = []
        ends: list[Any] = []

        def before(module: Any, given: Any, named: Any) -> None:  # noqa: ANN401
            inputs.append((given[0] if given else named["hidden_states"]).detach())

        def after(module: Any, given: Any, out: Any) -> None:  # noqa: ANN401
            ends.append((out[0] if isinstance(out, tuple) else out).detach())

        hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in self._layers]
        hooks.append(self._layers[-1].register_forward_hook(after))
        try:
            read()
        finally:
            for hook in hooks:
                hook.remove()
        return _trace([*inputs, *ends]), inputs

    @contextlib.contextmanager
    def without(self, layer: int, inputs: Sequence[torch.Tensor]) -> Iterator[None]:
        """The layer hands on what it was given; `inputs` of `trace` on the same text spare those before."""
        with contextlib.ExitStack() as undo:
            for place in range(layer):
                undo.enter_context(_forward(self._layers[place], _given))
            held = inputs[layer]
            undo.enter_context(_forward(self._layers[layer], lambda *given, **named: held))
            yield

    @contextlib.contextmanager
    def ordered(self, order: Sequence[int]) -> Iterator[None]:
        """At each place the layer that `order` names."""
        forwards = [layer.forward for layer in self._layers]
        with contextlib.ExitStack() as undo:
            for place, other in enumerate(order):
                if place != other:
                    undo.enter_context(_forward(self._layers[place], forwards[other]))
            yield

    @contextlib.contextmanager
    def rows_ordered(self, interleaved: bool) -> Iterator[None]:
        """The rows of q and k in the other order of rotary pairs: halves to pairs, or pairs to halves."""
        import torch

        held = []
        size = getattr(self._config, "head_dim", None) or (
            self._config.hidden_size // self._config.num_attention_heads
        )
        for layer in self._layers:
            attention = getattr(layer, "self_attn", None)
            for name in ("q_proj", "k_proj"):
                weight = getattr(getattr(attention, name, None), "weight", None)
                if weight is None or weight.ndim != 2 or weight.shape[0] % size:
                    continue
                shape = (size // 2, 2) if interleaved else (2, size // 2)
                turned = weight.data.reshape(-1, *shape, weight.shape[1]).transpose(1, 2)
                held.append((weight, weight.data))
                with torch.no_grad():
                    weight.data = turned.reshape(weight.shape).contiguous()
        try:
            yield
        finally:
            for weight, before in held:
                weight.data = before


def _base(frequencies: torch.Tensor) -> float | None:
    """The base behind the frequencies 1 / base^(i / n); None where they are none."""
    values = frequencies.detach().double().cpu().numpy()
    n = len(values)
    if n < 2 or not values[-1] > 0:
        return None
    base = float(values[-1] ** (-n / (n - 1)))
    plain = base ** (-np.arange(n) / n)
    return float(round(base)) if np.allclose(values, plain, rtol=0.02) else None


def _given(hidden_states: Any, *given: object, **named: object) -> Any:  # noqa: ANN401
    return hidden_states


@contextlib.contextmanager
def _forward(layer: Any, forward: Callable[..., Any]) -> Iterator[None]:  # noqa: ANN401
    """The layer computes `forward` instead of its own."""
    before = layer.__dict__.get("forward")
    layer.forward = forward
    try:
        yield
    finally:
        if before is None:
            del layer.forward
        else:
            layer.forward = before


def _trace(states: Sequence[torch.Tensor]) -> LayerTrace:
    import torch

    norms, turns, bad = [], [], []
    for place, state in enumerate(states):
        values = state.reshape(-1, state.shape[-1]).float()
        norms.append(float(values.norm(dim=-1).mean()))
        bad.append(1.0 - float(torch.isfinite(values).float().mean()))
        if place == 0:
            turns.append(1.0)
            continue
        before = states[place - 1].reshape(-1, state.shape[-1]).float()
        turns.append(float(torch.nn.functional.cosine_similarity(values, before, dim=-1).mean()))
    return LayerTrace(np.array(norms, np.float32), np.array(turns, np.float32), np.array(bad, np.float32))
