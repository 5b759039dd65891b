"""Generation: the lock, the stopping rules, and the reply so far, again and again."""

from __future__ import annotations

import ast
import html
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from modules import models, shared
from modules.extensions import apply_extensions


def generate_reply(*args: Any, **kwargs: Any) -> Iterator[str]:  # noqa: ANN401 - passed on unread
    """The reply so far, again and again; one generation at a time."""
    shared.generation_lock.acquire()
    try:
        yield from _generate_reply(*args, **kwargs)  # a global, looked up at each call: extensions replace it
    finally:
        models.last_generation_time = time.time()
        shared.generation_lock.release()


def _generate_reply(
    question: str,
    state: dict[str, Any],
    stopping_strings: list[str] | None = None,
    is_chat: bool = False,
    escape_html: bool = False,
    for_ui: bool = False,
) -> Iterator[str]:
    generate = apply_extensions("custom_generate_reply")
    if generate is None:
        if shared.model is None or shared.tokenizer is None:
            yield ""
            return
        generate = generate_reply_HF
    original_question = question
    if not is_chat:
        state = apply_extensions("state", state)
        question = apply_extensions("input", question, state)
    stops = _stop_strings(stopping_strings) + _stop_strings(state.get("custom_stopping_strings", ""))
    shared.stop_everything = False
    reply = ""
    streamed = state.get("stream", True)
    for reply in generate(question, original_question, state, stopping_strings, is_chat=is_chat):
        reply, stopped = apply_stopping_strings(reply, stops)
        if escape_html:
            reply = html.escape(reply)
        if streamed:
            yield reply
        stop_event = state.get("stop_event")
        if stopped or shared.stop_everything or (stop_event is not None and stop_event.is_set()):
            break
    if not is_chat:
        reply = apply_extensions("output", reply, state)
    yield reply


def _stop_strings(value: object) -> list[str]:
    if isinstance(value, str):
        value = ast.literal_eval(f"[{value}]")
    return list(value) if isinstance(value, list) else []


def apply_stopping_strings(reply: str, stops: list[str]) -> tuple[str, bool]:
    """`reply` cut before the first stop string, with True; else without a tail that may become one, False."""
    found = [at for stop in stops if stop and (at := reply.find(stop)) >= 0]
    if found:
        return reply[: min(found)], True
    for stop in stops:
        for length in range(min(len(stop) - 1, len(reply)), 0, -1):
            if reply.endswith(stop[:length]):
                return reply[:-length], False
    return reply, False


def stop_everything_event() -> None:
    """Asks the running generation to end; the reply so far is kept."""
    shared.stop_everything = True


def get_max_prompt_length(state: dict[str, Any]) -> int:
    """Tokens that a prompt may have: the context without the room for the reply, >= 1."""
    return max(1, int(state["truncation_length"]) - int(state["max_new_tokens"]))


def encode(prompt: str, add_special_tokens: bool = True, truncation_length: int | None = None) -> Any:  # noqa: ANN401 - a torch tensor
    """Token ids of `prompt`, shape (1, n), the last `truncation_length` of them."""
    ids = shared.tokenizer(prompt, return_tensors="pt", add_special_tokens=add_special_tokens)["input_ids"]
    return ids[:, -truncation_length:] if truncation_length else ids


def decode(ids: Any, skip_special_tokens: bool = True) -> str:  # noqa: ANN401 - a torch tensor or a list
    """Text of token ids."""
    return str(shared.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens))


def get_encoded_length(prompt: str) -> int:
    """Number of tokens in `prompt`."""
    return int(encode(prompt).shape[-1])


class _Interrupted:
    """Stopping criterion: True once the reader has gone or somebody asked for a stop."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.gone = threading.Event()
        self._stop_event = state.get("stop_event")

    def asked(self) -> bool:
        stopped = self._stop_event is not None and self._stop_event.is_set()
        return bool(stopped or shared.stop_everything or self.gone.is_set())


def generate_reply_HF(
    question: str,
    original_question: str,
    state: dict[str, Any],
    stopping_strings: list[str] | None = None,
    is_chat: bool = False,
) -> Iterator[str]:
    """The reply so far after each token; the model runs on a thread of its own.

    Raises:
        RuntimeError: The model failed; the cause is attached.
    """
    import torch
    from transformers import LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

    interrupted = _Interrupted(state)
    device = next(shared.model.parameters()).device

    class Stop(StoppingCriteria):  # type: ignore[misc,unused-ignore] # the base is untyped in some versions
        def __call__(self, input_ids: Any, scores: Any, **kwargs: object) -> Any:  # noqa: ANN401 - its signature
            return torch.full((input_ids.shape[0],), interrupted.asked(), device=input_ids.device)

    if int(state.get("seed", -1)) >= 0:
        torch.manual_seed(int(state["seed"]))
    ids = encode(question, add_special_tokens=False, truncation_length=get_max_prompt_length(state))
    question, ids, embeds = apply_extensions("tokenizer", state, question, ids, None)
    processors = state.get("logits_processor", LogitsProcessorList([]))
    if not isinstance(processors, LogitsProcessorList):
        processors = LogitsProcessorList([processors])
    processors = apply_extensions("logits_processor", processors, ids)
    ids = ids.to(device)
    tokens: queue.Queue[list[int] | BaseException | None] = queue.Queue()
    params: dict[str, Any] = {
        "inputs": ids,
        "attention_mask": torch.ones_like(ids),
        "logits_processor": processors,
        "stopping_criteria": StoppingCriteriaList([Stop()]),
        "streamer": _TokenQueue(tokens),
        "pad_token_id": shared.tokenizer.eos_token_id,
        **_sampling(state),
    }
    if embeds is not None:
        params["inputs_embeds"] = embeds

    def run() -> None:
        try:
            with torch.no_grad():
                shared.model.generate(**params)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            tokens.put(error)
        else:
            tokens.put(None)

    worker = threading.Thread(target=run, name="generate", daemon=True)
    worker.start()
    try:
        yield from _texts(tokens, state)
    finally:
        interrupted.gone.set()
        worker.join(60)


def _texts(tokens: queue.Queue[list[int] | BaseException | None], state: dict[str, Any]) -> Iterator[str]:
    skip = bool(state.get("skip_special_tokens", True))
    got: list[int] = []
    yield ""
    while (new := tokens.get()) is not None:
        if isinstance(new, BaseException):
            raise RuntimeError(f"the model failed: {new}") from new
        got += new
        text = decode(got, skip)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):  # half of a character of several tokens
            yield text
    yield decode(got, skip)


class _TokenQueue:
    """Streamer of transformers' `generate`: puts new token ids on a queue, without the prompt's."""

    def __init__(self, tokens: queue.Queue[list[int] | BaseException | None]) -> None:
        self._tokens = tokens
        self._prompt = True

    def put(self, value: Any) -> None:  # noqa: ANN401 - a torch tensor
        if self._prompt:
            self._prompt = False
            return
        self._tokens.put(value.reshape(-1).tolist())

    def end(self) -> None:
        """Nothing is held back."""


def _sampling(state: dict[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {
        "max_new_tokens": int(state["max_new_tokens"]),
        "repetition_penalty": float(state.get("repetition_penalty", 1.0)),
    }
    if state.get("ban_eos_token"):
        params["suppress_tokens"] = [shared.tokenizer.eos_token_id]
    temperature = float(state.get("temperature", 1.0))
    if not state.get("do_sample", True) or temperature <= 0:
        return {**params, "do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    top_k = int(state.get("top_k", 0))
    return {
        **params,
        "do_sample": True,
        "temperature": temperature,
        "top_p": float(state.get("top_p", 1.0)),
        "top_k": top_k or None,
        "min_p": float(state.get("min_p", 0.0)) or None,
    }
