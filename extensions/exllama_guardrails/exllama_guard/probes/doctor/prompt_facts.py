"""What a model's files say of its special tokens and its chat template: a folder's, or a GGUF's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exllama_guard.backends import read_json

__all__ = ["PromptFacts", "facts_of_folder", "facts_of_gguf", "fill"]


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """Special tokens by text, what begins and ends a text, and the template; None or empty: not told."""

    words: Mapping[str, int] = field(default_factory=dict)  # every token that is never cut
    start: str = ""
    end: str = ""
    start_id: int | None = None  # of the configuration
    end_ids: frozenset[int] = frozenset()  # that end a generation
    end_source: str = ""
    template: str | None = None
    other: Mapping[str, str] = field(default_factory=dict)  # the template's further values
    name: str = ""

    def end_texts(self) -> list[str]:
        """The texts of the tokens that end a generation."""
        return sorted(word for word, id_ in self.words.items() if id_ in self.end_ids)


def facts_of_folder(folder: Path, config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> PromptFacts:
    """From config.json, generation_config.json, tokenizer_config.json and tokenizer.json."""
    special = read_json(folder / "tokenizer_config.json")
    generation = read_json(folder / "generation_config.json")
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    texts = {name: _token(special.get(name)) for name in names}
    ends, source = _ids(generation.get("eos_token_id")), "generation_config.json"
    if not ends:
        ends, source = _ids(config.get("eos_token_id")), "config.json"
    words = {
        str(token["content"]): int(token["id"])
        for token in tokenizer.get("added_tokens") or ()
        if isinstance(token, dict) and isinstance(token.get("id"), int) and "content" in token
    }
    start = config.get("bos_token_id")
    return PromptFacts(
        words=words,
        start=texts["bos_token"],
        end=texts["eos_token"],
        start_id=start if isinstance(start, int) else None,
        end_ids=ends,
        end_source=source,
        template=_template_text(folder, special),
        other=texts,
        name=folder.name,
    )


def facts_of_gguf(path: Path, metadata: Mapping[str, Any]) -> PromptFacts:
    """From the metadata under `tokenizer`."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    tokens = tokens if isinstance(tokens, list) else []
    words = {word: id_ for id_, word in enumerate(tokens) if word[:1] in "<[" and len(word) > 2}

    def text(name: str) -> str:
        id_ = metadata.get(f"tokenizer.ggml.{name}_token_id")
        return tokens[id_] if isinstance(id_, int) and 0 <= id_ < len(tokens) else ""

    ends = frozenset(
        id_
        for name in ("eos", "eot", "eom")
        if isinstance(id_ := metadata.get(f"tokenizer.ggml.{name}_token_id"), int)
    )
    template = metadata.get("tokenizer.chat_template")
    return PromptFacts(
        words=words,
        start=text("bos"),
        end=text("eos"),
        start_id=metadata.get("tokenizer.ggml.bos_token_id"),
        end_ids=ends,
        end_source="the GGUF's tokenizer.ggml.eos_token_id",
        template=template if isinstance(template, str) else None,
        other={
            "bos_token": text("bos"),
            "eos_token": text("eos"),
            "pad_token": "",
            "unk_token": text("unknown"),
        },
        name=f"{path.stem} {metadata.get('general.finetune', '')}",
    )


def fill(facts: PromptFacts, messages: list[dict[str, str]], opening: bool) -> str:
    """The template filled with these messages; with `opening` up to where a reply begins.

    Raises:
        ValueError: It cannot be filled; the message says why.
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"], autoescape=False
    )  # fmt: skip
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: "2025-01-01"
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    try:
        return environment.from_string(facts.template or "").render(
            messages=[dict(message) for message in messages],
            add_generation_prompt=opening,
            tools=None,
            **facts.other,
        )
    except (TemplateError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _refuse(message: str) -> None:
    raise ValueError(message)


def _token(value: object) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def _ids(value: object) -> frozenset[int]:
    values = value if isinstance(value, list) else [value]
    return frozenset(id_ for id_ in values if isinstance(id_, int) and not isinstance(id_, bool))


def _template_text(folder: Path, special: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8", errors="replace")
    value = special.get("chat_template") or read_json(folder / "chat_template.json").get("chat_template")
    if isinstance(value, list):
        value = next((entry.get("template") for entry in value if isinstance(entry, dict)), None)
    return value if isinstance(value, str) else None
