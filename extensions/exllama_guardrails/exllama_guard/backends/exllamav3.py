"""Adapters for ExLlamaV3 as the WebUI holds it: the native loader, and the HF one.

Written against exllamav3 1.6.5 (`generator/pagetable.py`, `generator/generator.py`) and the pages' fields
that 0.0.30, which the WebUI pins, has too.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from exllama_guard.backends.adapter import LogitsAdapter, behind, card_from_files, required
from exllama_guard.backends.hf_cache import HeldSequence
from exllama_guard.backends.logits import write_greedily
from exllama_guard.core.backend import CacheUsage, Capabilities, Greedy, ModelCard
from exllama_guard.core.measures import NotScored
from exllama_guard.errors import BackendError

if TYPE_CHECKING:
    import torch

__all__ = ["PAGE_TOKENS", "ExLlamaV3Backend", "ExLlamaV3HFBackend"]

PAGE_TOKENS = 256  # exllamav3's constants.py


class ExLlamaV3Backend(LogitsAdapter):
    """The native loader: a paged cache shared by parallel jobs."""

    @property
    def capabilities(self) -> Capabilities:
        """Pages can be reset and put in order; a seed belongs to a job, so only a request can carry it."""
        return Capabilities(
            loader=self.loaded.loader,
            greedy=True,
            prompt_logprobs=True,
            next_logprobs=True,
            cache_usage=True,
            cache_reset=True,
            cache_defragment=True,
            parallel=True,
            reuse_tokens=PAGE_TOKENS,
        )

    def card(self) -> ModelCard:
        """What is loaded; the cache's type as it was asked for, because the layers share one class."""
        model = self.loaded.alive()
        return card_from_files(
            self.loaded, cache_type=self.loaded.settings.cache_type, context_tokens=model.max_tokens
        )

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids with special tokens in the text read as such, none added."""
        ids = self.loaded.alive().tokenizer.encode(text, add_bos=False, encode_special_tokens=True)
        return tuple(ids[0].tolist())

    def greedy(self, prompt: str, n_tokens: int, cancel: threading.Event | None = None) -> Greedy:
        """Without the cache, one whole pass a token: every page stays as it was; for some tens of tokens."""
        import torch

        held = self.loaded.alive()
        ids = required(self.token_ids(prompt), n_tokens)
        ends = {end for end in held.config.eos_token_id_list if end is not None}
        whole = list[int]()

        def step(new: Sequence[int]) -> torch.Tensor:
            whole.extend(new)
            return self.logits(whole)[0, -1]

        def decode(made: list[int]) -> str:
            return str(held.tokenizer.decode(torch.tensor(made)))

        return write_greedily(step, ids, n_tokens, ends, decode, cancel)

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """Ids behind the model's own first token."""
        begin = getattr(self.loaded.alive().tokenizer, "bos_token_id", None)
        return behind(begin if isinstance(begin, int) else None, self.token_ids(text))

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """From one pass without the cache, which sees the weights' quantisation and not the cache's."""
        return _without_cache(self.loaded.alive().model, ids)

    def cache_usage(self) -> CacheUsage | NotScored:
        """Valid tokens in all pages, and the share of pages that do not lie behind the page before them."""
        held = self.loaded.alive()
        pages = held.generator.pagetable.all_pages
        by_hash = {page.phash: page for page in pages}
        followers = [
            (page, by_hash[page.prev_hash])
            for page in pages
            if page.kv_position and page.prev_hash in by_hash
        ]
        scattered = [page for page, before in followers if page.page_index != before.page_index + 1]
        share = len(scattered) / len(followers) if followers else 0.0
        return CacheUsage(sum(page.kv_position for page in pages), int(held.max_tokens), share)

    def reset_cache(self) -> None:
        """A new page table, while no job is queued."""
        with self._idle() as generator:
            generator.pagetable.reset_page_table()

    def defragment_cache(self) -> None:
        """exllamav3's own defragmenting, at once instead of after its eight rounds through all pages."""
        with self._idle() as generator:
            table = generator.pagetable
            if hasattr(table, "last_defrag_serial"):
                table.last_defrag_serial = table.access_serial - 8 * table.max_pages
            table.defrag()

    @contextlib.contextmanager
    def _idle(self) -> Iterator[Any]:
        """The generator, with the host's iterating thread held off.

        Raises:
            BackendError: Jobs are queued.
        """
        held = self.loaded.alive()
        lock = getattr(held.parallel_generator, "lock", None) or contextlib.nullcontext()
        with lock:
            jobs = held.generator.num_remaining_jobs()
            if jobs:
                raise BackendError(
                    f"{jobs} jobs are queued and 0 may be; wait until the answers are written."
                )
            yield held.generator


class ExLlamaV3HFBackend(HeldSequence):
    """ExLlamaV3 behind a transformers class: its sampler and its seed are those of transformers."""

    @property
    def capabilities(self) -> Capabilities:
        """As the other HF classes."""
        return self.hf_capabilities()

    def card(self) -> ModelCard:
        """What is loaded; the cache's type as it was asked for."""
        return self.hf_card(self.loaded.settings.cache_type, self.max_tokens())

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """From one pass without the cache."""
        return _without_cache(self.loaded.alive().ex_model, ids)


def _without_cache(model: Any, ids: Sequence[int]) -> torch.Tensor:  # noqa: ANN401 - exllamav3's
    """Shape (1, len(ids), vocabulary); the head's padding is cut off."""
    import torch

    with torch.inference_mode():
        logits = model.forward(
            input_ids=torch.tensor([list(ids)]), params={"attn_mode": "flash_attn_nc"}
        ).cpu()
    return logits[..., : model.config.vocab_size]  # type: ignore[no-any-return]
