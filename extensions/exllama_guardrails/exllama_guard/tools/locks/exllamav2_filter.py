"""A lock as an `ExLlamaV2Filter`, for the native ExLlamaV2 loader (read against exllamav2 0.3.2)."""

from __future__ import annotations

from typing import Any

from exllama_guard.tools.locks.compiled import CompiledLock
from exllama_guard.tools.locks.run import LockRun, Phase
from exllama_guard.tools.locks.transformers_processor import apply_mask

__all__ = ["filter_for_exllamav2"]

# Tokens of the prompt's end that can hold an opened thinking block, or a call to be continued.
_PROMPT_END_TOKENS = 256


def filter_for_exllamav2(  # noqa: C901 - one class, made where its base is known
    lock: CompiledLock,
    generator: Any,  # noqa: ANN401 - exllamav2
    base: type | None = None,
    limit: int | None = None,
) -> Any:  # noqa: ANN401 - exllamav2
    """A filter for one reply of `generator` (an `ExLlamaV2StreamingGenerator`).

    It reads what was written from `generator.sequence_ids` and not from `feed`, which exllamav2 does not call
    while it speculates with a draft model (generator/streaming.py, `_gen_single_token_speculative`).

    Args:
        lock: The compiled lock.
        generator: The generator that will use the filter.
        base: The class to derive from; exllamav2's own where None.
        limit: Most tokens that the reply may have; None where that is not known.
    """
    if base is None:
        from exllamav2.generator.filters import ExLlamaV2Filter

        base = ExLlamaV2Filter

    class LockFilter(base):  # type: ignore[misc, valid-type]
        """One reply under the lock."""

        def __init__(self) -> None:
            super().__init__(generator.model, generator.tokenizer)
            self.run: LockRun | None = None
            self.start = 0
            self.fed = 0
            self._mask: Any = None

        @property
        def phase(self) -> Phase:
            """Where the reply stands."""
            return self.run.phase if self.run else Phase.FREE

        @property
        def closed(self) -> bool:
            """Whether the reply was brought to its end because its limit was near."""
            return self.run is not None and self.run.closed

        @property
        def reason(self) -> str:
            """Why the reply is free although it should not be; empty where it is held."""
            return self.run.reason if self.run is not None else ""

        def begin(self, prefix_str: str) -> None:
            """Starts a reply; `prefix_str` is the healed last token of the prompt, or empty."""
            ids = generator.sequence_ids[0]
            self.start = len(ids) - (1 if prefix_str else 0)
            self.fed = 0
            tokens = lock.vocabulary.tokens
            end = ids[: self.start][-_PROMPT_END_TOKENS:].tolist()
            written = b"".join(tokens[token] for token in end if token < len(tokens))
            self.run = LockRun(lock, written, limit)

        def feed(self, token: Any) -> None:  # noqa: ANN401 - the library's signature
            """Nothing: the sequence itself is read before each mask."""

        def clone(self, c: Any = None) -> Any:  # noqa: ANN401 - the library's signature
            """A filter of its own for the same lock."""
            return filter_for_exllamav2(lock, generator, base, limit)

        def can_mask_logits(self) -> bool:
            """True: the mask is applied to the logits themselves."""
            return True

        def use_background_worker(self) -> bool:
            """False: a mask takes some 50 µs, and the sequence must be complete when it is read."""
            return False

        def prepare_logit_mask(self) -> bool:
            """Computes the mask of the next token."""
            self._mask = self._follow().mask()
            return True

        def mask_logits(self, logits: Any) -> Any:  # noqa: ANN401 - torch.Tensor of shape (vocabulary,)
            """`logits` with -inf at each token that the lock forbids."""
            if self._mask is None:
                return logits
            return apply_mask(logits, self._mask, lock.vocabulary.size)

        def next(self) -> tuple[Any, Any]:
            """(permitted ids, end ids) where another filter cannot mask; (None, None) while all may come."""
            import numpy as np

            mask = self._follow().mask()
            if mask is None:
                return None, None
            bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[: lock.vocabulary.size]
            return set(np.flatnonzero(bits).tolist()), set()

        def _follow(self) -> LockRun:
            if self.run is None:
                self.begin("")
            run = self.run
            if run is None:  # begin always sets it
                raise RuntimeError("the filter was not started")
            written = generator.sequence_ids[0, self.start :].tolist()
            for token in written[self.fed :]:
                run.feed(token)
            self.fed = len(written)
            return run

    return LockFilter()
