"""Faults that the doctor was not built on: written before its detectors, read once when they were done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fault_folders import Fault, Tensors, config, edit_json, gguf_copy, weights

__all__ = ["APART"]

_DAMAGED = "damaged|not all there|cannot be read"
_SOURCE = "again|source|download|copy"


def _inf_row(tensors: Tensors) -> None:
    tensors["model.embed_tokens.weight"][260:400] = float("inf")


def _page(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.unlink()
    path.write_text("<!DOCTYPE html>\n<html><body>403 Forbidden</body></html>\n" * 40)


def _cut(name: str, share: float) -> Any:
    def make(place: Path) -> Path | None:
        path = place if place.is_file() else place / name
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data[: int(len(data) * share)])
        return path if path.suffix == ".gguf" else None

    return make


def _empty(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.unlink()
    path.write_bytes(b"")


def _reversed(tensors: Tensors) -> None:
    names = [name.partition("layers.3.")[2] for name in tensors if "layers.3." in name]
    for tail in names:
        held = [tensors[f"model.layers.{layer}.{tail}"].clone() for layer in range(3, 9)]
        for layer, value in zip(range(3, 9), reversed(held), strict=True):
            tensors[f"model.layers.{layer}.{tail}"] = value


def _ones(tensors: Tensors) -> None:
    for layer in range(5, 11):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{norm}.weight"].fill_(1.0)


def _gate_is_up(tensors: Tensors) -> None:
    for name in [name for name in tensors if "gate_proj" in name]:
        other = name.replace("gate_proj", "up_proj")
        tensors[name], tensors[other] = tensors[other].clone(), tensors[name].clone()


def _short(tensors: Tensors) -> None:
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in tensors:
            tensors[name] = tensors[name][:48_000]


def _scaled(tensors: Tensors) -> None:
    tensors["model.embed_tokens.weight"] *= 640**0.5


def _plus_one(tensors: Tensors) -> None:
    for name in tensors:
        if "norm" in name:
            tensors[name] += 1.0


def _noise(tensors: Tensors) -> None:
    import torch

    draw = torch.Generator().manual_seed(3)
    for name, value in tensors.items():
        if value.ndim == 2:
            value += (torch.randn(value.shape, generator=draw) * value.float().std() * 0.5).to(value.dtype)
        tensors[name] = value


def _shifted_rows(tensors: Tensors) -> None:
    import torch

    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in tensors:
            tensors[name] = torch.roll(tensors[name], 1, 0)


def _zero_output(tensors: Tensors) -> None:
    tensors["model.layers.20.self_attn.o_proj.weight"].zero_()


def _no_merges(folder: Path) -> None:
    edit_json(folder, "tokenizer.json", lambda data: data["model"].update(merges=[]))


def _template(text: str) -> Any:
    def make(folder: Path) -> None:
        (folder / "chat_template.jinja").write_text(text)

    return make


def _nan_blocks(reader: Any) -> None:
    tensor = next(t for t in reader.tensors if t.name == "blk.4.ffn_up.weight")
    raw = tensor.data.reshape(-1)
    raw[0:2] = [0xFF, 0x7E]  # the first block's scale as float16 NaN


def _kv_heads(reader: Any) -> None:
    field = reader.fields["llama.attention.head_count_kv"]
    field.parts[field.data[0]][0] = 9


def _generation_ends(folder: Path) -> None:
    edit_json(folder, "generation_config.json", lambda data: data.update(eos_token_id=[0]))


def _no_final_norm(tensors: Tensors) -> None:
    del tensors["model.norm.weight"]


_GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_FORGETS = (
    "{% for m in messages %}{% if m.role == 'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

APART = (
    Fault("embedding rows infinite", "not finite", "smol", weights(_inf_row), "not finite|infinit", _SOURCE),
    Fault("GGUF cut at 40 %", "unloadable", "smol.gguf", _cut("", 0.4), "cut|ends|short", _SOURCE),
    Fault("web page as safetensors", "unloadable", "smol", _page, "no safetensors|web page|not a", _SOURCE),
    Fault("config.json cut", "unloadable", "smol", _cut("config.json", 0.5), "config.json", _SOURCE),
    Fault("weights file empty", "unloadable", "smol", _empty, "empty|0 bytes", _SOURCE),
    Fault("tokenizer.json cut", "unloadable", "smol", _cut("tokenizer.json", 0.5), "tokenizer.json", _SOURCE),
    Fault("six layers reversed", "weights", "smol", weights(_reversed), "layer|damaged", _SOURCE),
    Fault("one output projection zero", "weights", "smol", weights(_zero_output), "layer 20|zero", _SOURCE),
    Fault("norms of six layers lost", "weights", "smol", weights(_ones), "layer|norm|damaged", _SOURCE),
    Fault("gate and up exchanged", "weights", "smol", weights(_gate_is_up), "damaged|gate|up_proj", _SOURCE),
    Fault("final norm missing", "missing", "smol", weights(_no_final_norm), "norm|missing", _SOURCE),
    Fault("GGUF tells 9 key heads", "missing", "smol.gguf", gguf_copy(_kv_heads), "head", _SOURCE),
    Fault("GGUF block scale NaN", "not finite", "smol.gguf", gguf_copy(_nan_blocks), "not finite", _SOURCE),
    Fault("RMS epsilon 0.5", "weights", "smol", config(rms_norm_eps=0.5), "eps|config|damaged", "config|source"),
    Fault("another activation", "weights", "smol", config(hidden_act="relu"), "act|config|damaged", "config|source"),
    Fault("template of Gemma", "prompt", "smol", _template(_GEMMA), "another model|template", "own|source"),
    Fault("template forgets replies", "prompt", "smol", _template(_FORGETS), "leaves|assistant|repl", "own|source"),
    Fault("generation ends elsewhere", "prompt", "smol", _generation_ends, "stop|end", "eos_token_id"),
    Fault("embedding too short", "missing", "smol", weights(_short), "48000|vocab|rows", _SOURCE),
    Fault("Gemma heads 8 of 128", "missing", "gemma", config(num_attention_heads=8, num_key_value_heads=2, head_dim=128), "head|shape|128", "config|source"),
    Fault("Gemma embeddings scaled twice", "weights", "gemma", weights(_scaled), _DAMAGED, _SOURCE),
    Fault("Gemma norms one too high", "weights", "gemma", weights(_plus_one), _DAMAGED + "|norm", _SOURCE),
    Fault("noise on all weights", "weights", "smol", weights(_noise), _DAMAGED, _SOURCE),
    Fault("embedding rows off by one", "weights", "smol", weights(_shifted_rows), "tokenizer|damaged", _SOURCE),
    Fault("merges lost", "tokenizer", "smol", _no_merges, "merge|tokenizer", _SOURCE),
)  # fmt: skip
