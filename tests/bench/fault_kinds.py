"""Faults that the doctor was built on. Those it was not built on are in fault_apart.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fault_folders import Fault, Make, Tensors, config, edit_json, gguf_copy, layer_of, weights

__all__ = ["KINDS"]

_SOURCE = "source|again"
_WHERE = "damaged|swapped|not in its place"


# --- weights ---


def _nan_layer(layer: int) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for name in layer_of(tensors, layer):
            tensors[name].fill_(float("nan"))

    return change


def _nan_value(name: str, value: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name].view(-1)[12345] = value

    return change


def _zero(layer: int, part: str = "") -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for name in layer_of(tensors, layer):
            if part in name:
                tensors[name].zero_()

    return change


def _move(places: dict[int, int]) -> Callable[[Tensors], None]:
    """Layer `key` gets the weights of layer `value`."""

    def change(tensors: Tensors) -> None:
        held = {old: {n: tensors[n].clone() for n in layer_of(tensors, old)} for old in places.values()}
        for new, old in places.items():
            for name, value in held[old].items():
                tensors[name.replace(f"layers.{old}.", f"layers.{new}.")] = value

    return change


def _dropped(layers: range) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for layer in layers:
            for name in layer_of(tensors, layer):
                del tensors[name]

    return change


def _factor(part: str, factor: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for name in tensors:
            if part in name:
                tensors[name] = tensors[name] * factor

    return change


def _noise_in(layer: int) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        import torch

        draw = torch.Generator().manual_seed(1)
        for name in layer_of(tensors, layer):
            value = tensors[name]
            if value.ndim == 2:
                noise = torch.randn(value.shape, generator=draw) * value.float().std()
                tensors[name] = noise.to(value.dtype)

    return change


def _interleaved(size: int) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for name, value in tensors.items():
            if "q_proj" in name or "k_proj" in name:
                rows = value.reshape(-1, 2, size // 2, value.shape[1]).transpose(1, 2)
                tensors[name] = rows.reshape(value.shape)

    return change


def _heads_permuted(layer: int) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        name = f"model.layers.{layer}.self_attn.q_proj.weight"
        tensors[name] = tensors[name].reshape(9, 64, -1).flip(0).reshape(576, 576)

    return change


def _rename(old: str, new: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for name in [name for name in tensors if old in name]:
            tensors[name.replace(old, new)] = tensors.pop(name)

    return change


def _without(name: str) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.pop(name, None)


def _whole_numbers(tensors: Tensors) -> None:
    import torch

    name = "model.layers.4.mlp.up_proj.weight"
    tensors[name] = (tensors[name].float() * 100).to(torch.int32)


def _bits_mistaken(tensors: Tensors) -> None:
    """Bfloat16 bits read as float16."""
    import torch

    for name in layer_of(tensors, 9):
        tensors[name] = tensors[name].to(torch.bfloat16).view(torch.float16)


def _rounded(layer: int) -> Callable[[Tensors], None]:
    """Four-bit rounding whose groups of 32 got the scale of the group beside."""

    def change(tensors: Tensors) -> None:
        for name in layer_of(tensors, layer):
            value = tensors[name]
            if value.ndim == 2:
                groups = value.float().reshape(-1, 32)
                scale = groups.abs().amax(1, keepdim=True) / 7
                whole = (groups / scale).round()
                tensors[name] = (whole * scale.roll(7, 0) * 4).reshape(value.shape).to(value.dtype)

    return change


# --- files ---


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 3])


def _pointer(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.unlink()
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 325683584\n")


def _shard_missing(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    names = sorted(tensors)
    half = len(names) // 2
    place = {name: f"model-0000{1 + (i >= half)}-of-00002.safetensors" for i, name in enumerate(names)}
    path.unlink()
    first = {name: tensors[name] for name in names[:half]}
    save_file(first, folder / "model-00001-of-00002.safetensors", {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}))


def _gone(*names: str) -> Make:
    def make(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return make


def _damaged_gguf(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    path.unlink()
    data[0x40:0x240] = bytes(0x200)
    path.write_bytes(data)
    return path


def _other_magic(path: Path) -> Path:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(b"\0\0\0\0" + data[4:])
    return path


def _scalar(key: str, value: object) -> Make:
    def change(reader: Any) -> None:
        field = reader.fields[key]
        field.parts[field.data[0]][0] = value

    return gguf_copy(change)


def _zero_gguf(reader: Any) -> None:
    for tensor in reader.tensors:
        if tensor.name.startswith("blk.11.ffn"):
            tensor.data[:] = 0


def _swapped_ids(folder: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        vocab = data["model"]["vocab"]
        special = {token["id"] for token in data["added_tokens"]}
        free = sorted(id_ for id_ in vocab.values() if id_ not in special)
        other = dict(zip(free, reversed(free), strict=True))
        data["model"]["vocab"] = {word: other.get(id_, id_) for word, id_ in vocab.items()}

    edit_json(folder, "tokenizer.json", change)


def _shifted_added(folder: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        for token in data["added_tokens"]:
            token["id"] += 1

    edit_json(folder, "tokenizer.json", change)


def _no_byte_form(folder: Path) -> None:
    edit_json(folder, "tokenizer.json", lambda data: data.update(decoder=None))


def _more_ids(folder: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["added_tokens"].append({**data["added_tokens"][0], "id": 49_300, "content": "<|new|>"})

    edit_json(folder, "tokenizer.json", change)


# --- prompt ---


def _template(change: Callable[[str], str]) -> Make:
    def make(folder: Path) -> None:
        path = folder / "chat_template.jinja"
        path.write_text(change(path.read_text()))

    return make


def _ends(ids: object) -> Make:
    def make(folder: Path) -> None:
        config(eos_token_id=ids)(folder)
        edit_json(folder, "generation_config.json", lambda data: data.update(eos_token_id=ids))

    return make


_INST = "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"


def _adapter(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "another/base-1b", "r": 8})
    )
    name = "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight"
    save_file({name: torch.zeros(8, 2048)}, folder / "adapter_model.safetensors")


def _adapter_alone(folder: Path) -> None:
    _adapter(folder)
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()


def _measurement(folder: Path) -> None:
    told = {f"model.layers.{layer}.{part}": [] for layer in range(22) for part in ("self_attn", "mlp")}
    (folder / "measurement.json").write_text(json.dumps({"measurement": told, "last_module_idx": 45}))


def _rope(base: float) -> Make:
    return config(rope_theta=base, rope_parameters={"rope_theta": base, "rope_type": "default"})


def _gemma_rope(**bases: float) -> Make:
    told = {"full_attention": 1e6, "sliding_attention": 1e4} | bases
    return config(
        rope_parameters={kind: {"rope_theta": base, "rope_type": "default"} for kind, base in told.items()}
    )


_Q = "model.layers.{}.self_attn.q_proj.weight"
KINDS = (
    Fault("layer 12 of NaN", "not finite", "smol", weights(_nan_layer(12)), "not finite.*layer 12", _SOURCE),
    Fault("one NaN in q of layer 7", "not finite", "smol", weights(_nan_value(_Q.format(7), float("nan"))), "not finite.*layer 7", _SOURCE),
    Fault("one infinite in the embedding", "not finite", "smol", weights(_nan_value("model.embed_tokens.weight", float("inf"))), "not finite", _SOURCE),
    Fault("Gemma layer 5 of NaN", "not finite", "gemma", weights(_nan_layer(5)), "not finite.*layer 5", _SOURCE),
    Fault("safetensors cut", "unloadable", "smol", _cut, "cut short", _SOURCE),
    Fault("Git LFS pointer", "unloadable", "smol", _pointer, "LFS pointer", "git lfs pull|again"),
    Fault("GGUF metadata overwritten", "unloadable", "smol.gguf", _damaged_gguf, "damaged", _SOURCE),
    Fault("GGUF without its magic", "unloadable", "smol.gguf", _other_magic, "not a GGUF", _SOURCE),
    Fault("weights absent", "unloadable", "smol", _gone("model.safetensors"), "no weights|weights", _SOURCE),
    Fault("config.json absent", "unloadable", "smol", _gone("config.json"), "config.json", _SOURCE),
    Fault("shard missing", "missing", "smol", _shard_missing, "model-00002-of-00002", _SOURCE),
    Fault("tokenizer.json missing", "tokenizer", "smol", _gone("tokenizer.json"), "no tokenizer", _SOURCE),
    Fault("head count 12", "missing", "smol", config(num_attention_heads=12), "head", _SOURCE),
    Fault("key heads 1", "missing", "smol", config(num_key_value_heads=1), "head", _SOURCE),
    Fault("24 of 30 layers in config", "missing", "smol", config(num_hidden_layers=24), "30 layers", _SOURCE),
    Fault("6 layers missing from weights", "missing", "smol", weights(_dropped(range(24, 30))), "layers 24 to 29", _SOURCE),
    Fault("two layers more in config", "missing", "smol", config(num_hidden_layers=32), "layers 30 to 31", _SOURCE),
    Fault("24 of 30 layers, both", "weights", "smol", lambda f: (config(num_hidden_layers=24)(f), weights(_dropped(range(24, 30)))(f))[0], "damaged", _SOURCE),
    Fault("layer 10 zero", "weights", "smol", weights(_zero(10)), "layer 10", _SOURCE),
    Fault("MLP of layer 3 zero", "weights", "smol", weights(_zero(3, "mlp")), "layer 3", _SOURCE),
    Fault("layer 15 is a copy of 14", "weights", "smol", weights(_move({15: 14})), "15 of 14", _SOURCE),
    Fault("two layers added", "weights", "smol", lambda f: (config(num_hidden_layers=32)(f), weights(_move({i: i - 2 for i in range(31, 17, -1)}))(f))[0], "cop", _SOURCE),
    Fault("layers 5 and 20 swapped", "weights", "smol", weights(_move({5: 20, 20: 5})), _WHERE, _SOURCE),
    Fault("layers 0 and 1 swapped", "weights", "smol", weights(_move({0: 1, 1: 0})), _WHERE, _SOURCE),
    Fault("layers 10 and 16 swapped", "weights", "smol", weights(_move({10: 16, 16: 10})), _WHERE, _SOURCE),
    Fault("noise in layer 8", "weights", "smol", weights(_noise_in(8)), "layer 8|damaged", _SOURCE),
    Fault("down of layer 6 ten times", "weights", "smol", weights(_factor("layers.6.mlp.down_proj", 10.0)), "layer 6.*scale", _SOURCE),
    Fault("layer 21 rounded, wrong scales", "weights", "smol", weights(_rounded(21)), "layer 21|scale", _SOURCE),
    Fault("q and k interleaved", "weights", "smol", weights(_interleaved(64)), "q_proj and k_proj|permuted", "convert|source"),
    Fault("Gemma q and k interleaved", "weights", "gemma", weights(_interleaved(256)), "q_proj and k_proj|permuted|damaged", "convert|source"),
    Fault("heads of layer 13 permuted", "weights", "smol", weights(_heads_permuted(13)), "layer 13|damaged", _SOURCE),
    Fault("layer 9 bf16 read as f16", "weights", "smol", weights(_bits_mistaken), "layer 9|damaged", _SOURCE),
    Fault("weights of whole numbers", "missing", "smol", weights(_whole_numbers), "whole numbers", _SOURCE),
    Fault("q_proj of layer 7 missing", "missing", "smol", weights(_without(_Q.format(7))), "layer 7 lacks", _SOURCE),
    Fault("untied without lm_head", "missing", "smol", lambda f: (config(tie_word_embeddings=False)(f), weights(_without("lm_head.weight"))(f))[0], "lm_head", _SOURCE),
    Fault("Gemma layers 4 and 12 swapped", "weights", "gemma", weights(_move({4: 12, 12: 4})), _WHERE, _SOURCE),
    Fault("vocabulary 50000 in config", "missing", "smol", config(vocab_size=50_000), "50000", _SOURCE),
    Fault("packed said, plain there", "missing", "smol", config(quantization_config={"quant_method": "exl2", "bits": 4.0}), "EXL2", _SOURCE),
    Fault("measurement of another model", "missing", "smol", _measurement, "measurement", "measure"),
    Fault("adapter of another base", "missing", "smol", _adapter, "adapter", "remove|base"),
    Fault("adapter alone", "missing", "smol", _adapter_alone, "adapter", "base"),
    Fault("RoPE base 10000", "rope", "smol", _rope(1e4), "base is wrong.*|rope_theta 10000", "100000", True),
    Fault("RoPE base absent", "rope", "smol", config(rope_theta=None, rope_parameters=None), "no rope_theta|10000", "card|source", True),
    Fault("RoPE base 500000", "rope", "smol", _rope(5e5), "rope_theta 500000", "100000", True),
    Fault("RoPE bases that differ", "rope", "smol", config(rope_theta=1e4), "10000.*100000", "source", True),
    Fault("Gemma local base 1000000", "rope", "gemma", _gemma_rope(sliding_attention=1e6), "sliding attention", "source", True),
    Fault("Gemma global base 10000", "rope", "gemma", _gemma_rope(full_attention=1e4), "full attention", "source", True),
    Fault("Gemma window lost", "rope", "gemma", config(sliding_window=None), "sliding", "source"),
    Fault("Gemma window 8192", "rope", "gemma", config(sliding_window=8192), "sliding", "source", True),
    Fault("GGUF RoPE base 10000", "rope", "smol.gguf", _scalar("llama.rope.freq_base", 1e4), "rope_theta 10000|base", "100000", True),
    Fault("GGUF tells 24 layers", "missing", "smol.gguf", _scalar("llama.block_count", 24), "24", _SOURCE),
    Fault("GGUF layer 11 zero", "weights", "smol.gguf", gguf_copy(_zero_gguf), "layer 11", _SOURCE),
    Fault("context 131072", "prompt", "smol", config(max_position_embeddings=131_072), "131072", _SOURCE),
    Fault("tokenizer of other ids", "tokenizer", "smol", _swapped_ids, "tokenizer is another", _SOURCE),
    Fault("added tokens shifted", "tokenizer", "smol", _shifted_added, "shifted", _SOURCE),
    Fault("byte form of tokenizer lost", "tokenizer", "smol", _no_byte_form, "byte form", _SOURCE),
    Fault("ids beyond the vocabulary", "tokenizer", "smol", _more_ids, "49300", _SOURCE + "|belong"),
    Fault("doubled BOS", "prompt", "smol", _template(lambda text: "{{ bos_token }}{{ bos_token }}" + text), "twice", "remove|own"),
    Fault("no generation prompt", "prompt", "smol", _template(lambda text: text.partition("{% if add_generation_prompt")[0]), "does not open", "own"),
    Fault("template of Mistral", "prompt", "smol", _template(lambda text: _INST), "another model", _SOURCE),
    Fault("template absent", "prompt", "smol", _gone("chat_template.jinja"), "no chat template", "copy|source"),
    Fault("template with a hole", "prompt", "smol", _template(lambda text: text + "{{ '{{ char }}' }}"), "char", "template|source|fill"),
    Fault("EOS never written", "prompt", "smol", _ends(0), "never stops", "eos_token_id"),
    Fault("one layer's tensors renamed", "missing", "smol", weights(_rename("layers.4.mlp.gate_proj", "layers.4.mlp.w1")), "layer 4", _SOURCE),
)  # fmt: skip
