"""Adapters for ExLlamaV2 as the WebUI (until 3.23) holds it: the native loader, and the HF one.

Written against exllamav2 0.3.2: `cache.py`, `model.py` (forward), `generator/streaming.py`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from exllama_guard.backends.adapter import LogitsAdapter, behind, card_from_files, required
from exllama_guard.backends.hf_cache import HeldSequence
from exllama_guard.backends.logits import write_greedily
from exllama_guard.core.backend import CacheUsage, Capabilities, Greedy, ModelCard
from exllama_guard.core.measures import NotScored, Reason

if TYPE_CHECKING:
    import torch

__all__ = ["ExLlamaV2Backend", "ExLlamaV2HFBackend"]

_SKEW = (
    "ExLlamaV2 0.2.9 to 0.3.2 forget the causal mask in torch's SDPA, which they use where neither "
    "flash-attn nor xformers is: load with no_sdpa. The doctor finds it on the loaded model."
)


class ExLlamaV2Backend(LogitsAdapter):
    """The native loader: one sequence in one cache, fed by a streaming generator."""

    @property
    def capabilities(self) -> Capabilities:
        """All but pages and a look at the logits of a reply while it is written."""
        return Capabilities(
            loader=self.loaded.loader,
            greedy=True,
            prompt_logprobs=True,
            next_logprobs=True,
            cache_usage=True,
            cache_reset=True,
            cache_trim=True,
            seed=True,
            reuse_tokens=1,
            notes=(
                "The host's seed does not reach this loader's sampler, which draws from Python's random.",
                _SKEW,
            ),
        )

    def card(self) -> ModelCard:
        """What is loaded; the cache's type from its class."""
        model = self.loaded.alive()
        return card_from_files(
            self.loaded,
            cache_type=_cache_type(model.cache) or self.loaded.settings.cache_type,
            context_tokens=model.cache.max_seq_len,
        )

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids with special tokens in the text read as such, none added."""
        ids = self.loaded.alive().tokenizer.encode(text, add_bos=False, encode_special_tokens=True)
        return tuple(ids[0].tolist())

    def greedy(self, prompt: str, n_tokens: int, cancel: threading.Event | None = None) -> Greedy:
        """Token by token through the cache, which is empty afterwards."""
        import torch

        held = self.loaded.alive()
        ids = required(self.token_ids(prompt), n_tokens)

        def step(new: Sequence[int]) -> torch.Tensor:
            feed = torch.tensor([list(new)])
            if feed.shape[-1] > 1:
                held.model.forward(feed[:, :-1], held.cache, preprocess_only=True, loras=held.loras)
            logits = held.model.forward(feed[:, -1:], held.cache, last_id_only=True, loras=held.loras)
            return logits[0, -1]  # type: ignore[no-any-return]

        def decode(made: list[int]) -> str:
            return str(held.tokenizer.decode(torch.tensor([made]))[0])

        self.reset_cache()
        try:
            return write_greedily(step, ids, n_tokens, (held.tokenizer.eos_token_id,), decode, cancel)
        finally:
            self.reset_cache()

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """Ids behind the model's own first token."""
        begin = getattr(self.loaded.alive().tokenizer, "bos_token_id", None)
        return behind(begin if isinstance(begin, int) else None, self.token_ids(text))

    def logits(self, ids: Sequence[int]) -> torch.Tensor | NotScored:
        """From one pass without the cache, which sees the weights' quantisation and not the cache's."""
        held = self.loaded.alive()
        return _without_cache(held.model, held.loras, ids)

    def cache_usage(self) -> CacheUsage | NotScored:
        """The sequence that the cache holds."""
        cache = self.loaded.alive().cache
        return CacheUsage(int(cache.current_seq_len), int(cache.max_seq_len))

    def reset_cache(self) -> None:
        """Empties the cache and the draft model's, and makes the generator forget its sequence."""
        held = self.loaded.alive()
        held.cache.current_seq_len = 0
        if getattr(held, "draft_cache", None) is not None:
            held.draft_cache.current_seq_len = 0
        held.generator.sequence_ids = None

    def trim_cache(self, keep_tokens: int) -> None:
        """Keeps the first `keep_tokens` tokens in cache, draft cache and generator."""
        held = self.loaded.alive()
        keep = max(0, min(keep_tokens, int(held.cache.current_seq_len)))
        if keep == 0 or held.generator.sequence_ids is None:
            self.reset_cache()
            return
        held.cache.current_seq_len = keep
        if getattr(held, "draft_cache", None) is not None:
            held.draft_cache.current_seq_len = min(keep, int(held.draft_cache.current_seq_len))
        # the generator holds one id more than the cache: the one that is fed next
        held.generator.sequence_ids = held.generator.sequence_ids[:, : keep + 1]

    def set_seed(self, seed: int) -> None:
        """Seeds Python's random, from which the streaming generator draws, and torch."""
        import torch

        random.seed(seed)
        torch.manual_seed(seed)


class ExLlamaV2HFBackend(HeldSequence):
    """ExLlamaV2 behind a transformers class: its sampler and its seed are those of transformers."""

    @property
    def capabilities(self) -> Capabilities:
        """As the other HF classes, with this loader's warning."""
        return self.hf_capabilities(_SKEW)

    def card(self) -> ModelCard:
        """What is loaded; the cache's type from its class."""
        model = self.loaded.alive()
        return self.hf_card(_cache_type(model.ex_cache) or self.loaded.settings.cache_type, self.max_tokens())

    def logits(self, ids: Sequence[int]) -> torch.Tensor | NotScored:
        """From one pass without the cache."""
        model = self.loaded.alive()
        return _without_cache(model.ex_model, model.loras, ids)

    def reset_cache(self) -> None:
        """Empties the cache and forgets the sequence it held."""
        self.loaded.alive().ex_cache.current_seq_len = 0
        super().reset_cache()

    def max_tokens(self) -> int:
        """Tokens that the cache can hold."""
        return int(self.loaded.alive().ex_cache.max_seq_len)


def _cache_type(cache: Any) -> str:  # noqa: ANN401 - exllamav2's
    """FP16, FP8, Q8, Q6 or Q4 by the cache's class; "" for one that is not known."""
    kinds = {
        "ExLlamaV2Cache": "fp16",
        "ExLlamaV2Cache_8bit": "fp8",
        "ExLlamaV2Cache_Q8": "q8",
        "ExLlamaV2Cache_Q6": "q6",
        "ExLlamaV2Cache_Q4": "q4",
    }
    return kinds.get(type(cache).__name__, "")


def _without_cache(model: Any, loras: Any, ids: Sequence[int]) -> torch.Tensor | NotScored:  # noqa: ANN401
    import torch

    longest = int(model.config.max_input_len)
    if len(ids) > longest:
        return NotScored(
            Reason.NOT_SUPPORTED,
            f"{len(ids)} tokens; without the cache ExLlamaV2 takes {longest} at most. Give a shorter text",
        )
    return model.forward(torch.tensor([list(ids)]), loras=loras)  # type: ignore[no-any-return]
