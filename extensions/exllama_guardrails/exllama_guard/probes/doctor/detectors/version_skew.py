"""Do torch, CUDA, the driver and the loaders' wheels fit each other, and is a prompt's template filled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from exllama_guard.core.measures import Gate
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved

__all__ = ["Installed", "observe_templates", "observe_versions", "unresolved", "wheel_tags"]


@dataclass(frozen=True, slots=True)
class Installed:
    """What is installed. Versions as their metadata tells them, with the local part (+cu128.torch2.8.0)."""

    torch: str | None = None
    cuda: str | None = None  # that torch was built for; None: a CPU build
    driver_cuda: str | None = None  # highest CUDA of the driver; None: unknown or no GPU
    wheels: Mapping[str, str] = field(default_factory=dict)  # exllamav2, exllamav3, flash-attn ...
    broken: Mapping[str, str] = field(default_factory=dict)  # wheel → why it cannot be imported
    no_sdpa: bool = False  # ExLlamaV2 was told to leave torch's attention alone


def wheel_tags(version: str) -> dict[str, str]:
    """`torch` and `cuda` that a wheel's local version names, as `2.8` and `12.8`; {} without a tag."""
    local = version.partition("+")[2].lower()
    found: dict[str, str] = {}
    if torch := re.search(r"(?:torch|pt)(\d+)\.?(\d+)?", local):
        found["torch"] = ".".join(part for part in torch.groups() if part)
    if cuda := re.search(r"cu(\d{2})(\d)", local):
        found["cuda"] = f"{cuda[1]}.{cuda[2]}"
    return found


def observe_versions(installed: Installed) -> Observation:
    """PC3: FAIL where a wheel was built for another torch or CUDA, or cannot be imported."""
    if installed.torch is None:
        return unobserved("PC3", "torch is not installed here, so there is nothing to compare")
    conflicts = [f"{name} cannot be imported: {why}" for name, why in installed.broken.items()]
    for name, version in installed.wheels.items():
        conflicts += _conflicts(name, version, installed)
    if installed.cuda and installed.driver_cuda and _number(installed.driver_cuda) < _number(installed.cuda):
        conflicts.append(
            f"torch was built for CUDA {installed.cuda}, the driver reaches {installed.driver_cuda}: "
            "update the driver"
        )
    inputs = {"torch": installed.torch, "cuda": installed.cuda or "none", **installed.wheels}
    if conflicts:
        return observed("PC3", Gate.FAIL, "; ".join(conflicts) + ".", **inputs)
    if warning := _sdpa(installed):
        return observed("PC3", Gate.REVIEW, warning, **inputs)
    named = ", ".join(f"{name} {version}" for name, version in installed.wheels.items()) or "no wheels"
    sentence = f"torch {installed.torch} (CUDA {installed.cuda or 'none'}) and {named} fit each other."
    return observed("PC3", Gate.PASS, sentence, **inputs)


def _conflicts(name: str, version: str, installed: Installed) -> list[str]:
    tags, found = wheel_tags(version), []
    torch = (installed.torch or "").partition("+")[0]
    if "torch" in tags and torch.split(".")[:2] != tags["torch"].split(".")[:2]:
        found.append(
            f"{name} {version} was built for torch {tags['torch']}, installed is {torch}: install its wheel "
            f"for torch {'.'.join(torch.split('.')[:2])}"
        )
    if "cuda" in tags and installed.cuda is None:
        found.append(f"{name} {version} was built for CUDA {tags['cuda']}, torch is a CPU build")
    elif "cuda" in tags and installed.cuda and tags["cuda"].split(".")[0] != installed.cuda.split(".")[0]:
        found.append(
            f"{name} {version} was built for CUDA {tags['cuda']}, torch for {installed.cuda}: "
            "install both for one CUDA"
        )
    return found


_NO_MASK = ((0, 2, 9), (0, 3, 2))  # ExLlamaV2's releases that lose the causal mask in torch's SDPA


def _sdpa(installed: Installed) -> str:
    """A known case: ExLlamaV2 0.2.9 to 0.3.2 read ahead through torch's SDPA, fluent and wrong."""
    wheels = installed.wheels
    fused = "flash-attn" in wheels or "xformers" in wheels
    if "exllamav2" not in wheels or fused or installed.no_sdpa:
        return ""
    release = tuple(int(part) for part in re.findall(r"\d+", wheels["exllamav2"].partition("+")[0])[:3])
    if not _NO_MASK[0] <= release <= _NO_MASK[1]:
        return ""
    return (
        f"ExLlamaV2 {wheels['exllamav2']} without flash-attn and xformers uses torch's SDPA, and there "
        "forgets the causal mask: the model reads ahead in its prompt and computes something else (measured: "
        "KL 1.75 nats against transformers) while the text stays fluent. Tick no_sdpa and load again, or set "
        "EXLLAMA_NO_SDPA=1."
    )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:2])


# --- templates ------------------------------------------------------------------------------------------

_LEFT_OVER = re.compile(r"\{\{[^{}\n]{0,200}\}\}|\{%[^{}\n]{0,200}%\}|\$\{\w[^{}\n]{0,100}\}")


def unresolved(prompt: str, written_by_people: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Template variables left in a finished prompt, in order, each once; what people wrote does not count."""
    for text in sorted(written_by_people, key=len, reverse=True):
        if text:
            prompt = prompt.replace(text, " ")
    return tuple(dict.fromkeys(match.group() for match in _LEFT_OVER.finditer(prompt)))


def observe_templates(prompt: str, written_by_people: tuple[str, ...] = ()) -> Observation:
    """PC4 of a finished prompt."""
    left = unresolved(prompt, written_by_people)
    if left:
        sentence = (
            f"The finished prompt still holds {', '.join(left[:5])}; correct the template that writes it."
        )
        return observed("PC4", Gate.FAIL, sentence, variables=", ".join(left))
    return observed("PC4", Gate.PASS, "Every template variable of the prompt is filled.", variables="")
