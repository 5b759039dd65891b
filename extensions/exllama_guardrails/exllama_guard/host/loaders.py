"""What each of the host's loaders lets this extension do, in plain sentences."""

from __future__ import annotations

import re

__all__ = ["capabilities", "quantisation_in"]

_LOGITS = "Tool schemas can be enforced while the model writes (logits processor and grammar)."
_MEASURED = "ΔS, coverage and support are measured for chat, completions and the API."

# Read in the host's sources and tried where docs/verified.md says so (WebUI 4.7.3 and 3.23).
_TABLE: dict[str, tuple[str, ...]] = {
    "Transformers": (_MEASURED, _LOGITS, "The model's logits and cache can be reached."),
    "ExLlamav3_HF": (_MEASURED, _LOGITS, "The model's logits and its cache can be reached."),
    "ExLlamav2_HF": (_MEASURED, _LOGITS, "The model's logits and its cache can be reached."),
    "llama.cpp": (
        _MEASURED,
        "Tool schemas can be enforced while the model writes (grammar in the request).",
        "The model runs in a process of its own: its slots can be erased, its logits cannot be reached.",
    ),
    "ExLlamav3": (
        _MEASURED,
        "The host's grammar is ignored by this loader; a schema needs the loader's own filters.",
        "The model, its cache and its page table can be reached.",
    ),
    "ExLlamav2": (
        _MEASURED,
        "The host's grammar is ignored by this loader; a schema needs the loader's own filters.",
        "The model and its cache can be reached.",
    ),
    "TensorRT-LLM": (
        _MEASURED,
        "Tool calls can only be checked before they run.",
        "The model's logits and cache cannot be reached.",
    ),
}

_QUANTISATION = re.compile(
    r"(?<![A-Za-z0-9])((?:IQ|Q)\d(?:_[A-Z0-9]+)*|BF16|F16|F32|\d+(?:\.\d+)?[ _-]?bpw|exl[23]|GPTQ|AWQ)"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)


def capabilities(loader: str | None) -> tuple[str, ...]:
    """Plain sentences on what works with `loader`; one that says so for a loader that is not known."""
    if not loader:
        return ("No model is loaded; pasted answers can still be checked.",)
    known = _TABLE.get(loader)
    if known is not None:
        return known
    return (_MEASURED, f"Nothing else is known about the loader {loader}.")


def quantisation_in(name: str) -> str | None:
    """The quantisation that a model's file or folder name tells, such as `Q4_K_M` or `4.0bpw`."""
    found = _QUANTISATION.findall(name)
    return " ".join(found) if found else None
