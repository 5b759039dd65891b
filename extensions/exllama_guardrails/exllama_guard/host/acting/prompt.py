"""The prompt and the state of a new try: the host's own template around a new message, steadier sampling."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from exllama_guard.settings import Settings
from exllama_guard.sources import OPENING, without_blocks

__all__ = ["chat_prompt", "completion_prompt", "repair_state"]

_GREEDY_BELOW = 0.01  # not every loader takes a temperature of 0


def chat_prompt(message: str, question: str, state: dict[str, Any], history: Mapping[str, Any]) -> str | None:
    """The prompt for `message` in the place of the turn's own user message.

    None where the last row of `history`, the host's working copy, is not this turn: another extension then
    gave the host another object. Attached texts are left out: the message holds the passages that matter.
    """
    rows = list(history.get("internal") or ())
    if not rows or question not in str(rows[-1][0]):
        return None
    before = {
        **{key: copy.deepcopy(value) for key, value in history.items() if key not in ("internal", "visible")},
        "internal": rows[:-1],
        "visible": list(history.get("visible") or ())[:-1],
    }
    entry = (before.get("metadata") or {}).get(f"user_{len(rows) - 1}")
    if isinstance(entry, dict):
        entry.pop("attachments", None)
    bare = {**state, "include_past_attachments": False}
    chat = import_module("modules.chat")
    prompt = chat.generate_chat_prompt(message, bare, history=before, _continue=False)
    return prompt if isinstance(prompt, str) else None


def completion_prompt(message: str, prompt: str, question: str) -> str | None:
    """`prompt` with its last mention of the question, and marked blocks, replaced by `message`.

    None where the question does not stand in the prompt.
    """
    bare = without_blocks(prompt) if OPENING in prompt else prompt
    at = bare.rfind(question) if question else -1
    return None if at < 0 else bare[:at] + message + bare[at + len(question) :]


def repair_state(state: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """A copy of the host's state that varies less: low temperature, one seed, nothing that widens the choice.

    Source: the seed study's variance clamp. The stop event and the logits processors stay the same objects.
    """
    temperature = min(settings.repair_temperature, float(state.get("temperature") or 0.0))
    greedy = temperature < _GREEDY_BELOW
    return {
        **state,
        "temperature": 1 if greedy else temperature,
        "do_sample": not greedy,
        "seed": settings.repair_seed,
        "dynamic_temperature": False,
        "mirostat_mode": 0,
        "smoothing_factor": 0,
        "xtc_probability": 0,
        "stream": True,
        **({"top_k": 1} if greedy else {}),
    }
