"""`check`: the report of a question, snippets and an answer, from any program, without a host or a model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exllama_guard.core.snippets import Snippet
    from exllama_guard.core.turns import TurnReport
    from exllama_guard.monitor import Monitor
    from exllama_guard.settings import Settings

__all__ = ["check"]


def check(
    question: str,
    snippets: Sequence[str | Snippet],
    answer: str,
    *,
    settings: Settings | None = None,
    anchor: str | Snippet | None = None,
) -> TurnReport:
    """The report of `answer`: verdict, support of each statement, ΔS, coverage, relevance.

    The first call loads the embedder, some seconds; a later one takes a few hundredths of one. Thread-safe.

    Args:
        question: What was asked.
        snippets: The retrieved passages, best first: texts, which get the ids s1, s2, ..., or `Snippet`s.
        answer: The answer as text.
        settings: Limits and models; the defaults where none are given. Traces are not written.
        anchor: The passage that the answer must rest on, where it is known.

    Raises:
        ScoringError: A fault of ours; it is logged with its traceback.
    """
    from exllama_guard.core.snippets import with_unique_ids
    from exllama_guard.core.turns import Channel, TurnRequest

    request = TurnRequest(
        turn_id=f"check-{time.time_ns()}",
        question=question,
        snippets=with_unique_ids(_snippet(given, index) for index, given in enumerate(snippets)),
        anchor=None if anchor is None else _snippet(anchor, len(snippets)),
        channel=Channel.HEADLESS,
        started_at_s=time.time(),
    )
    return _monitor(settings).measure(request, answer)


def _snippet(given: str | Snippet, position: int) -> Snippet:
    from exllama_guard.core.snippets import make_snippet

    return make_snippet(given, position=position) if isinstance(given, str) else given


@lru_cache(maxsize=4)
def _monitor(settings: Settings | None) -> Monitor:
    """One for each settings, because it holds the loaded embedder."""
    from dataclasses import replace

    from exllama_guard.assembly import build_monitor
    from exllama_guard.settings import Settings

    return build_monitor(replace(settings or Settings(), traces=False, knowledge_folder=""))
