"""A scripted writer and a scripted mode, for tests of probes without a model."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from exllama_guard.core.measures import FloatArray, NotScored
from exllama_guard.errors import BackendError
from exllama_guard.probes.generation import Generation, Sampling
from exllama_guard.probes.measures.comparison import ItemRun, ModeRun
from exllama_guard.probes.measures.logit_drift import LogitDrift
from exllama_guard.probes.measures.stability import Answer, LambdaReport, judge_runs

VOCABULARY = 32
EVIL = '<script>alert("x")</script> | **b** "q"'


def judged() -> LambdaReport:
    """Six runs that agree on a text that must be escaped wherever it is shown."""
    runs = [Answer(i // 2, i % 2, EVIL, cluster=0, cited=frozenset({"s1"})) for i in range(6)]
    return judge_runs(runs, citations_wanted=True)


def mode_run(label: str, by: float = 0.0, problem: str = "") -> ModeRun:
    """Six items of a mode whose ΔS is `by` above the reference's; one with a problem has none."""
    items = tuple(
        ItemRun(f"q{i}", EVIL, 0.3 + by + 0.001 * i, 1.0 + i, 10, True, False)
        for i in range(0 if problem else 6)
    )
    same = LogitDrift(0.0, 0.0, 0.0, 1.0, 50)
    probes = {"q0": judged()} if items else {}
    return ModeRun(label, "weights", 8.0, items, same, same, (3, 3), probes, problem=problem)


class ScriptedMode:
    """Writes what `script(text, seed)` says; its distributions are those of a seeded table plus noise."""

    def __init__(
        self,
        script: Callable[[str, int], str],
        name: str = "scripted",
        noise: float = 0.0,
        fails_after: int | None = None,
        token_s: float = 0.01,
        tokenizer: str | NotScored = "1" * 64,
    ) -> None:
        self.script, self.name, self.noise = script, name, noise
        self.fails_after, self.token_s, self.tokenizer = fails_after, token_s, tokenizer
        self.calls: list[tuple[str, int]] = []
        self.closed = False
        self.timed = True

    @property
    def id(self) -> str:
        return self.name

    @property
    def tokenizer_hash(self) -> str | NotScored:
        return self.tokenizer

    def write(self, text: str, sampling: Sampling, seed: int, cancel: threading.Event) -> Generation:
        if self.fails_after is not None and len(self.calls) >= self.fails_after:
            raise BackendError(f"{self.name} was unloaded; load a model on the Model page.")
        self.calls.append((text, seed))
        answer = self.script(text, seed)
        tokens = len(answer.split())
        return Generation(answer, tokens, self.token_s, self.token_s * tokens, cancel.is_set())

    def token_ids(self, text: str) -> tuple[int, ...]:
        return tuple(zlib.crc32(word.encode()) % VOCABULARY for word in text.split())

    def distributions(self, ids: Sequence[int]) -> FloatArray:
        draw = np.random.default_rng(7)
        logits = draw.normal(0, 2, (len(ids) - 1, VOCABULARY))
        if self.noise:
            logits += np.random.default_rng(zlib.crc32(self.name.encode())).normal(
                0, self.noise, logits.shape
            )
        return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)

    def close(self) -> None:
        self.closed = True
