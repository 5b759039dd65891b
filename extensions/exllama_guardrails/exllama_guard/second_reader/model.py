"""The loaded model as one that is asked: its next tokens, its chat template, the right to read alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from exllama_guard.core.backend import Continuation
from exllama_guard.core.measures import FloatArray, NotScored
from exllama_guard.errors import Stopped

__all__ = ["LoadedReader", "NextTokens", "ReadingModel"]


class NextTokens(Protocol):
    """As much of a loader's adapter (core/backend.Backend) as a reading needs."""

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """Ids of `text` as a whole prompt."""
        ...

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids of `text`, without special tokens added."""
        ...

    def next_logprobs(self, ids: Sequence[int], wanted: Sequence[int]) -> FloatArray | NotScored:
        """Shape (len(wanted),): natural log of P(wanted token | ids)."""
        ...

    def continuation(self, ids: Sequence[int], start: int) -> Continuation | NotScored:
        """How likely the model finds ids[start:]."""
        ...


@dataclass(frozen=True, slots=True)
class ReadingModel:
    """A loaded model that can be asked. `model_hash` is "" where its files were not to be read."""

    name: str
    loader: str
    model_hash: str  # of its files, with the names of its LoRAs
    tokens: NextTokens
    fill: Callable[[str], str]  # puts a user's message into the chat template


class LoadedReader:
    """One model that reads, a prompt at a time; counts the tokens of its prompts. For one thread."""

    def __init__(
        self,
        name: str,
        tokens: NextTokens,
        fill: Callable[[str], str],
        alone: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(True),
    ) -> None:
        """`fill` puts a user's message into the chat template; `alone` gives the right of way for one prompt.

        Where `alone` gives False, somebody ended the reading.
        """
        self.name = name
        self._tokens, self._fill, self._alone = tokens, fill, alone
        self.prompt_tokens = 0  # read so far

    def prompt(self, message: str) -> str:
        """The message in the model's chat template."""
        return self._fill(message)

    def ids(self, text: str) -> tuple[int, ...]:
        """Ids of a piece of text."""
        return self._tokens.token_ids(text)

    def next_logprobs(self, prompt: str, wanted: Sequence[int]) -> FloatArray | NotScored:
        """Natural log of P(wanted token | prompt), shape (len(wanted),).

        Raises:
            BackendError: The model is gone or failed.
            Stopped: The reading was ended.
        """
        ids = self._tokens.prompt_ids(prompt)
        with self._alone() as entered:
            _go_on(entered)
            self.prompt_tokens += len(ids)
            return self._tokens.next_logprobs(ids, wanted)

    def continuation(self, prompt: str, ids: Sequence[int]) -> Continuation | NotScored:
        """How likely the model finds `ids` after the prompt.

        Raises:
            BackendError: The model is gone or failed.
            Stopped: The reading was ended.
        """
        before = self._tokens.prompt_ids(prompt)
        with self._alone() as entered:
            _go_on(entered)
            self.prompt_tokens += len(before) + len(ids)
            return self._tokens.continuation((*before, *ids), len(before))


def _go_on(entered: bool) -> None:
    if not entered:
        raise Stopped("Cancelled; nothing was kept.")
