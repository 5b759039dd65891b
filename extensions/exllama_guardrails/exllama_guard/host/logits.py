"""The one logits hook: the tool lock's processor, and the watch for NaN and Inf."""

from __future__ import annotations

from typing import Any

from exllama_guard import lifecycle
from exllama_guard.host.hooks import guarded
from exllama_guard.host.lifecycle.hooks import BadLogitsWatch
from exllama_guard.host.tools import guard as tool_guard
from exllama_guard.host.webui import is_switched_on

__all__ = ["logits_processor_modifier"]


@guarded(lambda processor_list, input_ids: processor_list)
def logits_processor_modifier(processor_list: list[Any], input_ids: object) -> list[Any]:
    """The same list; the watch comes first, so that it sees what the model gave."""
    if not is_switched_on():
        return processor_list
    follower = lifecycle.current()
    if follower is not None:
        processor_list.insert(0, BadLogitsWatch(follower))
    return tool_guard.logits_processor_modifier(processor_list, input_ids)
