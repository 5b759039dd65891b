"""Any sentence-transformers CrossEncoder trained for natural language inference, named by the user."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.model_folder import known_folder, refusal
from exllama_guard.errors import VerifierError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

_BATCH = 16  # pairs of a claim and a few sentences; more only fills memory on two cores
_COLUMNS = ("contradict", "neutral", "entail")


_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError)


class CrossEncoderVerifier:
    """Probabilities of the three NLI classes from a named CrossEncoder. Thread-safe; loads on first use."""

    def __init__(self, name: str) -> None:
        """Remembers the model's folder or name."""
        self._name = name
        self._lock = threading.Lock()
        self._loaded: tuple[CrossEncoder, tuple[int, ...]] | None = None

    @property
    def id(self) -> str:
        """The model's name, without the folder it lies in."""
        return Path(self._name).name

    def entailment(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """Shape (n, 3): P(contradiction), P(neutral), P(entailment) of each (evidence, claim); rows sum to 1.

        A model with two classes puts everything that is not entailment into the first column. Text beyond
        the model's window is cut from the longer of the two.

        Raises:
            VerifierError: The model is missing, is not an NLI model, or failed.
        """
        if not pairs:
            return np.zeros((0, 3), dtype=np.float32)
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            model, columns = self._loaded
            try:
                logits = _logits(model, pairs)
            except (RuntimeError, ValueError, IndexError) as error:
                raise VerifierError(
                    f"The verifier {self.id} failed ({error}); check the model named in settings."
                ) from error
        if not np.isfinite(logits).all():
            raise VerifierError(
                f"The verifier {self.id} gave values that are not numbers; name another model."
            )
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        found = odds / odds.sum(axis=1, keepdims=True)
        out = np.zeros((len(pairs), 3), dtype=np.float32)
        for label, column in enumerate(columns):
            out[:, column] += found[:, label]
        return out

    def _load(self) -> tuple[CrossEncoder, tuple[int, ...]]:
        from safetensors import SafetensorError
        from sentence_transformers import CrossEncoder

        folder = known_folder(self._name)
        why = "there is no such folder on this machine" if folder is None else refusal(folder)
        if why:
            raise VerifierError(
                f"The verifier {self._name} is not used: {why}. Name another folder of "
                "sentence-transformers, or leave the setting 'verifier' empty."
            )
        try:
            model = CrossEncoder(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except (*_UNREADABLE, SafetensorError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise VerifierError(
                f"The verifier {self._name} cannot be loaded ({said}); name a "
                "folder or a model of sentence-transformers, or leave the setting 'verifier' empty."
            ) from error
        return model, nli_columns(model.config.id2label, self.id)


def nli_columns(labels: Mapping[int, str], name: str) -> tuple[int, ...]:
    """For each of the model's classes its column 0-2 (contradiction, neutral, entailment).

    Raises:
        VerifierError: The labels are not those of an NLI model.
    """
    names = [str(labels[index]).lower() for index in sorted(labels)]
    if len(names) == 2 and sum("entail" in label for label in names) == 2:
        columns = tuple(0 if "not" in label or "non" in label else 2 for label in names)
        wanted = {0, 2}
    else:
        columns = tuple(next((c for c, part in enumerate(_COLUMNS) if part in label), -1) for label in names)
        wanted = {0, 1, 2} if len(names) > 2 else {0, 2}
    if set(columns) != wanted or len(columns) != len(wanted):
        classes = ", ".join(str(labels[index]) for index in sorted(labels))
        raise VerifierError(
            f"The verifier {name} has the classes {classes}; a verifier needs contradiction, neutral and "
            "entailment: name an NLI cross-encoder."
        )
    return columns


def _logits(model: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> FloatArray:
    from torch.nn import Identity

    found = model.predict(
        cast("Any", list(pairs)),
        batch_size=_BATCH,
        activation_fn=Identity(),
        convert_to_numpy=True,
        show_progress_bar=False,
    )
    return np.asarray(found, dtype=np.float32)
