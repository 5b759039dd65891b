"""The one logits hook: the tool lock's processor, and the watch for NaN and Inf."""

from __future__ import annotations

from typing import Any

from exllama_guard.host.guard import guarded
from exllama_guard.host.lifecycle.hooks import BadLogitsWatch
from exllama_guard.host.session import session
from exllama_guard.host.webui import is_switched_on

__all__ = ["logits_processor_modifier"]


@guarded(lambda processor_list, input_ids: processor_list)
def logits_processor_modifier(processor_list: list[Any], input_ids: object) -> list[Any]:
    """The same list; the watch comes first, so that it sees what the model gave."""
    if not is_switched_on():
        return processor_list
    now = session()
    if now.lifecycle is not None:
        processor_list.insert(0, BadLogitsWatch(now.lifecycle))
    now.tools.reply_lock.add_processor(processor_list, input_ids)
    return processor_list
