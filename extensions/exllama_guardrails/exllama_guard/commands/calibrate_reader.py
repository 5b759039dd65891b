"""What `calibrate --reader` does: measures a model as a reader of statements, and prints what that shows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from exllama_guard.assembly import build_monitor
from exllama_guard.core.backend import Backend
from exllama_guard.errors import BackendError
from exllama_guard.second_reader import (
    Figure,
    LoadedReader,
    ReaderReport,
    assessed,
    known_statements,
    measure_reader,
)
from exllama_guard.settings import Settings

__all__ = ["measured", "reader_lines"]

_LLAMACPP = "@llamacpp"


def measured(model: str, embedder: str, rows: int) -> ReaderReport:
    """The model's report over the first `rows` shipped statements; progress goes to standard error.

    Raises:
        GuardError: The model cannot be opened or read.
    """
    monitor = build_monitor(Settings(traces=False, embedder=embedder))
    started_s = time.monotonic()
    with _opened(model) as (backend, fill):
        card = backend.card()
        reader = LoadedReader(card.name, backend, fill)
        found = measure_reader(
            known_statements()[:rows],
            reader,
            lambda question, document, answer: monitor.check_pasted(question, [document], answer),
            _say_progress,
        )
        return assessed(
            found,
            model=card.name,
            model_hash=card.model_hash if isinstance(card.model_hash, str) else "",
            loader=card.loader,
            prompt_tokens=reader.prompt_tokens,
            took_s=time.monotonic() - started_s,
        )


def reader_lines(report: ReaderReport) -> list[str]:
    """The report in plain lines: each score's AUROC with its interval, the gain, what follows."""
    per_row_ms = report.took_s / max(1, report.statements) * 1000
    return [
        f"{report.model} ({report.loader}), {report.statements} statements, "
        f"{report.prompt_tokens} prompt tokens, {report.took_s:.0f} s ({per_row_ms:.0f} ms a statement).",
        "score            AUROC  95 % interval  balanced accuracy",
        _line("support alone", report.support),
        _line("judge alone", report.judge),
        "contrast alone   not told by this loader"
        if report.contrast is None
        else _line("contrast alone", report.contrast),
        _line("all joined", report.joined),
        f"gain of all joined over support alone: {report.gain:+.3f} "
        f"({report.gain_low:+.3f} to {report.gain_high:+.3f})",
        report.sentence(),
    ]


def _line(name: str, figure: Figure) -> str:
    return f"{name:16} {figure.auroc:.3f}  {figure.low:.3f}–{figure.high:.3f}    {figure.balanced:.3f}"


def _say_progress(done: int, total: int) -> None:
    print(f"{done} of {total} statements read", file=sys.stderr, flush=True)


@contextmanager
def _opened(model: str) -> Iterator[tuple[Backend, Callable[[str], str]]]:
    """The model's adapter and its chat template: by transformers, or with @llamacpp by llama.cpp's server."""
    if model.endswith(_LLAMACPP):
        from exllama_guard.probes.modes import open_llama_server

        with open_llama_server(Path(model.removesuffix(_LLAMACPP)).expanduser()) as backend:
            yield backend, backend.filled
        return
    from exllama_guard.backends import filled_by
    from exllama_guard.standalone.direct_model import open_model

    direct = open_model(Path(model) if model else None, lambda text: print(text, file=sys.stderr))
    if not direct.backend.capabilities.next_logprobs:
        raise BackendError("This loader gives no log-probabilities, so the model cannot be asked.")
    yield direct.backend, filled_by(direct.kept.tokenizer)
