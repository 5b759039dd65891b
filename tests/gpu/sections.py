"""The measurements that ExLlamaV2 and ExLlamaV3 share, each over an open `ExLlamaMode` and our adapter on it."""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gpu_record  # noqa: F401 - puts the extension on the path
import numpy as np
from exllama_guard.core.backend import Backend, CacheUsage
from exllama_guard.core.measures import NotScored
from exllama_guard.lifecycle.drift import measure_drift
from exllama_guard.lifecycle.fence import run_fence
from exllama_guard.lifecycle.kv_cache import Action
from exllama_guard.lifecycle.path import BackendPath, Turnstile
from exllama_guard.lifecycle.rotation import Rotation
from exllama_guard.lifecycle.warmup import Run
from exllama_guard.loaders import backend_for
from exllama_guard.probes.doctor.causality import check_causality
from exllama_guard.probes.doctor.detectors.files import loader_against_reference
from exllama_guard.probes.generation import Sampling
from exllama_guard.probes.measures.fixed_text import PLAIN_ENGLISH
from exllama_guard.probes.measures.logit_drift import logit_drift
from exllama_guard.probes.modes.exllama import ExLlamaMode
from exllama_guard.probes.modes.exllama_open import ExLlamaSpec
from gpu_record import EXTENSION, Record, options
from together import loaded_of

REFERENCE_TOKENS = 1024
CANARY_RUNS = 20
PREFILL_TOKENS = (512, 1024, 2048, 4096)
GROWN_TOKENS = (512, 1024, 2048, 4096, 8128)
PIECE_TOKENS = 64


@contextmanager
def opened(spec: ExLlamaSpec):
    """(mode, adapter); unloaded at the end."""
    mode = ExLlamaMode(spec)
    try:
        yield mode, backend_for(loaded_of(spec, mode.held))
    finally:
        mode.close()
        gc.collect()


def spec_of(given, library: str, folder: str, cache_type: str = "fp16", context: int = 4096, **more):
    return ExLlamaSpec(
        f"{folder} {cache_type}", given.models / folder, library, cache_type, context_tokens=context, **more
    )


def begun(purpose: str, library: str):
    """(arguments, record, maker of specs) of a run over one library."""
    given = options(purpose)
    return given, Record(library, given), partial(spec_of, given, library)


def measure(
    record: Record, name: str, section: Callable[..., None], spec: ExLlamaSpec, label: str, *more: Any
):
    """Runs one of the sections below as `name`; `label` is its row in the table."""
    record.run(name, lambda values: section(spec, values, record, label, *more))


class StreamPath:
    """A user's way to the model: the streaming generator with what its cache holds."""

    def __init__(self, mode: ExLlamaMode) -> None:
        self._mode, self._lock = mode, threading.Lock()

    def enter(self, wait_s: float) -> Turnstile | None:
        return Turnstile(self._lock) if self._lock.acquire(timeout=max(0.0, wait_s)) else None

    def run(self, prompt: str, n_tokens: int, cancel: threading.Event) -> Run:
        started_s, first_s, text, tokens = time.perf_counter(), 0.0, "", 0
        sampling = Sampling(0.0, 1.0, 0, n_tokens)
        for chunk, count in self._mode.stream(prompt, sampling, 0):
            first_s = first_s or time.perf_counter() - started_s
            text, tokens = text + chunk, tokens + count
            if cancel.is_set():
                break
        return Run(first_s, time.perf_counter() - started_s, tokens, text)


def prose() -> str:
    """Plain text of our own, some 20,000 tokens."""
    files = sorted((EXTENSION / "docs").glob("*.md")) + sorted((EXTENSION / "docs_example").glob("*.md"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.name != "gpu.md")


# --- reference ---------------------------------------------------------------------------------------------


def reference_logs(folder: Path, ids: Sequence[int]) -> np.ndarray:
    """What transformers computes in float32, shape (n - 1, vocabulary)."""
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False).logits[0, :-1]
        logs = torch.log_softmax(logits.float(), dim=-1).cpu().numpy()
    del model
    gc.collect()
    return logs


def one_pass(mode: ExLlamaMode, ids: Sequence[int]) -> np.ndarray:
    """What the mode computes when it reads all at once, shape (n - 1, vocabulary)."""
    import torch

    with torch.inference_mode():
        logits = mode._forward(torch.tensor([list(ids)]), 0)[0, :-1]
        logs = torch.log_softmax(logits.float(), dim=-1).cpu().numpy()
    mode._forget()
    return logs


def reference(spec: ExLlamaSpec, logs: np.ndarray | None, values: dict[str, Any]) -> tuple[Any, np.ndarray]:
    """The loader against transformers on the same ids, twice, and whether it reads ahead."""
    with opened(spec) as (mode, backend):
        ids = mode.token_ids(prose())[:REFERENCE_TOKENS]
        if logs is None:
            logs = reference_logs(spec.path, ids)
        first, second = one_pass(mode, ids), one_pass(mode, ids)
        drift, floor = logit_drift(logs, first, ids), logit_drift(first, second, ids)
        rows = np.arange(len(ids) - 1), np.asarray(ids[1:])
        values["tokens"] = len(ids)
        values["nll_transformers"] = float(-logs[rows].mean())
        values["nll_loader"] = float(-first[rows].mean())
        values["drift"], values["floor"] = drift, floor
        v5 = loader_against_reference(drift, floor)
        ahead = check_causality(_Reads(backend), backend.capabilities.loader)
        through = check_causality(mode, backend.capabilities.loader)
        values["V5_reference"] = [v5.verdict.value, v5.evidence]
        values["V5_causality_adapter"] = [ahead.verdict.value, ahead.evidence]
        values["V5_causality_cache"] = [through.verdict.value, through.evidence]
        return (v5, ahead, through), logs


class _Reads:
    """The adapter as what reads."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def token_ids(self, text: str) -> tuple[int, ...]:
        return self._backend.token_ids(text)

    def logprobs(self, ids: Sequence[int]):
        return self._backend.prompt_logprobs(ids)


# --- warm-up, canary ---------------------------------------------------------------------------------------


def warmup(spec: ExLlamaSpec, values: dict[str, Any], record: Record, name: str) -> None:
    """The fence through the adapter, then through a user's way; load it as the first thing of a process."""
    with opened(spec) as (mode, backend):
        card = backend.card()
        values["card"] = card
        cancel = threading.Event()
        report = run_fence(BackendPath(backend), backend.count_tokens, limit_s=60, cancel=cancel)
        values["fence"] = report
        again = run_fence(StreamPath(mode), backend.count_tokens, limit_s=60, cancel=cancel)
        values["fence_by_the_generator"] = again
        record.row(
            name,
            f"first token {_ms(report.cold_ttft_s)} cold, {_ms(report.warm_ttft_s)} warm, EX1 ratio "
            f"{_number(report.first_run_ratio)}, {len(report.runs)} runs, {report.state.value}, "
            f"{_number(report.tokens_per_s)} tokens/s, own cost {report.own_cost_s * 1e3:.1f} ms",
        )


def canary(spec: ExLlamaSpec, values: dict[str, Any], record: Record, name: str) -> None:
    """The same greedy text 20 times: at once, with other prompts between, and after a reload."""
    prompt, other = "The capital of France is", prose()[:3000]
    texts: dict[str, list[str]] = {"adapter": [], "generator": [], "reloaded": []}
    with opened(spec) as (mode, backend):
        path, cancel = StreamPath(mode), threading.Event()
        for number in range(CANARY_RUNS):
            texts["adapter"].append(backend.greedy(prompt, 24).text)
            texts["generator"].append(path.run(prompt, 24, cancel).text)
            path.run(other[number * 40 :], 8, cancel)
        finite = backend.greedy(prompt, 24).finite
        ids = mode.token_ids(PLAIN_ENGLISH)[:160]
        values["floor_one_pass"] = logit_drift(one_pass(mode, ids), one_pass(mode, ids), ids)
        floor = logit_drift(mode.distributions(ids), mode.distributions(ids), ids)
        values["floor_token_by_token"] = floor
    for _ in range(2):
        with opened(spec) as (_, backend):
            texts["reloaded"].append(backend.greedy(prompt, 24).text)
    counts = {key: len(set(found)) for key, found in texts.items()}
    values["texts"] = {key: sorted(set(found)) for key, found in texts.items()}
    values["different_texts"], values["finite"] = counts, finite
    values["same_by_both_ways"] = texts["adapter"][0] == texts["generator"][0]
    values["same_after_reload"] = set(texts["reloaded"]) == {texts["adapter"][0]}
    record.row(
        name,
        f"{CANARY_RUNS} runs: {counts['adapter']} text by the adapter, {counts['generator']} by the generator; "
        f"same by both: {values['same_by_both_ways']}; same after reload: {values['same_after_reload']}; KL of two readings {floor.kl:.2g} nats",
    )


# --- cache -------------------------------------------------------------------------------------------------


def rotation(spec: ExLlamaSpec, values: dict[str, Any], record: Record, name: str) -> None:
    """Turns of a growing chat until the count resets the cache; what each prompt costs before and after."""
    cancel, text = threading.Event(), prose()
    with opened(spec) as (mode, backend):
        path, rotating = StreamPath(mode), Rotation()
        chat, turns, place, done = "", [], 0, None
        for turn in range(60):
            chat = (chat + text[place : place + 1200])[-9000:]
            place += 1200
            run = path.run(chat, 16, cancel)
            tokens = rotating.count(backend, chat, run.text, run.ttft_s)
            usage = backend.cache_usage()
            turns.append({"tokens": tokens, "ttft_ms": run.ttft_s * 1e3, "used": _used(usage)})
            chat += run.text
            done = rotating.rotate(backend, path, limit_tokens=8192, enabled=True)
            if done is not None and done.decision.action is Action.RESET:
                break
        values["turns"] = turns
        values["rotated"] = None if done is None else {"says": done.sentence(), "failure": done.failure}
        values["used_after"] = _used(backend.cache_usage())
        before = path.run(chat, 16, cancel)
        reused = path.run(chat, 16, cancel)
        backend.reset_cache()
        after = path.run(chat, 16, cancel)
        values["same_text_after_reset"] = before.text == reused.text == after.text
        values["ttft_ms"] = {
            "after the reset": before.ttft_s * 1e3,
            "prefix reused": reused.ttft_s * 1e3,
            "after another reset": after.ttft_s * 1e3,
        }
        values["counting_ms_a_reply"] = rotating.counting_s / max(1, rotating.replies) * 1e3
        record.row(
            name,
            f"reset after {turns[-1]['tokens']} tokens in {len(turns)} turns, {values['used_after']} left; prompt of "
            f"{backend.count_tokens(chat)} tokens: {reused.ttft_s * 1e3:.1f} ms reused, {after.ttft_s * 1e3:.1f} ms "
            f"after a reset; same text: {values['same_text_after_reset']}",
        )


def prefill(spec: ExLlamaSpec, values: dict[str, Any], record: Record, name: str) -> None:
    """Time to first token of a prompt of each length, cache empty and cache holding all but the last token."""
    cancel = threading.Event()
    with opened(spec) as (mode, backend):
        path, text = StreamPath(mode), prose()
        ids = mode.token_ids(text)
        path.run(text[:4000], 4, cancel)
        rows = {}
        for count in PREFILL_TOKENS:
            prompt = mode.held.tokenizer.decode(_tensor(mode, ids[:count]))
            prompt = prompt[0] if isinstance(prompt, list) else str(prompt)
            cold, warm = [], []
            for _ in range(5):
                backend.reset_cache()
                cold.append(path.run(prompt, 2, cancel).ttft_s * 1e3)
                warm.append(path.run(prompt, 2, cancel).ttft_s * 1e3)
            rows[count] = {"cold_ms": statistics.median(cold), "reused_ms": statistics.median(warm)}
        values["prefill"] = rows
        record.row(
            name,
            ", ".join(f"{n}: {row['cold_ms']:.1f} / {row['reused_ms']:.1f} ms" for n, row in rows.items())
            + " (cache empty / reused)",
        )


def drift(spec: ExLlamaSpec, values: dict[str, Any], record: Record, name: str, up_to: int = 8192) -> None:
    """Drift as the panel measures it, and a chat's cache grown piece by piece beside one read at once."""
    with opened(spec) as (mode, backend):
        report = measure_drift(StreamPath(mode), backend, up_to)
        values["report"] = report
        values["says"] = report.sentences()
        grown = _grown(mode, [n for n in GROWN_TOKENS if n <= up_to])
        values["grown"] = grown
        worst = max((row["kl"] for row in grown), default=float("nan"))
        record.row(
            name,
            f"numeric drift up to {report.tested_tokens}: {_none(report.numeric_at_tokens)}, floor "
            f"{_number(report.floor)}; cache grown in pieces against read at once: KL up to {worst:.2g} nats, "
            f"same next token in {sum(row['same'] for row in grown)} of {len(grown)}",
        )


def _grown(mode: ExLlamaMode, lengths: Sequence[int]) -> list[dict[str, Any]]:
    import torch

    ids = mode.token_ids(prose())
    rows = []
    for length in (n for n in lengths if n < min(len(ids), mode.held.max_tokens)):
        logs = []
        for step in (PIECE_TOKENS, length):
            mode._forget()
            with torch.inference_mode():
                for start in range(0, length - 1, step):
                    mode._forward(torch.tensor([list(ids[start : min(start + step, length - 1)])]), start)
                last = mode._forward(torch.tensor([[ids[length - 1]]]), length - 1)[0]
            logs.append(torch.log_softmax(last.float(), dim=-1).cpu().numpy())
        found = logit_drift(logs[1], logs[0], ids[length - 1 : length + 1])
        if not isinstance(found, NotScored):
            rows.append({"tokens": length, "kl": found.kl, "same": bool(found.top1 == 1.0)})
    mode._forget()
    return rows


# --- small -------------------------------------------------------------------------------------------------


def _tensor(mode: ExLlamaMode, ids: Sequence[int]):
    import torch

    made = torch.tensor(list(ids))
    return made[None] if mode.spec.library == "exllamav2" else made


def _used(usage: CacheUsage | NotScored) -> int | str:
    return str(usage) if isinstance(usage, NotScored) else usage.used_tokens


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median, 5th and 95th percentile and count; None for fewer than two values."""
    if len(values) < 2:
        return None
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"median": statistics.median(values), "p5": cuts[0], "p95": cuts[-1], "n": len(values)}


def _ms(value: object) -> str:
    return f"{value * 1e3:.1f} ms" if isinstance(value, float) else str(value)


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, (float, int)) else str(value)


def _none(value: object) -> str:
    return "none" if value is None else str(value)
