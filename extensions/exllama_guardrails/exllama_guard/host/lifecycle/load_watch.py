"""Tells of a load that failed: the host raises or gives None, and assigns nothing that could be watched.

`load_model` is bound by name in many modules (`__main__`, `modules.ui_model_menu`, the API, which is an
extension in 3.23), so the wrapper goes into each module that holds the original. `modules.models` is one of
them: a module that is imported later binds the wrapper (4.7.3 and 3.23).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from exllama_guard.host.guard import guarded
from exllama_guard.host.patches import MARK

if TYPE_CHECKING:
    from exllama_guard.host.patches import Patches
    from exllama_guard.lifecycle import Notices

__all__ = ["watch_loads"]


def watch_loads(patches: Patches, notices: Notices) -> None:
    """Wraps `load_model` wherever the host's modules hold it."""
    if find_spec("modules.models") is None:  # host/names.py tells of it
        return
    original = getattr(import_module("modules.models"), "load_model", None)
    if original is None:
        return
    for module in list(sys.modules.values()):
        held = getattr(module, "__dict__", {}).get("load_model")
        if held is not None and _stands_for(held) is _stands_for(original):
            patches.replace(module, "load_model", functools.partial(_reporting, notices))


def _stands_for(function: object) -> object:
    """The host's own function behind one of our doors, which may have been left in some modules."""
    return getattr(function, MARK, function)


def _reporting(notices: Notices, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def load_model(model_name: object, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the host's
        done = False
        try:
            result = original(model_name, *args, **kwargs)
            done = not (isinstance(result, tuple) and result and result[0] is None)
        finally:
            _reported(notices, str(model_name), done, sys.exc_info()[1])
        return result

    return load_model


@guarded(lambda notices, name, done, error: None)
def _reported(notices: Notices, name: str, done: bool, error: BaseException | None) -> None:
    if done:
        notices.clear_problem("load")
        return
    why = f"{type(error).__name__}: {error}" if error is not None else "the loader gave no model"
    sentence = f"{name} could not be loaded ({why[:200]}). The host's log says more; load another model."
    notices.record_event("model", sentence)
    notices.report_problem(sentence, "load")
