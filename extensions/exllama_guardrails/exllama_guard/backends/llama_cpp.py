"""Adapter for llama.cpp's server process: everything goes over its HTTP interface."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from exllama_guard.backends.adapter import Adapter, card_from_files, required
from exllama_guard.core.backend import CacheUsage, Capabilities, Greedy, ModelCard, not_possible
from exllama_guard.core.measures import FloatArray, NotScored, Reason
from exllama_guard.errors import BackendError

__all__ = ["LlamaCppBackend"]

_TIMEOUT_S = 20.0  # of a request that generates nothing
_IDLE_S = 2.0  # for a request that was just broken off
_POLL_S = 0.05
_LIKELIEST = 256  # tokens whose log-probability is asked for: beyond lies less than 1 in 1000 as a rule
_STALL_S = 120.0  # without a token; symptom EX5: a canary that takes longer counts as stuck


class LlamaCppBackend(Adapter):
    """A model with a `port`; the server listens on this machine only."""

    @property
    def capabilities(self) -> Capabilities:
        """Slots can be read and erased; logits stay in the other process."""
        return Capabilities(
            loader=self.loaded.loader,
            greedy=True,
            prompt_logprobs=True,
            next_logprobs=True,
            cache_usage=True,
            cache_reset=True,
            parallel=self.loaded.settings.parallel > 1,
            reuse_tokens=1,
            notes=(
                "A seed is part of each request to llama.cpp's server.",
                "Log-probabilities of a prompt and the reading and erasing of slots depend on the server's "
                "build and flags; where it refuses, that is said.",
            ),
        )

    def card(self) -> ModelCard:
        """From the file and the server's /props."""
        properties = self._object("GET", "/props")
        context = (properties.get("default_generation_settings") or {}).get("n_ctx")
        card = card_from_files(
            self.loaded,
            cache_type=self.loaded.settings.cache_type or "fp16",
            context_tokens=context if isinstance(context, int) else self.loaded.settings.context_tokens,
            chat_template=bool(properties.get("chat_template")),
        )
        return replace(card, name=self.loaded.name)

    def token_ids(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        """Ids by /tokenize, without special tokens added unless `special`."""
        answer = self._object("POST", "/tokenize", {"content": text, "add_special": special})
        tokens = answer.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise self._garbage("/tokenize", answer)
        return tuple(tokens)

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """Ids behind the model's own first token, by /tokenize; a text that brings it along has it once."""
        whole = self.token_ids(text, special=True)
        return whole[1:] if len(whole) > 1 and whole[0] == whole[1] else whole

    def greedy(self, prompt: str, n_tokens: int, cancel: threading.Event | None = None) -> Greedy:
        """A streamed completion at temperature 0 that reuses nothing of the cache."""
        return self.complete(prompt, n_tokens, {"temperature": 0.0, "top_k": 1}, cancel)

    def complete(
        self,
        prompt: str,
        n_tokens: int,
        sampling: Mapping[str, object],
        cancel: threading.Event | None = None,
    ) -> Greedy:
        """A streamed completion with the server's own `sampling` fields, reusing nothing of the cache.

        Raises:
            BackendError: `n_tokens` < 1, an empty prompt, or the server is gone.
        """
        required(self.token_ids(prompt), n_tokens)
        request = {
            **sampling,
            "prompt": prompt,
            "n_predict": n_tokens,
            "cache_prompt": False,
            "stream": True,
            "return_tokens": True,
        }
        started_s = time.perf_counter()
        text, ids, first_s = "", list[int](), 0.0
        for event in self._events("/completion", request, cancel):
            first_s = first_s or time.perf_counter() - started_s
            text += str(event.get("content") or "")
            ids += [token for token in event.get("tokens") or () if isinstance(token, int)]
        return Greedy(text, tuple(ids), first_s, time.perf_counter() - started_s)

    def filled(self, text: str) -> str:
        """`text` as a user's message in the model's own chat template.

        Raises:
            BackendError: The server has no such thing, or the template cannot be filled.
        """
        answer = self._object("POST", "/apply-template", {"messages": [{"role": "user", "content": text}]})
        prompt = answer.get("prompt")
        if not isinstance(prompt, str):
            raise self._garbage("/apply-template", answer)
        return prompt

    def prompt_logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """By the server's `prompt_logprobs`, which only some builds have."""
        request = {
            "prompt": list(ids),
            "n_predict": 0,
            "n_probs": 1,
            "prompt_logprobs": True,
            "cache_prompt": False,
        }
        answer = self._object("POST", "/completion", request, timeout_s=_STALL_S)
        entries = answer.get("prompt_probabilities")
        if not entries:
            return not_possible(
                self.loaded.loader, "log-probabilities of a prompt in this build of the server"
            )
        values = [entry.get("logprob") for entry in entries if isinstance(entry, dict)]
        if len(values) != len(ids) - 1 or not all(isinstance(value, (int, float)) for value in values):
            return NotScored(
                Reason.FAILED,
                f"{len(values)} log-probabilities came for {len(ids)} tokens; {len(ids) - 1} fit",
            )
        return np.minimum(np.asarray(values, dtype=np.float32), 0.0)

    def next_logprobs(self, ids: Sequence[int], wanted: Sequence[int]) -> FloatArray | NotScored:
        """Among the server's likeliest; read in its last slot, so that with several a chat keeps its own."""
        request = {
            "prompt": list(ids),
            "n_predict": 1,
            "n_probs": _LIKELIEST,
            "temperature": 1.0,
            "cache_prompt": True,
            "stream": False,
            **self._aside(),
        }
        answer = self._object("POST", "/completion", request, timeout_s=_STALL_S)
        told = _likeliest(answer)
        if not told:
            return not_possible(
                self.loaded.loader, "log-probabilities of the next token in this build of the server"
            )
        least = min(told.values())
        values = [told.get(token, least) for token in wanted]
        return np.minimum(np.asarray(values, dtype=np.float32), np.float32(0))

    def _aside(self) -> dict[str, int]:
        """The slot for readings: the last of several, else what the server chooses."""
        parallel = self.loaded.settings.parallel
        return {"id_slot": parallel - 1} if parallel > 1 else {}

    def cache_usage(self) -> CacheUsage | NotScored:
        """Tokens held in all slots, by /slots."""
        slots = self._slots()
        if isinstance(slots, NotScored):
            return slots
        sizes = [size for slot in slots if isinstance(size := slot.get("n_ctx"), int)]
        return CacheUsage(sum(map(_held_tokens, slots)), sum(sizes) if len(sizes) == len(slots) else None)

    def reset_cache(self) -> None:
        """Erases every slot; a server that refuses (no `--slot-save-path`) gets a one-token prompt instead.

        Raises:
            BackendError: A slot is busy.
        """
        for slot in self._idle_slots():
            number = int(slot.get("id", 0))
            status, _ = self._request("POST", f"/slots/{number}?action=erase", {}, _TIMEOUT_S)
            if status != 200:
                self._object("POST", "/completion", _overwriting(number), timeout_s=_STALL_S)

    # --- HTTP -----------------------------------------------------------------------------------------------

    def _idle_slots(self) -> list[dict[str, Any]]:
        """All slots; waits a moment, because a request whose client left runs on until its next token.

        Raises:
            BackendError: One stays busy, or the server shows no slots.
        """
        until_s = time.monotonic() + _IDLE_S
        while True:
            slots = self._slots()
            if isinstance(slots, NotScored):
                raise BackendError(f"The cache of llama.cpp's server cannot be reset: {slots}.")
            busy = sum(bool(slot.get("is_processing")) for slot in slots)
            if not busy:
                return slots
            if time.monotonic() >= until_s:
                raise BackendError(f"{busy} slots are busy and 0 may be; wait until the answers are written.")
            time.sleep(_POLL_S)

    def _slots(self) -> list[dict[str, Any]] | NotScored:
        status, body = self._request("GET", "/slots", None, _TIMEOUT_S)
        if status != 200:
            return NotScored(
                Reason.NOT_SUPPORTED, f"the server answers {status} to /slots; start it with --slots"
            )
        slots = _parsed(body)
        if not isinstance(slots, list) or not all(isinstance(slot, dict) for slot in slots):
            raise self._garbage("/slots", body)
        return slots

    def _object(
        self, method: str, path: str, payload: object = None, timeout_s: float = _TIMEOUT_S
    ) -> dict[str, Any]:
        status, body = self._request(method, path, payload, timeout_s)
        answer = _parsed(body)
        if status != 200:
            said = (answer.get("error") or {}).get("message") if isinstance(answer, dict) else None
            raise BackendError(
                f"llama.cpp's server answered {status} to {path}: {said or body[:120]!r}. "
                "Reload the model; if it goes on, look at the server's log."
            )
        if not isinstance(answer, dict):
            raise self._garbage(path, body)
        return answer

    def _request(self, method: str, path: str, payload: object, timeout_s: float) -> tuple[int, str]:
        connection = self._connection(timeout_s)
        try:
            body = None if payload is None else json.dumps(payload)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from error
        finally:
            connection.close()

    def _events(self, path: str, payload: object, cancel: threading.Event | None) -> Iterator[dict[str, Any]]:
        """The events of a streamed answer; closing the connection makes the server stop."""
        connection = self._connection(_STALL_S)
        try:
            connection.request("POST", path, json.dumps(payload), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise self._garbage(path, response.read(300))
            for line in response:
                if cancel is not None and cancel.is_set():
                    return
                event = self._event(path, line)
                if event is None:
                    continue
                yield event
                if event.get("stop"):
                    return
            raise ConnectionError("the answer broke off")
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from error
        finally:
            connection.close()

    def _event(self, path: str, line: bytes) -> dict[str, Any] | None:
        if not line.startswith(b"data: "):
            return None
        event = _parsed(line[6:].decode("utf-8", "replace"))
        if not isinstance(event, dict):
            raise self._garbage(path, line)
        return event

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        port = getattr(self.loaded.alive(), "port", None)
        if not isinstance(port, int):
            raise BackendError("llama.cpp's server has no port yet; wait until the model is loaded.")
        return http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def _gone(self, error: Exception) -> BackendError:
        if isinstance(error, socket.timeout | TimeoutError):
            return BackendError("llama.cpp's server does not answer in time; reload the model.")
        return BackendError(
            f"llama.cpp's server does not answer ({type(error).__name__}); its process may have ended. "
            "Reload the model."
        )

    def _garbage(self, path: str, answer: object) -> BackendError:
        return BackendError(
            f"llama.cpp's server answered something unreadable to {path}: {str(answer)[:120]!r}. "
            "Reload the model; if it goes on, use the server that comes with the WebUI."
        )


def _overwriting(slot: int) -> dict[str, Any]:
    """A request that leaves one token in a slot: the way to empty it on a server that refuses to erase."""
    return {"id_slot": slot, "prompt": [0], "n_predict": 0, "cache_prompt": False, "stream": False}


def _likeliest(answer: Mapping[str, Any]) -> dict[int, float]:
    """Log-probability by token of the first token that a completion tells of; empty where it tells none."""
    places = answer.get("completion_probabilities")
    first = places[0] if isinstance(places, list) and places else None
    tops = first.get("top_logprobs") if isinstance(first, dict) else None
    entries = [entry for entry in tops or () if isinstance(entry, dict)]
    return {
        entry["id"]: float(entry["logprob"])
        for entry in entries
        if isinstance(entry.get("id"), int) and isinstance(entry.get("logprob"), (int, float))
    }


def _held_tokens(slot: dict[str, Any]) -> int:
    """Tokens of the last prompt and reply in a slot; the field's name differs between builds."""
    following = slot.get("next_token")
    decoded = following[0].get("n_decoded") if isinstance(following, list) and following else None
    parts = (slot.get("n_prompt_tokens", slot.get("n_past")), decoded)
    return sum(part for part in parts if isinstance(part, int))


def _parsed(body: str) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None
