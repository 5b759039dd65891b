"""What the WebUI says of itself: its model, settings, extensions, and where its versions differ.

Tried on 4.7.3 and 3.23. `modules` can only be imported inside the host, so it is imported in functions.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from exllama_guard.backends import quantisation_in
from exllama_guard.core.turns import ModelInfo

__all__ = [
    "active_extensions",
    "active_text_extensions",
    "is_multi_user",
    "is_ours",
    "is_switched_on",
    "model_info",
    "page_is_up",
    "set_stopped",
    "shared_module",
    "stopped",
    "templates",
    "text_generation_module",
    "unknown_settings",
    "user_data_dir",
    "with_names",
]

_MOST_NAME = 60  # characters of a name that is shown
_PREFIX = "exllama_guardrails-"  # of our keys in settings.yaml

_TEXT_HOOKS = (
    "custom_generate_chat_prompt",
    "chat_input_modifier",
    "input_modifier",
    "history_modifier",
    "bot_prefix_modifier",
    "state_modifier",
)


def shared_module() -> ModuleType:
    """The host's `modules.shared`."""
    return import_module("modules.shared")


def text_generation_module() -> ModuleType:
    """The host's `modules.text_generation`."""
    return import_module("modules.text_generation")


def user_data_dir() -> Path:
    """Folder that the host keeps its user's files in: a setting since 4.0, `user_data` before."""
    configured = getattr(shared_module(), "user_data_dir", None)
    return Path(configured) if configured is not None else Path("user_data").resolve()


def unknown_settings(known: Collection[str]) -> tuple[str, ...]:
    """One sentence for each entry of settings.yaml that is meant for us and that nothing reads.

    The host gives an extension only the names that its `params` have; a misspelt one it drops in silence.
    """
    settings = getattr(shared_module(), "settings", None) or {}
    keys = (key for key in settings if isinstance(key, str) and key.startswith(_PREFIX))
    names = (key.removeprefix(_PREFIX) for key in keys)
    sentences = []
    for name in sorted(name for name in names if name not in known):
        name = name if len(name) <= _MOST_NAME else f"{name[:_MOST_NAME]}…"
        meant = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {_PREFIX}{meant[0]}?" if meant else "the README says where all settings are."
        sentences.append(f"There is no setting {_PREFIX}{name} (settings.yaml); {hint}")
    return tuple(sentences)


def is_multi_user() -> bool:
    """Whether several people use this host: --multi-user, or logins."""
    args = getattr(shared_module(), "args", None)
    return bool(
        getattr(args, "multi_user", False)
        or getattr(args, "gradio_auth", None)
        or getattr(args, "gradio_auth_path", None)
    )


def stopped() -> bool:
    """Whether the Stop button was pressed during the reply that runs now."""
    return bool(getattr(shared_module(), "stop_everything", False))


def set_stopped(value: bool) -> None:
    """Sets the flag of the Stop button."""
    shared_module().__dict__["stop_everything"] = value


def page_is_up() -> bool:
    """Whether the host's page answers requests."""
    interface = (getattr(shared_module(), "gradio", None) or {}).get("interface")
    return bool(getattr(interface, "is_running", False))


def model_info() -> ModelInfo | None:
    """The loaded model as the host names it, or None. Reads attributes only."""
    shared = shared_module()
    name = getattr(shared, "model_name", None)
    if getattr(shared, "model", None) is None or name in (None, "None"):
        return None
    args = getattr(shared, "args", None)
    settings = getattr(shared, "settings", None) or {}
    context = settings.get("truncation_length") or getattr(args, "ctx_size", None)
    return ModelInfo(
        name=str(name),
        loader=str(getattr(args, "loader", None) or "unknown"),
        quantisation=quantisation_in(str(name)) or _loaded_in(args),
        cache_type=getattr(args, "cache_type", None) or None,
        context_tokens=context if isinstance(context, int) and context > 0 else None,
    )


def active_extensions() -> tuple[str, ...]:
    """Names of the other extensions that are switched on."""
    return tuple(name for name, module in _switched_on() if not is_ours(module))


def active_text_extensions() -> tuple[str, ...]:
    """Names of the other extensions, switched on, that may change a prompt's text."""
    return tuple(name for name, module in _switched_on() if _changes_text(module))


def _switched_on() -> list[tuple[str, ModuleType | None]]:
    state = getattr(sys.modules.get("modules.extensions"), "state", None) or {}
    return [(str(name), _module(str(name), entry)) for name, entry in tuple(state.items()) if entry[0]]


def is_switched_on() -> bool:
    """Whether this extension is ticked in the Session tab; True where the host keeps no such list.

    Un-ticked, an extension's hooks are no longer called, but what it wrapped stays. Where it was the only
    one, its hooks are called as well: the host loads no empty list (4.7.3 server.py:105, 3.23 server.py:110)
    and keeps what was loaded before, so the list itself, which may be None, is read too.
    """
    state = getattr(sys.modules.get("modules.extensions"), "state", None)
    if state is None:
        return True
    args = getattr(sys.modules.get("modules.shared"), "args", None)
    ticked = getattr(args, "extensions", state) or ()
    return any(
        entry[0] and name in ticked and is_ours(_module(str(name), entry))
        for name, entry in tuple(state.items())
    )


def templates(state: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts that a prompt is built around: templates and the chat-instruct command, names put in."""
    names = (
        "instruction_template_str",
        "chat_template_str",
        "chat-instruct_command",
        "chat_instruct_command",
    )
    texts = [str(state[name]) for name in names if state.get(name)]
    return tuple(dict.fromkeys([*texts, *(with_names(text, state) for text in texts)]))


def with_names(text: str, state: Mapping[str, Any]) -> str:
    """`text` as the host writes it into a prompt: the names of user and character in their places."""
    user, character = str(state.get("name1") or ""), str(state.get("name2") or "")
    for name, marks in ((user, _USER_MARKS), (character, _CHARACTER_MARKS)):
        for mark in marks:
            text = text.replace(mark, name)
    return text


# Of `replace_character_names` and the chat-instruct command (modules/chat.py, 4.9 and 3.23).
_USER_MARKS = ("{{user}}", "<USER>")
_CHARACTER_MARKS = ("{{char}}", "<BOT>", "<|character|>")


def _loaded_in(args: object) -> str | None:
    if getattr(args, "load_in_4bit", False):
        return "4-bit"
    return "8-bit" if getattr(args, "load_in_8bit", False) else None


def _module(name: str, entry: Sequence[Any]) -> ModuleType | None:
    """The extension's module: third in the entry since 4.0, imported by name before."""
    if len(entry) > 2:
        return entry[2]  # type: ignore[no-any-return]
    return sys.modules.get(f"extensions.{name}.script")


def _changes_text(module: ModuleType | None) -> bool:
    """Whether it has a hook that may put text into a prompt, and is not this extension."""
    hooks = [hook for name in _TEXT_HOOKS if (hook := getattr(module, name, None)) is not None]
    return bool(hooks) and not is_ours(module)


def is_ours(module: ModuleType | None) -> bool:
    """Whether an extension's module is this extension's."""
    hook = getattr(module, "state_modifier", None)
    return str(getattr(hook, "__module__", "")).startswith("exllama_guard.")
