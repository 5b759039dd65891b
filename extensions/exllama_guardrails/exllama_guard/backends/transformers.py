"""Adapter for models of the transformers library: everything can be reached, no cache outlives an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from exllama_guard.backends.adapter import LogitsAdapter, behind, card_from_files, required
from exllama_guard.backends.key_values import cache_argument, cache_of
from exllama_guard.backends.logits import write_greedily
from exllama_guard.core.backend import Capabilities, Greedy, ModelCard

if TYPE_CHECKING:
    import torch

__all__ = ["TransformersBackend", "filled_by", "first_token"]


class TransformersBackend(LogitsAdapter):
    """A `PreTrainedModel` and its tokenizer."""

    @property
    def capabilities(self) -> Capabilities:
        """All but a cache to look after: transformers builds one for each answer and drops it."""
        return Capabilities(
            loader=self.loaded.loader,
            greedy=True,
            prompt_logprobs=True,
            next_logprobs=True,
            seed=True,
            sees_bad_logits=True,
            keeps_cache=False,
        )

    def card(self) -> ModelCard:
        """What is loaded, from its files and its configuration."""
        model = self.loaded.alive()
        context = getattr(model.config, "max_position_embeddings", None)
        return card_from_files(
            self.loaded,
            cache_type="fp16" if model.dtype.itemsize == 2 else str(model.dtype).removeprefix("torch."),
            context_tokens=self.loaded.settings.context_tokens or context,
            chat_template=bool(getattr(self.loaded.tokenizer(), "chat_template", None)),
        )

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added."""
        return tuple(self.loaded.alive_tokenizer().encode(text, add_special_tokens=False))

    def greedy(self, prompt: str, n_tokens: int, cancel: threading.Event | None = None) -> Greedy:
        """Token by token with a cache, through the model's own forward pass."""
        import torch

        ids = required(self.token_ids(prompt), n_tokens)
        model, tokenizer = self.loaded.alive(), self.loaded.alive_tokenizer()
        held: dict[str, Any] = {}

        def step(new: Sequence[int]) -> torch.Tensor:
            tensor = torch.tensor([list(new)], device=model.device)
            out = model(input_ids=tensor, use_cache=True, **held)
            held[cache_argument(model, out)] = cache_of(out)
            return out.logits[0, -1]  # type: ignore[no-any-return]

        def decode(made: list[int]) -> str:
            return str(tokenizer.decode(made, skip_special_tokens=True))

        with torch.inference_mode():
            return write_greedily(step, ids, n_tokens, _end_ids(model), decode, cancel)

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """Ids behind the tokenizer's own first token."""
        return behind(first_token(self.loaded.alive_tokenizer()), self.token_ids(text))

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """From one forward pass without a cache."""
        import torch

        model = self.loaded.alive()
        with torch.inference_mode():
            tensor = torch.tensor([list(ids)], device=model.device)
            return model(input_ids=tensor, use_cache=False).logits  # type: ignore[no-any-return]

    def set_seed(self, seed: int) -> None:
        """Seeds torch on every device."""
        import torch

        torch.manual_seed(seed)


def filled_by(tokenizer: Any) -> Callable[[str], str]:  # noqa: ANN401 - a transformers tokenizer
    """Puts a user's message into the tokenizer's chat template, without thinking; else before `Answer:`."""

    def fill(message: str) -> str:
        if not getattr(tokenizer, "chat_template", None):
            return f"{message}\n\nAnswer:"
        asked = [{"role": "user", "content": message}]
        return str(
            tokenizer.apply_chat_template(
                asked, add_generation_prompt=True, tokenize=False, enable_thinking=False
            )
        )

    return fill


def first_token(tokenizer: Any) -> int | None:  # noqa: ANN401 - a transformers tokenizer
    """The token that the tokenizer puts before every text, or None."""
    begin = getattr(tokenizer, "bos_token_id", None)
    return begin if begin is not None and begin in tokenizer.encode("", add_special_tokens=True) else None


def _end_ids(model: Any) -> frozenset[int]:  # noqa: ANN401
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if configured is None:
        configured = getattr(model.config, "eos_token_id", None)
    return frozenset(configured if isinstance(configured, (list, tuple)) else [configured]) - {None}
