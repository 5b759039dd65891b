"""Stand-ins for `exllamav2` and `exllamav3` on a machine without a GPU, to try the scripts: names and calls only.

`install(folder)` puts them into `sys.modules`. The model behind them is a Hugging Face folder read by
transformers; with `sdpa` left on, ExLlamaV2's forgets its causal mask, as the real one does (attn.py,
`_attn_torch`, 0.2.9 to 0.3.2). Caches are not quantised and nothing is fast: no figure of it means anything.
"""

from __future__ import annotations

import random
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch


def install() -> None:
    for name, members in {
        "exllamav2": V2,
        "exllamav2.generator": V2_GENERATOR,
        "exllamav2.generator.filters": {"ExLlamaV2Filter": V2Filter},
        "exllamav3": V3,
        "exllamav3.cache": V3,
        "exllamav3.generator": V3,
        "exllamav3.generator.sampler": V3_SAMPLER,
        "exllamav3.generator.filter": {"Filter": V3Filter},
    }.items():
        module = ModuleType(name)
        vars(module).update(members)
        module.__path__ = []
        sys.modules[name] = module


_READ: dict[Path, tuple[object, object]] = {}


def _read(folder: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if folder not in _READ:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        _READ[folder] = (model.eval(), AutoTokenizer.from_pretrained(folder))
    return _READ[folder]


class _Tokenizer:
    def __init__(self, config) -> None:
        self.config, (_, self._hf) = config, _read(Path(config.model_dir))
        self.eos_token_id = self._hf.eos_token_id
        self.tokenizer = self._hf.backend_tokenizer

    def encode(self, text, add_bos=False, encode_special_tokens=False):
        return torch.tensor([self._hf.encode(text, add_special_tokens=False)], dtype=torch.long)

    def decode(self, ids, decode_special_tokens=False):
        rows = ids if ids.dim() == 2 else ids[None]
        texts = [self._hf.decode(row, skip_special_tokens=not decode_special_tokens) for row in rows]
        return texts if ids.dim() == 2 else texts[0]


def _news(shown: str, text: str) -> tuple[str, str]:
    """(what is new, what was shown then); a character of which bytes are missing waits, as in the libraries."""
    return ("", shown) if text.endswith("\ufffd") else (text[len(shown) :], text)


class _Net:
    """A growing sequence with transformers' cache behind a settable length."""

    def __init__(self, folder: Path) -> None:
        self.hf, _ = _read(folder)

    @torch.inference_mode()
    def logits(self, ids: list[int], blind: bool = True) -> torch.Tensor:
        tensor = torch.tensor([ids])
        mask = None if blind else torch.zeros(1, 1, len(ids), len(ids))
        return self.hf(input_ids=tensor, attention_mask=mask, use_cache=False).logits


# --- exllamav2 --------------------------------------------------------------------------------------------


class V2Config:
    def __init__(self) -> None:
        self.max_input_len, self.no_sdpa, self.model_dir = 2048, False, ""
        self.no_flash_attn = self.no_xformers = False

    def prepare(self) -> None:
        net, _ = _read(Path(self.model_dir))
        self.vocab_size, self.max_seq_len = net.config.vocab_size, net.config.max_position_embeddings


class V2Model:
    def __init__(self, config) -> None:
        self.config, self._net = config, _Net(Path(config.model_dir))

    def load(self, split=None) -> None: ...

    def load_tp(self, split=None) -> None: ...

    def load_autosplit(self, cache) -> None: ...

    def unload(self) -> None: ...

    def forward(self, input_ids, cache=None, preprocess_only=False, last_id_only=False, loras=None, **kwargs):
        new = input_ids[0].tolist()
        past = [] if cache is None else cache.kept[: cache.current_seq_len]
        ids = past + new
        if cache is not None:
            assert len(ids) <= cache.max_seq_len
            cache.kept, cache.current_seq_len = ids, len(ids)
        if preprocess_only:
            return None
        logits = self._net.logits(ids, blind=self.config.no_sdpa or len(new) == 1)[:, len(past) :]
        return logits[:, -1:] if last_id_only else logits


class V2Cache:
    def __init__(self, model, lazy=False, max_seq_len=-1, base=None) -> None:
        self.max_seq_len, self.current_seq_len, self.kept = model.config.max_seq_len, 0, []


class V2Filter:
    def __init__(self, model, tokenizer) -> None:
        self.model, self.tokenizer, self.background_result = model, tokenizer, None


class V2Settings:
    def __init__(self, **values) -> None:
        self.values = {"temperature": 0.8, **values}

    @staticmethod
    def greedy(**values):
        return V2Settings(temperature=0.0, **values)


class V2StreamingGenerator:
    def __init__(self, model, cache, tokenizer, draft_model=None, draft_cache=None, **kwargs) -> None:
        self.model, self.cache, self.tokenizer = model, cache, tokenizer
        self.sequence_ids, self.stop_tokens = None, {tokenizer.eos_token_id}

    def begin_stream(self, ids, settings, loras=None):
        self.begin_stream_ex(ids, settings, loras=loras)

    def begin_stream_ex(self, ids, settings, loras=None, filters=None, **kwargs):
        held, reuse = self.sequence_ids, 0
        if held is not None and self.cache.current_seq_len:
            while reuse < min(held.shape[-1], ids.shape[-1]) and held[0, reuse] == ids[0, reuse]:
                reuse += 1
        self.cache.current_seq_len = max(0, reuse - 1)
        self.sequence_ids = ids.clone()
        if ids.shape[-1] - self.cache.current_seq_len > 1:
            self.model.forward(ids[:, self.cache.current_seq_len : -1], self.cache, preprocess_only=True)
        self.settings, self.filters, self.first = settings, filters or [], True
        self._start, self._shown = ids.shape[-1], ""

    def stream_ex(self):
        if self.first:
            for one in self.filters:
                one.begin("")
            self.first = False
        logits = self.model.forward(self.sequence_ids[:, -1:], self.cache)[0, -1].float()
        for one in self.filters:
            assert one.prepare_logit_mask()
            logits = one.mask_logits(logits)
        if self.settings.values["temperature"] <= 0:
            token = int(logits.argmax())
        else:
            share = torch.softmax(logits / self.settings.values["temperature"], dim=-1)
            token = int((share.cumsum(0) < random.random()).sum().clamp(max=len(share) - 1))
        for one in self.filters:
            one.feed(torch.tensor([[token]]))
        self.sequence_ids = torch.cat([self.sequence_ids, torch.tensor([[token]])], dim=1)
        text = self.tokenizer.decode(self.sequence_ids[0, self._start :])
        chunk, self._shown = _news(self._shown, text)
        return {"chunk": chunk, "eos": token in self.stop_tokens, "chunk_token_ids": torch.tensor([[token]])}

    def stream(self):
        step = self.stream_ex()
        return step["chunk"], step["eos"], step["chunk_token_ids"]


V2 = {
    "ExLlamaV2": V2Model,
    "ExLlamaV2Config": V2Config,
    "ExLlamaV2Tokenizer": _Tokenizer,
    "ExLlamaV2Cache_TP": V2Cache,
    **{
        f"ExLlamaV2Cache{end}": type(f"ExLlamaV2Cache{end}", (V2Cache,), {})
        for end in ("", "_8bit", "_Q8", "_Q6", "_Q4")
    },
}
V2_GENERATOR = {
    "ExLlamaV2StreamingGenerator": V2StreamingGenerator,
    "ExLlamaV2Sampler": SimpleNamespace(Settings=V2Settings),
}


# --- exllamav3 --------------------------------------------------------------------------------------------


class V3Config:
    @classmethod
    def from_directory(cls, folder):
        made, (net, tokenizer) = cls(), _read(Path(folder))
        made.model_dir, made.vocab_size = str(folder), net.config.vocab_size
        made.eos_token_id_list, made.config_dict = [tokenizer.eos_token_id], {}
        return made


class V3Model:
    @classmethod
    def from_config(cls, config):
        made = cls()
        made.config, made._net = config, _Net(Path(config.model_dir))
        return made

    def load(self, **kwargs) -> None: ...

    def unload(self) -> None: ...

    def prefill(self, input_ids, params):
        self.forward(input_ids, params)

    def forward(self, input_ids, params):
        new, cache = input_ids[0].tolist(), params.get("cache")
        past = [] if cache is None else cache.kept[: params["past_len"]]
        ids = past + new
        if cache is not None:
            cache.kept = ids
        return self._net.logits(ids)[:, len(past) :]


class V3Cache:
    def __init__(self, model, max_num_tokens, layer_type=None, **kwargs) -> None:
        self.max_num_tokens, self.kept = max_num_tokens, []


class V3Tokenizer(_Tokenizer):
    @classmethod
    def from_config(cls, config):
        return cls(config)


class V3Filter:
    def __init__(self, tokenizer, trigger_token, prefix_str, eos_after_completed) -> None:
        self.tokenizer, self.logits_dtype, self.is_active = tokenizer, torch.half, True

    def attach(self, job) -> None:
        self.vocab_size = job.generator.model.config.vocab_size


class V3Job:
    def __init__(self, input_ids, max_new_tokens, sampler=None, seed=None, stop_conditions=None, filters=None,
                 **kwargs) -> None:  # fmt: skip
        self.ids, self.left, self.sampler = input_ids[0].tolist(), max_new_tokens, sampler
        self.stops, self.filters, self.start = set(stop_conditions or ()), filters or [], input_ids.shape[-1]
        self.random, self.shown = random.Random(seed), ""


class _Page(SimpleNamespace):
    pass


class V3PageTable:
    def __init__(self, tokens: int) -> None:
        self.max_pages, self.access_serial, self.last_defrag_serial = tokens // 256, 0, 0
        self.reset_page_table()

    def reset_page_table(self) -> None:
        self.all_pages = [
            _Page(page_index=i, phash=bytes([i]), prev_hash=None, kv_position=0)
            for i in range(self.max_pages)
        ]

    def defrag(self) -> None: ...


class V3Generator:
    def __init__(self, model, cache, tokenizer, **kwargs) -> None:
        self.model, self.cache, self.tokenizer, self.jobs = model, cache, tokenizer, []
        self.pagetable = V3PageTable(cache.max_num_tokens)

    def enqueue(self, job) -> None:
        job.generator = self
        for one in job.filters:
            one.attach(job)
        self.jobs.append(job)

    def cancel(self, job) -> None:
        self.jobs = [one for one in self.jobs if one is not job]

    def clear_queue(self) -> None:
        self.jobs = []

    def num_remaining_jobs(self) -> int:
        return len(self.jobs)

    def iterate(self):
        out = []
        for job in list(self.jobs):
            logits = self.model.forward(torch.tensor([job.ids]), {"attn_mode": "flash_attn_nc"})[
                0, -1
            ].float()
            for one in job.filters:
                logits = logits + one.get_next_logit_mask()[0, : len(logits)].float()
            if "argmax" in job.sampler.names:
                token = int(logits.argmax())
            else:
                share = torch.softmax(logits / 0.7, dim=-1)
                token = int((share.cumsum(0) < job.random.random()).sum().clamp(max=len(share) - 1))
            job.left -= 1
            eos = token in job.stops
            if not eos:
                job.ids.append(token)
                for one in job.filters:
                    one.accept_token(token)
            text = self.tokenizer.decode(torch.tensor(job.ids[job.start :], dtype=torch.long))
            chunk, job.shown = _news(job.shown, text)
            page = self.pagetable.all_pages[0]
            page.kv_position = min(256, len(job.ids))
            if eos or job.left <= 0:
                self.cancel(job)
                eos = True
            out.append({"stage": "streaming", "job": job, "eos": eos, "text": chunk,
                        "token_ids": torch.tensor([[token]])})  # fmt: skip
        return out


V3 = {
    "Config": V3Config,
    "Model": V3Model,
    "Cache": V3Cache,
    "Tokenizer": V3Tokenizer,
    "Generator": V3Generator,
    "Job": V3Job,
    "CacheLayer_fp16": object,
    "CacheLayer_quant": object,
}
V3_SAMPLER = {
    "CustomSampler": lambda chain: SimpleNamespace(names=[one.name for one in chain]),
    "SS_Argmax": lambda: SimpleNamespace(name="argmax"),
    **{
        f"SS_{name}": (lambda name: lambda *args: SimpleNamespace(name=name.lower()))(name)
        for name in ("Sample", "Temperature", "TopK", "TopP", "MinP", "RepP", "PresFreqP", "AdaptiveP")
    },
}
LOCK = threading.Lock()
