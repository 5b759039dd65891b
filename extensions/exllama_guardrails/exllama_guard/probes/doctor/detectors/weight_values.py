"""Detectors of the values in weight files (W2): not finite, zero, copied, of another scale, another's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from exllama_guard.backends import Layout, Tensor
from exllama_guard.core.measures import Gate
from exllama_guard.probes.doctor.detectors.weights import by_layer, in_words
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved

__all__ = ["observe_values", "observe_values_beside"]

# A matrix whose RMS is this many times that of its neighbours' was scaled wrongly: over both models at hand
# neighbours differ by at most 1.7 (the first and last layer left out).
_SCALE = 3.0
_VALUES = 1 << 26  # of one tensor that are read at most
_ALL_VALUES = 1 << 31  # of one model; beyond it, fewer of each tensor
# Beside the same model quantised, a tensor differs by its rounding, 1 to 12 % of its size; one that differs
# by this, and by three times what the others do, is another one.
_OTHER = 0.5
_AGAIN = "The weights are damaged: download them again from the model's source."


@dataclass(frozen=True, slots=True)
class _Look:
    """What the values of one tensor show."""

    name: str
    bad: float  # share that is not finite
    rms: float  # of the finite ones
    same: str  # hash of the values that were read


def observe_values(layout: Layout) -> Observation:
    """W2 from the values themselves; whole numbers of packed weights tell nothing and are left out."""
    plain = {name: t for name, t in layout.tensors.items() if _readable(t)}
    if not plain:
        return unobserved(
            "W2", "no plain weights whose values could be read; packed ones are read by their loader"
        )
    total = sum(tensor.size for tensor in plain.values())
    most = _VALUES if total <= _ALL_VALUES else max(1024, _ALL_VALUES // len(plain))
    looks = {name: _look(tensor, most) for name, tensor in plain.items()}
    shares = [min(1.0, most / max(t.size, 1)) for t in plain.values()]
    for problem in (_not_finite, _zero, _copied, _scaled):
        found = problem(looks, plain)
        if found is not None:
            return found
    every = "every value" if min(shares) >= 1.0 else "a part of the values"
    sentence = f"The weights of {len(plain)} tensors are finite, none is empty or a copy ({every} read)."
    return observed("W2", Gate.PASS, sentence, tensors=float(len(plain)))


def _readable(tensor: Tensor) -> bool:
    plain = tensor.dtype in ("F64", "F32", "F16", "BF16") or tensor.dtype.startswith(
        ("Q", "IQ", "MXFP", "TQ")
    )
    return plain and bool(tensor.size)


def _look(tensor: Tensor, most: int) -> _Look:
    values = tensor.read(most)
    if not values.size:
        return _Look(tensor.name, 0.0, float("nan"), "")
    with np.errstate(all="ignore"):
        rms = float(np.sqrt(np.mean(np.square(values), dtype=np.float64)))
    bad = 0.0
    if not np.isfinite(rms):
        finite = np.isfinite(values)
        bad = 1.0 - float(finite.mean())
        kept = np.where(finite, values, 0.0).astype(np.float64)
        rms = float(np.sqrt(np.mean(np.square(kept))))
    return _Look(tensor.name, bad, rms, hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest())


def _not_finite(looks: Mapping[str, _Look], tensors: Mapping[str, Tensor]) -> Observation | None:
    bad = [look for look in looks.values() if look.bad]
    if not bad:
        return None
    named = {look.name for look in bad}
    layers = sorted(
        n for n, tails in by_layer(tensors).items() if any(t.name in named for t in tails.values())
    )
    where = f"{in_words(layers)} " if layers else ""
    worst = max(bad, key=lambda look: look.bad)
    sentence = (
        f"Not finite (NaN or infinite): {where}({worst.name}: {worst.bad:.1%} of the values"
        f"{f', and {len(bad) - 1} more tensors' if len(bad) > 1 else ''}). {_AGAIN}"
    )
    first = float(layers[0]) if layers else None
    return observed("W2", Gate.FAIL, sentence, cause="not finite", layer=first)


def _zero(looks: Mapping[str, _Look], tensors: Mapping[str, Tensor]) -> Observation | None:
    zero = [
        look.name for look in looks.values() if look.rms == 0.0 and len(tensors[look.name].shape) == 2
    ]  # biases and norms may be zero
    layers = by_layer(tensors)
    empty = {n: [tail for tail, t in tails.items() if t.name in zero] for n, tails in layers.items()}
    seen = sorted(n for n, tails in empty.items() if tails)
    if not seen or len(seen) == len(layers) > 1:  # all of them: an adapter's or an untrained model's form
        if not zero or seen:
            return None
        return observed("W2", Gate.FAIL, f"{zero[0]} holds zeros only. {_AGAIN}", cause="zero")
    tails = sorted(empty[seen[0]])
    sentence = f"{in_words(seen).capitalize()}: only zeros in {', '.join(tails[:4])}. {_AGAIN}"
    return observed("W2", Gate.FAIL, sentence, cause="zero", layer=float(seen[0]))


def _copied(looks: Mapping[str, _Look], tensors: Mapping[str, Tensor]) -> Observation | None:
    seen: dict[tuple[str, ...], int] = {}
    pairs: list[tuple[int, int]] = []
    for layer, tails in sorted(by_layer(tensors).items()):
        matrices = sorted(tail for tail, t in tails.items() if len(t.shape) == 2 and t.name in looks)
        key = tuple(looks[tails[tail].name].same for tail in matrices)
        if not key:
            continue
        if key in seen:
            pairs.append((layer, seen[key]))
        else:
            seen[key] = layer
    if not pairs:
        return None
    told = ", ".join(f"{layer} of {first}" for layer, first in pairs[:4])
    sentence = (
        f"Copied layers: {told} (equal weights). Models that were made larger by repeating layers are so on "
        "purpose; otherwise the weights are damaged: take them again from the model's source."
    )
    return observed("W2", Gate.REVIEW, sentence, cause="copied", layer=float(pairs[0][0]))


def _scaled(looks: Mapping[str, _Look], tensors: Mapping[str, Tensor]) -> Observation | None:
    layers = by_layer(tensors)
    worst: tuple[float, str, int] | None = None
    for tail, rms in _profiles(looks, layers).items():
        for layer in sorted(rms)[1:-1]:  # the first and the last layer differ in healthy models, too
            near = [rms[n] for n in range(layer - 3, layer + 4) if n in rms and n != layer]
            if len(near) < 4 or min(near) <= 0.0 or rms[layer] <= 0.0:
                continue
            ratio = rms[layer] / median(near)
            off = max(ratio, 1 / ratio)
            if off > _SCALE * max(near) / min(near) and (worst is None or off > worst[0]):
                worst = (off, tail, layer)
    if worst is None:
        return None
    off, tail, layer = worst
    sentence = (
        f"Layer {layer}: {tail} is {off:.3g} times as large or as small as in the layers beside it: it was "
        f"stored with a wrong scale. {_AGAIN}"
    )
    return observed("W2", Gate.FAIL, sentence, cause="scale", layer=float(layer))


def _profiles(
    looks: Mapping[str, _Look], layers: Mapping[int, Mapping[str, Tensor]]
) -> dict[str, dict[int, float]]:
    """RMS of each matrix by layer."""
    found: dict[str, dict[int, float]] = {}
    for layer, tails in layers.items():
        for tail, tensor in tails.items():
            if len(tensor.shape) == 2 and tensor.name in looks:
                found.setdefault(tail, {})[layer] = looks[tensor.name].rms
    return found


# --- beside a reference ---------------------------------------------------------------------------------


def observe_values_beside(layout: Layout, reference: Layout) -> Observation:
    """W2 tensor by tensor against the same model, in whatever precision each of the two is."""
    shared = [
        name
        for name, tensor in layout.tensors.items()
        if name in reference.tensors and _readable(tensor) and _readable(reference.tensors[name])
    ]
    if not shared:
        return unobserved("W2", "the two have no plain weights of the same names to be compared")
    shapes = [name for name in shared if layout.tensors[name].shape != reference.tensors[name].shape]
    if shapes:
        name = shapes[0]
        sentence = (
            f"{name} has the shape {layout.tensors[name].shape}, in the reference "
            f"{reference.tensors[name].shape}: these are two models, or one of them is damaged."
        )
        return observed("W2", Gate.REVIEW, sentence, cause="shape")
    apart = dict(_apart(layout, reference, shared))
    usual = median(apart.values())
    other = sorted((n for n in apart if apart[n] > max(_OTHER, 3 * usual)), key=lambda n: -apart[n])
    if not other:
        sentence = (
            f"{len(shared)} tensors are those of the reference; they differ by {usual:.1%} at the median."
        )
        return observed("W2", Gate.PASS, sentence, apart=usual)
    if len(other) > len(shared) / 2 or usual > _OTHER:
        sentence = f"The weights are not those of the reference: they differ by {usual:.0%} at the median."
        return observed("W2", Gate.REVIEW, sentence, cause="another model", apart=usual)
    named = {
        n for n, tails in by_layer(layout.tensors).items() if any(t.name in other for t in tails.values())
    }
    where = f"{in_words(sorted(named))}, " if named else ""
    sentence = (
        f"Weights that are not the reference's: {where}first {other[0]}, which differs by "
        f"{apart[other[0]]:.0%} of its size; the other tensors differ by {usual:.1%}. {_AGAIN}"
    )
    first = float(min(named)) if named else None
    return observed("W2", Gate.FAIL, sentence, cause="other values", layer=first, tensors=float(len(other)))


def _apart(layout: Layout, reference: Layout, names: list[str]) -> Iterator[tuple[str, float]]:
    """RMS of the difference over the RMS of the reference, for each tensor."""
    for name in names:
        most = _VALUES
        ours, theirs = layout.tensors[name].read(most), reference.tensors[name].read(most)
        if ours.shape != theirs.shape or not ours.size:
            continue
        with np.errstate(all="ignore"):
            size = float(np.sqrt(np.mean(np.square(theirs), dtype=np.float64)))
            value = float(np.sqrt(np.mean(np.square(ours - theirs), dtype=np.float64)))
        if np.isfinite(value) and size > 0.0:
            yield name, value / size
        else:
            yield name, float("inf") if not np.isfinite(value) else value
