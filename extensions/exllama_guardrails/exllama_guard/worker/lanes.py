"""What is said of a piece of work beside its task: whom it waits for, and what must have been done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Lane", "Need"]


class Lane(str, Enum):
    """Pieces of one lane wait for each other, in their order.

    A question is on the path of a reply; the documents can wait.
    """

    QUESTION = "question"
    SCORE = "score"
    DOCUMENTS = "documents"


@dataclass(frozen=True, slots=True)
class Need:
    """A task that each process does once before others, such as loading a model; it has longer to do it."""

    task: str
    arguments: tuple[str, ...]
