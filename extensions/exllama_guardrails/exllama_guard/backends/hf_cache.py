"""What both ExLlama loaders behind HF classes share: one held sequence, `past_seq`, over one cache."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from exllama_guard.backends.adapter import LogitsAdapter, behind, card_from_files, required
from exllama_guard.backends.logits import write_greedily
from exllama_guard.backends.transformers import first_token
from exllama_guard.core.backend import CacheUsage, Capabilities, Greedy, ModelCard
from exllama_guard.core.measures import NotScored

__all__ = ["HeldSequence"]


class HeldSequence(LogitsAdapter):
    """A class of the host's with `ex_model`, `ex_cache` and `past_seq`; `past_seq = None` empties the cache.

    Read in the WebUI's exllamav2_hf.py (3.23) and exllamav3_hf.py (3.23, 4.7.3): the next call compares its
    ids with `past_seq` and evaluates what differs.
    """

    def hf_capabilities(self, *notes: str) -> Capabilities:
        """What such a class allows."""
        return Capabilities(
            loader=self.loaded.loader,
            greedy=True,
            prompt_logprobs=True,
            next_logprobs=True,
            cache_usage=True,
            cache_reset=True,
            cache_trim=True,
            seed=True,
            sees_bad_logits=True,
            reuse_tokens=1,
            notes=notes,
        )

    def hf_card(self, cache_type: str, context_tokens: int) -> ModelCard:
        """The card, with the template of the transformers tokenizer."""
        return card_from_files(
            self.loaded,
            cache_type=cache_type,
            context_tokens=context_tokens,
            chat_template=bool(getattr(self.loaded.tokenizer(), "chat_template", None)),
        )

    def max_tokens(self) -> int:
        """Tokens that the cache can hold."""
        return int(self.loaded.alive().max_tokens)

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added."""
        return tuple(self.loaded.alive_tokenizer().encode(text, add_special_tokens=False))

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """Ids behind the tokenizer's own first token."""
        return behind(first_token(self.loaded.alive_tokenizer()), self.token_ids(text))

    def greedy(self, prompt: str, n_tokens: int, cancel: threading.Event | None = None) -> Greedy:
        """By calling the class with the growing sequence, as transformers does; empties the cache."""
        import torch

        ids = required(self.token_ids(prompt), n_tokens)
        model, tokenizer = self.loaded.alive(), self.loaded.alive_tokenizer()
        whole = list[int]()

        def step(new: Sequence[int]) -> torch.Tensor:
            whole.extend(new)
            return model(input_ids=torch.tensor([whole])).logits[0, -1]  # type: ignore[no-any-return]

        def decode(made: list[int]) -> str:
            return str(tokenizer.decode(made, skip_special_tokens=True))

        self.reset_cache()
        try:
            with torch.inference_mode():
                return write_greedily(step, ids, n_tokens, (tokenizer.eos_token_id,), decode, cancel)
        finally:
            self.reset_cache()

    def cache_usage(self) -> CacheUsage | NotScored:
        """The sequence that the cache holds."""
        held = self.loaded.alive().past_seq
        return CacheUsage(0 if held is None else int(held.shape[-1]), self.max_tokens())

    def reset_cache(self) -> None:
        """Forgets the held sequence, and that of the negative prompt where there is one."""
        model = self.loaded.alive()
        model.past_seq = None
        if hasattr(model, "past_seq_negative"):
            model.past_seq_negative = None

    def trim_cache(self, keep_tokens: int) -> None:
        """Keeps the first `keep_tokens` ids of the held sequence."""
        model = self.loaded.alive()
        if model.past_seq is not None:
            kept = model.past_seq[: max(0, keep_tokens)]
            model.past_seq = kept if len(kept) else None

    def set_seed(self, seed: int) -> None:
        """Seeds torch, from which the transformers sampler draws."""
        import torch

        torch.manual_seed(seed)
