"""Takes the canary of a model that was warmed up, keeps it across restarts, and says what changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from exllama_guard.backends import library_versions, surroundings
from exllama_guard.core.backend import ModelCard
from exllama_guard.errors import BackendError
from exllama_guard.lifecycle.canary import Canary, CanaryFinding, CanaryStore, compare, digest_of, recipe_of
from exllama_guard.lifecycle.fence import FenceReport
from exllama_guard.lifecycle.path import GenerationPath, alone
from exllama_guard.lifecycle.warmup import PROBE_TOKENS

__all__ = ["CanaryKeeper"]

REPEATS = 2  # further runs of the same prompt before a changed text counts as a finding

_VARIANTS = 16  # texts of one model and prompt that are remembered, the newest first
_BUSY_S = 5.0  # longest wait for the right to repeat the canary


class CanaryKeeper:
    """Compares each load's canary with the one before it; without a store every canary is the first."""

    def __init__(self, store: CanaryStore | None, path: GenerationPath) -> None:
        """Keeps canaries in `store`; one that differs is repeated through `path`."""
        self._store, self._path = store, path

    def compare(
        self,
        card: ModelCard,
        report: FenceReport,
        options: Mapping[str, str] | None = None,
        cancel: threading.Event | None = None,
    ) -> CanaryFinding | None:
        """The finding; None where the warm-up gave no digest or the model's files have no hash.

        A text that differs is written anew REPEATS times before it is believed: a model that does not
        repeat itself within one load tells nothing by a different text in the next. Every text that it
        wrote after this prompt is remembered, so that none of them is a change on a later load.

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
            options={**surroundings(), **(options or {})},
            recipe=recipe_of(report.canary_prompt, PROBE_TOKENS, self._path.settings()),
            at_s=time.time(),
        )
        if self._store is None:
            return compare(None, now)
        before = self._store.before(now.model_hash, now.loader, now.loras)
        finding = compare(before, now)
        seen = [report.runs[0].text] if report.runs else []  # the same prompt, cold
        if finding.same is False:
            repeats = self._repeated(report.canary_prompt, cancel or threading.Event())
            finding = compare(before, now, repeats)
            seen += repeats
        digests = [digest_of([text]) for text in seen]
        if before is not None and before.recipe == now.recipe and finding.same is not False:
            digests += [before.digest, *before.variants]
        variants = tuple(dict.fromkeys(digest for digest in digests if digest != now.digest))
        self._store.keep(replace(now, variants=variants[:_VARIANTS]))
        return finding

    def _repeated(self, prompt: str, cancel: threading.Event) -> tuple[str, ...]:
        """What the model writes after `prompt` now, REPEATS times; fewer where it is busy or gone."""
        texts: list[str] = []
        with alone(self._path, _BUSY_S) as entered:
            try:
                while entered and len(texts) < REPEATS and not cancel.is_set():
                    texts.append(self._path.run(prompt, PROBE_TOKENS, cancel).text)
            except BackendError:
                pass  # it went away, or Stop was pressed: what came before counts
        return tuple(texts if not cancel.is_set() else texts[:-1])
