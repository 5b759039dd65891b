"""What a model read of a fixed text when it was first examined, kept for later loads (EX5)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from exllama_guard.core.measures import FloatArray, NotScored, Reason
from exllama_guard.core.private_file import replacing
from exllama_guard.errors import TraceError
from exllama_guard.probes.measures.logit_drift import LogitDrift

__all__ = ["Baseline", "BaselineStore", "drift_from", "reading_floor"]

_KEPT = 50  # models; the oldest is dropped first


@dataclass(frozen=True, slots=True)
class Baseline:
    """The log-probabilities of a fixed text's tokens, read by one model of one loader."""

    model_hash: str
    loader: str
    shard_hash: str
    ids_hash: str  # of the text's ids
    logprobs: tuple[float, ...]
    floor: float  # mean KL of two readings within that load, nats
    at_s: float = 0.0  # seconds since the epoch


def reading_floor(first: FloatArray, second: FloatArray) -> float:
    """Mean KL in nats, >= 0, of two readings of the same text, each token against all others together.

    The next-token distributions are seen only as (the text's token, the rest). By the data processing
    inequality that is at most their whole KL, so it may miss a change and never makes one up; and every
    loader that tells a prompt's log-probabilities can give it.
    """
    p = np.clip(np.exp(np.asarray(first, dtype=np.float64)), 1e-12, 1 - 1e-12)
    q = np.clip(np.exp(np.asarray(second, dtype=np.float64)), 1e-12, 1 - 1e-12)
    each = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return float(np.maximum(each, 0.0).mean())


def drift_from(kept: Baseline, logprobs: FloatArray, ids_hash: str) -> LogitDrift | NotScored:
    """How far a reading lies from the baseline, as `reading_floor` sees it.

    `kl_p95` is then the 95 % quantile of a token's |change| in nats, `top1` the share that changed by less
    than 0.01.
    """
    if kept.ids_hash != ids_hash or len(kept.logprobs) != len(logprobs) or not kept.logprobs:
        return NotScored(Reason.NOT_SUPPORTED, "the tokenizer differs from that of the baseline")
    before = np.asarray(kept.logprobs, dtype=np.float32)
    change = np.asarray(logprobs, dtype=np.float64) - before
    return LogitDrift(
        kl=reading_floor(before, logprobs),
        kl_p95=float(np.quantile(np.abs(change), 0.95)),
        delta_nll=float(-change.mean()),
        top1=float((np.abs(change) < 0.01).mean()),
        tokens=len(change),
    )


class BaselineStore:
    """Baselines in one JSON file that only its owner reads."""

    def __init__(self, path: Path) -> None:
        """Nothing is read before the first use."""
        self._path = path

    def get(self, model_hash: str, loader: str) -> Baseline | None:
        """The baseline of a model under a loader, or None; an unreadable file counts as none."""
        return self._read().get(_key(model_hash, loader))

    def keep(self, baseline: Baseline) -> None:
        """Stores a baseline; the file is replaced whole, mode 0600.

        Raises:
            TraceError: It cannot be written.
        """
        kept = {**self._read(), _key(baseline.model_hash, baseline.loader): baseline}
        newest = sorted(kept.values(), key=lambda one: one.at_s)[-_KEPT:]
        text = json.dumps({"version": 1, "baselines": [asdict(one) for one in newest]})
        try:
            with replacing(self._path) as file:
                file.write(text.encode())
        except OSError as error:
            raise TraceError(
                f"The baseline could not be stored in {self._path} ({error}); make the folder writable."
            ) from error

    def _read(self) -> dict[str, Baseline]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))["baselines"]
            found = [
                Baseline(**{**entry, "logprobs": tuple(float(value) for value in entry["logprobs"])})
                for entry in entries
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {_key(one.model_hash, one.loader): one for one in found}


def _key(model_hash: str, loader: str) -> str:
    return hashlib.sha256(f"{model_hash}|{loader}".encode()).hexdigest()
