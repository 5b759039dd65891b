"""The names of the WebUI that this extension relies on, in one place, and what is off without it.

Each was seen in 4.9, 4.7.3 and 3.23 unless its entry says otherwise. Looked at when the host starts us: a
newer version that has renamed some gets one sentence in the panel, and everything else goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

__all__ = ["NAMES", "HostName", "missing_parts"]


def _always() -> bool:
    return True


def _has_tools() -> bool:
    """Whether this is a WebUI whose page has tools: 4.x, or a later one."""
    return find_spec("modules.tool_use") is not None or find_spec("modules.tool_parsing") is not None


def _has_api() -> bool:
    """Whether the host's API runs or is about to; 3.23 has it in an extension of its own."""
    args = getattr(sys.modules.get("modules.shared"), "args", None)
    return bool(getattr(args, "api", False)) and find_spec("modules.api") is not None


@dataclass(frozen=True, slots=True)
class HostName:
    """One thing of the host: any of `names` in `module`; without it, `off` is what does not work."""

    module: str
    names: tuple[str, ...]
    off: str
    expected: Callable[[], bool] = _always

    @property
    def label(self) -> str:
        """`module.name or name`, as a person reads it."""
        return f"{self.module}.{' or '.join(self.names)}"

    def is_there(self) -> bool:
        """Whether the host has it now."""
        try:
            module = import_module(self.module)
        except ImportError:
            return False
        return any(hasattr(module, name) for name in self.names)


NAMES = (
    HostName(
        "modules.text_generation",
        ("_generate_reply",),
        "replies cannot be observed, so no turn is measured",
    ),
    HostName(
        "modules.text_generation",
        ("generate_reply_HF", "generate_reply_custom"),
        "what other extensions put into the prompt of a completion is not seen",
    ),
    HostName("modules.shared", ("model",), "a change of model is not noticed and nothing is warmed up"),
    HostName("modules.shared", ("model_name",), "the loaded model is not known by name and not followed"),
    HostName("modules.shared", ("tokenizer",), "tool calls are checked but not enforced while decoding"),
    HostName("modules.shared", ("args",), "the loader is not known"),
    HostName("modules.shared", ("settings",), "probes run without your presets' values"),
    HostName("modules.shared", ("gradio",), "the panel notices a new reply up to five seconds late"),
    HostName("modules.shared", ("stop_everything",), "a reply that was stopped counts as complete"),
    HostName("modules.shared", ("generation_lock",), "a model is not warmed up, and probes cannot run"),
    HostName("modules.shared", ("lora_names",), "a change of LoRA is not noticed"),
    HostName("modules.models", ("load_model",), "a load that fails is not told of"),
    HostName("modules.extensions", ("state",), "un-ticking the extension is noticed with a restart only"),
    HostName("modules.chat", ("generate_chat_reply_wrapper",), "the page's tool calls are not checked"),
    HostName("modules.chat", ("generate_chat_reply",), "tools are not locked, and no schema holds an answer"),
    HostName("modules.chat", ("generate_chat_prompt",), "probes cannot ask, and an answer is not repaired"),
    HostName("modules.tool_use", ("load_tools",), "the page's tools are not locked", _has_tools),
    HostName("modules.tool_use", ("load_mcp_tools",), "tools of MCP servers are not locked", _has_tools),
    HostName("modules.tool_use", ("execute_tool",), "a tool call is not checked before it runs", _has_tools),
    HostName("modules.tool_parsing", ("parse_tool_call",), "broken tool calls are not repaired", _has_tools),
    HostName(
        "modules.api.completions",
        ("chat_completions_common", "chat_texts"),  # the second is the embedded default's
        "tool calls of the API are not checked",
        _has_api,
    ),
)


def missing_parts() -> tuple[str, ...]:
    """One sentence that names what the host lacks, each with what is off; nothing where all is there."""
    missing = [f"{name.label} ({name.off})" for name in NAMES if name.expected() and not name.is_there()]
    if not missing:
        return ()
    return (
        f"This version of the WebUI has no {'; no '.join(missing)}. Everything else works. Versions that "
        "have all of it are named in docs/verified.md.",
    )
