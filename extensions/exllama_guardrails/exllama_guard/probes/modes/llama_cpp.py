"""One mode of a GGUF, opened by llama.cpp's own server: its kernels, its types of KV cache."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from exllama_guard.backends import (
    LlamaCppBackend,
    LoadedModel,
    LoadSettings,
    model_hash,
    reference,
    start_ids,
    tokenizer_hash,
)
from exllama_guard.core.backend import not_possible
from exllama_guard.core.measures import FloatArray, NotScored
from exllama_guard.errors import BackendError
from exllama_guard.probes.generation import Generation, Sampling

__all__ = ["CACHES", "SERVER", "LlamaMode", "LlamaSpec", "open_llama_server", "server_path"]

CACHES = ("f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
SERVER = "LLAMA_SERVER"  # environment variable: path of a llama-server that is not on PATH
_CONTEXT_TOKENS = 4096
_START_S = 300.0  # a large file on a slow disk


@dataclass(frozen=True, slots=True)
class LlamaSpec:
    """A GGUF and the type of its KV cache."""

    label: str
    path: Path
    cache: str = "f16"


@dataclass(eq=False)
class _Server:
    """A running server, with the field that the adapter reads."""

    port: int
    process: subprocess.Popen[bytes]


class LlamaMode:
    """A server that runs: writes with a seed. It tells no whole distributions. One call at a time."""

    timed = True  # the library's own kernels

    def __init__(self, spec: LlamaSpec) -> None:
        """Starts the server.

        Raises:
            BackendError: There is none, or it does not start; the message says why.
        """
        self.spec = spec
        hash_ = model_hash(spec.path)
        self._hash = "unknown" if isinstance(hash_, NotScored) else hash_
        self._server: _Server | None = _start(spec)
        self.backend = LlamaCppBackend(
            LoadedModel(
                spec.path.name,
                "llama.cpp",
                reference(self._server),
                lambda: None,
                spec.path,
                LoadSettings(cache_type=spec.cache, context_tokens=_CONTEXT_TOKENS),
            )
        )

    @property
    def id(self) -> str:
        """Cache type, the model's hash and the loader."""
        return f"{self.spec.cache}|{self._hash}|llama.cpp"

    @property
    def tokenizer_hash(self) -> str | NotScored:
        """Of the file, which holds the tokenizer."""
        return tokenizer_hash(self.spec.path)

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added."""
        return self.backend.token_ids(text)

    def write(self, text: str, sampling: Sampling, seed: int, cancel: threading.Event) -> Generation:
        """The reply in the model's chat template."""
        drawn = not sampling.deterministic
        fields = {
            "temperature": sampling.temperature if drawn else 0.0,
            "top_p": sampling.top_p if drawn else 1.0,
            "top_k": sampling.top_k if drawn else 1,
            "min_p": 0.0,
            "seed": seed,
        }
        made = self.backend.complete(self.backend.filled(text), sampling.max_tokens, fields, cancel)
        return Generation(made.text, len(made.ids), made.ttft_s, made.elapsed_s, cancel.is_set())

    def logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """As the server tells them, which only some builds do."""
        return self.backend.prompt_logprobs(ids)

    def distributions(self, ids: Sequence[int]) -> NotScored:
        """Not offered: the server tells the likeliest tokens of a reply, not a prompt's distributions."""
        return not_possible("llama.cpp", "whole distributions of a prompt")

    def opening_ids(self) -> tuple[int, ...]:
        """What its files say stands before a text (BOS)."""
        return start_ids(self.spec.path)

    def inside(self) -> None:
        """Not reachable: its layers are the library's own."""

    def filled(self) -> tuple[str, ...]:
        """Not told by this library."""
        return ()

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else uses it."""
        return nullcontext()

    def close(self) -> None:
        """Ends the server."""
        server, self._server = self._server, None
        if server is not None:
            _end(server.process)


@contextmanager
def open_llama_server(path: Path) -> Iterator[LlamaCppBackend]:
    """The adapter of a server that runs with this GGUF, which ends with the block.

    Raises:
        BackendError: There is none, or it does not start.
    """
    mode = LlamaMode(LlamaSpec(path.stem, path))
    try:
        yield mode.backend
    finally:
        mode.close()


def server_path() -> str:
    """Path of a llama-server.

    Raises:
        BackendError: There is none.
    """
    named = os.environ.get(SERVER) or shutil.which("llama-server")
    if not named or not Path(named).is_file():
        raise BackendError(
            f"There is no llama-server ({named or 'not on PATH'}); install llama.cpp, or name it in {SERVER}."
        )
    return named


def _start(spec: LlamaSpec) -> _Server:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [server_path(), "--model", str(spec.path), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--ctx-size", str(_CONTEXT_TOKENS), "--parallel", "1", "--no-webui"]
    if spec.cache != "f16":  # a quantised V cache needs flash attention
        command += ["--cache-type-k", spec.cache, "--cache-type-v", spec.cache, "--flash-attn", "on"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
        try:
            _wait(process, port)
        except BackendError as error:
            _end(process)
            log.seek(0)
            said = [line for line in log.read().decode("utf-8", "replace").splitlines() if "rror" in line]
            raise BackendError(f"{spec.label}: {error} {' '.join(said[-2:])[:300]}".strip()) from error
    return _Server(port, process)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Returns once the server answers.

    Raises:
        BackendError: It ended, or took too long.
    """
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        if process.poll() is not None:
            raise BackendError(f"llama-server ended with {process.returncode}.")
        if _answers(port):
            return
        time.sleep(0.1)
    raise BackendError(f"llama-server did not answer within {_START_S:g} s.")


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, or 503 while it loads (urllib's errors are OSErrors)
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
