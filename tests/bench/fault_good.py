"""Good models: what the doctor must find nothing in. The tiny ones are random, and read by their files only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fault_folders import config, weights

__all__ = ["READ", "TINY", "tiny"]


def _halves(folder: Path) -> None:
    """Sharded into two files with an index."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    names, place = sorted(tensors), {}
    for part in (0, 1):
        file = f"model-0000{part + 1}-of-00002.safetensors"
        chosen = names[part::2]
        save_file({name: tensors[name] for name in chosen}, folder / file, {"format": "pt"})
        place.update(dict.fromkeys(chosen, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": place}))


def _bfloat16(tensors: dict[str, Any]) -> None:
    import torch

    for name in tensors:
        tensors[name] = tensors[name].to(torch.bfloat16)


def _padded(folder: Path) -> None:
    import torch

    def change(tensors: dict[str, Any]) -> None:
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            if name in tensors:
                value = tensors[name]
                tensors[name] = torch.cat([value, torch.zeros(128, value.shape[1], dtype=value.dtype)])

    weights(change)(folder)
    config(vocab_size=49_280)(folder)


# name → base, what is changed, reference
READ: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "SmolLM2 folder": ("smol", lambda folder: None, ""),
    "SmolLM2 GGUF": ("smol.gguf", lambda folder: None, ""),
    "SmolLM2 beside its own GGUF": ("smol", lambda folder: None, "smol.gguf"),
    "SmolLM2 as transformers 5 saves it": ("smol", config(rope_theta=None), ""),
    "SmolLM2 in bfloat16": ("smol", weights(_bfloat16), ""),
    "SmolLM2 in two shards": ("smol", _halves, ""),
    "SmolLM2, vocabulary padded": ("smol", _padded, ""),
    "SmolLM2, output untied": ("smol", config(tie_word_embeddings=False), ""),
    "Gemma 3 folder": ("gemma", lambda folder: None, ""),
    "Gemma 3 beside its own GGUF": ("gemma", lambda folder: None, "gemma.gguf"),
    "Gemma 3 GGUF": ("gemma.gguf", lambda folder: None, ""),
}
TINY = {
    "llama": {},
    "mistral": {"sliding_window": 4096},
    "mixtral": {"num_local_experts": 4},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "qwen3_moe": {"num_experts": 4, "moe_intermediate_size": 64, "head_dim": 16},
    "phi": {},
    "phi3": {"pad_token_id": 0},
    "gemma": {"head_dim": 16},
    "gemma2": {"head_dim": 16},
    "gemma3_text": {"head_dim": 16},
    "gpt_neox": {},
    "falcon": {},
    "stablelm": {},
    "olmo2": {},
    "gpt2": {},
}


def tiny(kind: str, tokenizer: Path, folder: Path) -> Path:
    """A random model of four layers of this type, with the tokenizer of SmolLM2, as transformers saves it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    shutil.rmtree(folder, ignore_errors=True)
    sizes = {
        "vocab_size": 49_152,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "max_position_embeddings": 2048,
    }
    if kind in ("falcon", "gpt_neox", "gpt2"):
        sizes.pop("num_key_value_heads")
    made = AutoConfig.for_model(kind, **{**sizes, **TINY[kind]})
    AutoModelForCausalLM.from_config(made).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer / name, folder / name)
    return folder
