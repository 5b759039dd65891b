"""Loads extensions and calls their hooks: same names, order, argument counts and settings as the WebUI."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from modules import shared

logger = logging.getLogger("webui")

state: dict[str, list[Any]] = {}
available_extensions: list[str] = []
setup_called: set[ModuleType] = set()


def find_extensions(folder: Path) -> list[str]:
    """Names of the extensions in `folder` and in the user data folder, sorted."""
    places = (folder, shared.user_data_dir / "extensions")
    found = {script.parent.name for place in places for script in place.glob("*/script.py")}
    return sorted(found)


def apply_settings(extension: ModuleType, name: str) -> None:
    """Overrides the extension's `params` by the settings `NAME-param`."""
    for param in getattr(extension, "params", {}):
        key = f"{name}-{param}"
        shared.default_settings[key] = extension.params[param]
        if key in shared.settings:
            extension.params[param] = shared.settings[key]


def load_extensions() -> None:
    """Imports the extensions that are switched on; `setup` runs once for each module object.

    Raises:
        ModuleNotFoundError: An extension imports something that is not installed; this ends the server.
    """
    state.clear()
    for position, name in enumerate(shared.args.extensions):
        if name not in available_extensions:
            continue
        try:
            module = _imported(name)
            if module not in setup_called:
                apply_settings(module, name)
                if hasattr(module, "setup"):
                    module.setup()
                setup_called.add(module)
        except ModuleNotFoundError:
            logger.error("The extension %s needs a package that is not installed.", name)
            raise
        except (ImportError, AttributeError, TypeError, ValueError, RuntimeError, OSError, SyntaxError):
            logger.exception("The extension %s cannot be loaded.", name)
            continue
        state[name] = [True, position, module]


def _imported(name: str) -> ModuleType:
    script = shared.user_data_dir / "extensions" / name / "script.py"
    if not script.exists():
        return importlib.import_module(f"extensions.{name}.script")
    spec = importlib.util.spec_from_file_location(f"user_ext_{name}", script)
    if spec is None or spec.loader is None:
        raise ImportError(f"{script} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def iterator() -> Iterator[tuple[ModuleType, str]]:
    """Active extensions with their names, in the order of the command line."""
    for name, (active, _, module) in sorted(state.items(), key=lambda item: item[1][1]):
        if active:
            yield module, name


def _with_hook(hook: str) -> Iterator[Callable[..., Any]]:
    for module, _ in iterator():
        if hasattr(module, hook):
            yield getattr(module, hook)


def _text(hook: str, text: str, state: dict[str, Any], is_chat: bool = False) -> str:
    for function in _with_hook(hook):
        names = list(signature(function).parameters)
        chat = {"is_chat": is_chat} if "is_chat" in names else {}
        plain = len(names) - len(chat)
        text = function(text, state, **chat) if plain == 2 else function(text, **chat)
    return text


def _chat_input(text: str, visible_text: str, state: dict[str, Any]) -> tuple[str, str]:
    for function in _with_hook("chat_input_modifier"):
        text, visible_text = function(text, visible_text, state)
    return text, visible_text


def _state(state: dict[str, Any]) -> dict[str, Any]:
    for function in _with_hook("state_modifier"):
        state = function(state)
    return state


def _history(history: dict[str, Any]) -> dict[str, Any]:
    for function in _with_hook("history_modifier"):
        history = function(history)
    return history


def _custom_prompt(text: str, state: dict[str, Any], **kwargs: object) -> str | None:
    return next(
        (function(text, state, **kwargs) for function in _with_hook("custom_generate_chat_prompt")), None
    )


def _tokenizer(state: dict[str, Any], prompt: str, input_ids: object, embeds: object) -> tuple[object, ...]:
    result = (prompt, input_ids, embeds)
    for function in _with_hook("tokenizer_modifier"):
        result = function(state, *result)
    return result


def _logits_processor(processors: list[Any], input_ids: object) -> list[Any]:
    for function in _with_hook("logits_processor_modifier"):
        changed = function(processors, input_ids)
        if type(changed) is list:
            processors = changed
    return processors


def _first(hook: str) -> Callable[..., Any] | None:
    return next(_with_hook(hook), None)


def _joined(hook: str) -> str:
    return "".join(function() for function in _with_hook(hook))


EXTENSION_MAP: dict[str, Callable[..., Any]] = {
    "input": lambda *a, **k: _text("input_modifier", *a, **k),
    "output": lambda *a, **k: _text("output_modifier", *a, **k),
    "bot_prefix": lambda *a, **k: _text("bot_prefix_modifier", *a, **k),
    "chat_input": _chat_input,
    "state": _state,
    "history": _history,
    "tokenizer": _tokenizer,
    "logits_processor": _logits_processor,
    "custom_generate_chat_prompt": _custom_prompt,
    "custom_generate_reply": lambda: _first("custom_generate_reply"),
    "css": lambda: _joined("custom_css"),
    "js": lambda: _joined("custom_js"),
}


def apply_extensions(typ: str, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - as many kinds as hooks
    """What the hooks of kind `typ` make of the arguments, one extension after the other.

    Raises:
        ValueError: There is no such kind.
    """
    if typ not in EXTENSION_MAP:
        raise ValueError(f"Invalid extension type {typ}")
    return EXTENSION_MAP[typ](*args, **kwargs)


def _is_tab(module: ModuleType) -> bool:
    return bool(getattr(module, "params", {}).get("is_tab", False))


def create_extensions_block() -> None:
    """Draws the panels of the extensions that do not ask for a tab of their own."""
    for module, _ in iterator():
        if hasattr(module, "ui") and not _is_tab(module):
            module.ui()


def create_extensions_tabs() -> None:
    """Draws a tab for each extension that asks for one."""
    import gradio as gr

    for module, name in iterator():
        if hasattr(module, "ui") and _is_tab(module):
            with gr.Tab(module.params.get("display_name", name)):
                module.ui()
