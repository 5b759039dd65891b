"""Takes the canary of a model that was warmed up, keeps it across restarts, and says what changed."""

from __future__ import annotations

import time

from exllama_guard.backends.loaded import library_versions
from exllama_guard.core.backend import ModelCard
from exllama_guard.core.canary import Canary, CanaryFinding, CanaryStore, compare
from exllama_guard.lifecycle.fence import FenceReport

__all__ = ["CanaryKeeper"]


class CanaryKeeper:
    """Compares each load's canary with the one before it; without a store every canary is the first."""

    def __init__(self, store: CanaryStore | None) -> None:
        """Keeps canaries in `store`."""
        self._store = store

    def compare(self, card: ModelCard, report: FenceReport) -> CanaryFinding | None:
        """The finding; None where the warm-up gave no digest or the model's files have no hash.

        Raises:
            TraceError: The store cannot be read or written.
        """
        if report.digest is None or not isinstance(card.model_hash, str):
            return None
        now = Canary(
            model_hash=card.model_hash,
            loader=card.loader,
            digest=report.digest,
            text=report.canary_text,
            cache_type=card.cache_type,
            shard_hash=card.shard_hash,
            context_tokens=card.context_tokens,
            loras=card.loras,
            versions=library_versions(),
            at_s=time.time(),
        )
        if self._store is None:
            return compare(None, now)
        before = self._store.before(now.model_hash, now.loader, now.loras)
        self._store.keep(now)
        return compare(before, now)
