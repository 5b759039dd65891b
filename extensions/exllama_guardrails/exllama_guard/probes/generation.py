"""What a probe asks of whatever generates: one text for one prompt, with a seed, stoppable."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from exllama_guard.core.snippets import Snippet

__all__ = ["DRAWN", "GREEDY", "Sampling", "TextGenerator", "Generation", "prompt_for"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy; top_k 0 and top_p 1 leave every token in."""

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 0
    max_tokens: int = 96

    @property
    def deterministic(self) -> bool:
        """True when nothing is drawn, so that a seed changes nothing."""
        return self.temperature <= 0.0 or self.top_k == 1


DRAWN = Sampling()
GREEDY = Sampling(temperature=0.0, top_p=1.0)


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation. `tokens` is 0 where the loader does not tell; `stopped`: it was cancelled half way."""

    text: str
    tokens: int
    ttft_s: float
    elapsed_s: float
    stopped: bool = False


class TextGenerator(Protocol):
    """One loaded model that writes. One call at a time."""

    @property
    def id(self) -> str:
        """Model, mode and loader: runs of another id are never taken for runs of this one."""
        ...

    def write(self, text: str, sampling: Sampling, seed: int, cancel: threading.Event) -> Generation:
        """The reply to `text` as a user's message, in the model's own template.

        Raises:
            BackendError: The model is gone or failed.
        """
        ...


def prompt_for(question: str, snippets: Sequence[Snippet]) -> str:
    """A probe's message: passages with their ids, then the question; without passages the question."""
    if not snippets:
        return question
    passages = "\n\n".join(f"[{snippet.snippet_id}] {snippet.text.strip()}" for snippet in snippets)
    return (
        "Answer from these passages only, in one or two sentences, and name the passage that you use "
        f"in square brackets, like [{snippets[0].snippet_id}].\n\n{passages}\n\nQuestion: {question}"
    )
