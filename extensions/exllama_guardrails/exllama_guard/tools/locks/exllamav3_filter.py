"""A lock as an exllamav3 `Filter`, for the native ExLlamaV3 loader (read against 0.0.30 and 1.6.5).

exllamav3's own `LLGuidanceFilter` came after 0.0.30, which WebUI 4.7.3 pins, and starts at one token: the
text that starts a call, and blocks of thinking, need more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from exllama_guard.tools.locks.compiled import CompiledLock
from exllama_guard.tools.locks.run import LockRun, Phase

__all__ = ["filter_for_exllamav3"]


def filter_for_exllamav3(  # noqa: C901 - one class, made where its base is known
    lock: CompiledLock,
    tokenizer: Any,  # noqa: ANN401 - exllamav3
    prompt_end: bytes = b"",
    base: type | None = None,
    limit: int | None = None,
) -> Any:  # noqa: ANN401 - exllamav3
    """A filter for one job.

    Args:
        lock: The compiled lock.
        tokenizer: The exllamav3 tokenizer of the job.
        prompt_end: Last bytes of the prompt, to see an opened thinking block.
        base: The class to derive from; exllamav3's own where None.
        limit: Most tokens that the reply may have; None where that is not known.
    """
    if base is None:
        from exllamav3.generator.filter import Filter

        base = Filter

    class LockFilter(base):  # type: ignore[misc, valid-type]
        """One reply under the lock."""

        def __init__(self) -> None:
            super().__init__(tokenizer, None, None, False)
            self.run = LockRun(lock, prompt_end, limit)
            self._free: Any = None

        @property
        def phase(self) -> Phase:
            """Where the reply stands."""
            return self.run.phase

        @property
        def closed(self) -> bool:
            """Whether the reply was brought to its end because its limit was near."""
            return self.run.closed

        @property
        def reason(self) -> str:
            """Why the reply is free although it should not be; empty where it is held."""
            return self.run.reason

        def reset(self) -> None:
            """Back to the start; exllamav3 then replays what it keeps."""
            self.run = LockRun(lock, prompt_end, limit)

        def accept_token(self, token: int) -> None:
            """Takes the token that was written."""
            self.run.feed(int(token))

        def is_completed(self) -> bool:
            """False: after a call the text is free again, and another may start."""
            return False

        def use_background_worker(self) -> bool:
            """True: the mask is computed while the GPU works."""
            return True

        def get_next_logit_mask(self) -> Any:  # noqa: ANN401 - torch.Tensor
            """0 or -inf a token, half precision, shape (1, padded vocabulary), on the CPU."""
            import torch

            mask = self.run.mask()
            if mask is None:
                if self._free is None:
                    self._free = torch.zeros((1, self.vocab_size), dtype=self.logits_dtype)
                return self._free
            bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[: lock.vocabulary.size]
            banned = np.ones(self.vocab_size, dtype=bool)
            width = min(len(bits), self.vocab_size)
            banned[:width] = bits[:width] == 0
            out = torch.zeros((1, self.vocab_size), dtype=self.logits_dtype)
            return out.masked_fill_(torch.from_numpy(banned).unsqueeze(0), float("-inf"))

    return LockFilter()
