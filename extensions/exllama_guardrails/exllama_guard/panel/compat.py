"""Where Gradio 4.37 (the host's) and 6 differ: names of arguments, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any


def accepted(make: Callable[..., Any], **wanted: object) -> dict[str, Any]:
    """Those of `wanted` that `make` takes by name in the Gradio that is installed."""
    parameters = signature(make).parameters
    return {
        name: value
        for name, value in wanted.items()
        if name in parameters and parameters[name].kind is not Parameter.VAR_KEYWORD
    }


def hidden_event(listen: Callable[..., Any]) -> dict[str, Any]:
    """Arguments of an event that shows no progress and waits in no queue.

    Its API page lists it, because Gradio 4.37 warns in the browser at each call of an event that is not
    listed there.
    """
    return {
        **accepted(listen, queue=False, show_progress="hidden", concurrency_limit=None),
        **accepted(listen, api_visibility="undocumented"),
    }
