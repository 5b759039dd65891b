"""Objects shaped like the WebUI's around ExLlama, over a small arithmetic model, where no GPU is.

Names and behaviour follow exllamav2 0.3.2 (cache.py, model.py, generator/streaming.py), exllamav3 1.6.5
(generator/pagetable.py, generator/generator.py) and the WebUI's modules. A cache that an adapter leaves in
the wrong place makes the next logits wrong, as on the real thing.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace

import torch

VOCABULARY = 64
END = 0
MAX_TOKENS = 512
MAX_INPUT = 128


def logits_after(ids: list[int]) -> torch.Tensor:
    """Logits of the next token, a function of every id before it."""
    state = 7
    for token in ids:
        state = (state * 31 + token + 1) % 1_000_003
    row = torch.tensor([((state * (k + 3)) % 997) / 100.0 for k in range(VOCABULARY)])
    row[END] = -20.0
    return row


def all_logits(ids: list[int], start: int = 0) -> torch.Tensor:
    return torch.stack([logits_after(ids[: i + 1]) for i in range(start, len(ids))])[None]


class LetterTokenizer:
    eos_token_id = END

    def encode(self, text: str, add_bos: bool = False, encode_special_tokens: bool = False) -> torch.Tensor:
        ids = [1 + ord(letter) % (VOCABULARY - 1) for letter in text]
        return torch.tensor([([1] if add_bos else []) + ids], dtype=torch.long)

    def decode(self, ids: torch.Tensor, decode_special_tokens: bool = False) -> list[str] | str:
        rows = ids if ids.dim() == 2 else ids[None]
        texts = ["".join(chr(64 + int(token) % 60) for token in row) for row in rows]
        return texts if ids.dim() == 2 else texts[0]


class HFTokenizer:
    eos_token_id = END
    chat_template = "{{ messages }}"

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return LetterTokenizer().encode(text)[0].tolist()

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return str(LetterTokenizer().decode(torch.tensor(ids, dtype=torch.long)))


class ExLlamaV2Cache_Q4:
    max_seq_len = MAX_TOKENS

    def __init__(self) -> None:
        self.current_seq_len = 0
        self.kept: list[int] = []


class V2Model:
    config = SimpleNamespace(max_input_len=MAX_INPUT)

    def forward(self, input_ids, cache=None, preprocess_only=False, last_id_only=False, loras=None):
        new = input_ids[0].tolist()
        if cache is None:
            assert len(new) <= MAX_INPUT, "Maximum input length exceeded in model.forward"
            return all_logits(new)
        assert cache.current_seq_len + len(new) <= cache.max_seq_len
        past = cache.kept[: cache.current_seq_len]
        cache.kept = past + new
        cache.current_seq_len = len(cache.kept)
        if preprocess_only:
            return None
        logits = all_logits(cache.kept, len(past))
        return logits[:, -1:] if last_id_only else logits


class V2Generator:
    """As far as ExLlamaV2StreamingGenerator's reuse of a cache goes."""

    def __init__(self, model: V2Model, cache: ExLlamaV2Cache_Q4) -> None:
        self.model, self.cache, self.sequence_ids = model, cache, None

    def write(self, ids: torch.Tensor, n_tokens: int) -> list[int]:
        reuse = 0
        held = self.sequence_ids
        if held is not None and self.cache.current_seq_len:
            while reuse < min(held.shape[-1], ids.shape[-1]) and held[0, reuse] == ids[0, reuse]:
                reuse += 1
        self.cache.current_seq_len = max(0, reuse - 1)
        self.sequence_ids = ids.clone()
        self.model.forward(ids[:, self.cache.current_seq_len : -1], self.cache, preprocess_only=True)
        made = []
        for _ in range(n_tokens):
            token = int(torch.argmax(self.model.forward(self.sequence_ids[:, -1:], self.cache)[0, -1]))
            made.append(token)
            self.sequence_ids = torch.cat([self.sequence_ids, torch.tensor([[token]])], dim=1)
        return made


class Exllamav2Model:
    def __init__(self) -> None:
        self.model, self.cache, self.tokenizer = V2Model(), ExLlamaV2Cache_Q4(), LetterTokenizer()
        self.generator = V2Generator(self.model, self.cache)
        self.loras = self.draft_model = None
        self.draft_cache = ExLlamaV2Cache_Q4()

    def write(self, text: str, n_tokens: int) -> list[int]:
        return self.generator.write(self.tokenizer.encode(text), n_tokens)


class HeldSequenceModel:
    """The part of exllamav2_hf.py and exllamav3_hf.py that the adapters touch."""

    dtype = torch.float16

    def __init__(self) -> None:
        self.past_seq = None

    def next_logits(self, ids: list[int]) -> torch.Tensor:
        held = [] if self.past_seq is None else self.past_seq.tolist()
        same = 0
        while same < min(len(held), len(ids)) and held[same] == ids[same]:
            same += 1
        self.past_seq = torch.tensor(ids)
        return logits_after(held[:same] + ids[same:])[None, None]

    def __call__(self, *, input_ids: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.next_logits(input_ids[0].tolist()))

    def write(self, text: str, n_tokens: int) -> list[int]:
        ids = HFTokenizer().encode(text)
        made: list[int] = []
        for _ in range(n_tokens):
            made.append(int(torch.argmax(self(input_ids=torch.tensor([ids + made])).logits[0, -1])))
        return made


class Exllamav2HF(HeldSequenceModel):
    def __init__(self) -> None:
        super().__init__()
        self.ex_model, self.ex_cache, self.loras = V2Model(), ExLlamaV2Cache_Q4(), None


class V3Model:
    config = SimpleNamespace(vocab_size=VOCABULARY - 4)  # the head is padded, as on the real thing

    def forward(self, input_ids, params):
        assert params == {"attn_mode": "flash_attn_nc"}
        return all_logits(input_ids[0].tolist())


class Exllamav3HF(HeldSequenceModel):
    max_tokens = MAX_TOKENS

    def __init__(self) -> None:
        super().__init__()
        self.ex_model = V3Model()


class PageTable:
    """exllamav3's page table as far as reset, defrag and the chain of pages go."""

    max_pages = 4

    def __init__(self) -> None:
        self.access_serial = self.last_defrag_serial = 0
        self.defragmented = 0
        self.reset_page_table()

    def reset_page_table(self) -> None:
        self.all_pages = [
            SimpleNamespace(page_index=i, phash=bytes([i]), prev_hash=None, kv_position=0)
            for i in range(self.max_pages)
        ]
        self.last_defrag_serial = self.access_serial

    def fill(self, order: list[int]) -> None:
        """A chain of full pages in this order of places."""
        for before, after in zip([None, *order], order, strict=False):
            page = self.all_pages[after]
            page.kv_position = 256
            page.prev_hash = None if before is None else self.all_pages[before].phash

    def defrag(self) -> None:
        if self.access_serial < self.last_defrag_serial + self.max_pages * 8:
            return
        self.defragmented += 1
        used = sum(1 for page in self.all_pages if page.kv_position)
        self.reset_page_table()
        self.fill(list(range(used)))


class V3Generator:
    def __init__(self) -> None:
        self.pagetable, self.jobs = PageTable(), 0

    def num_remaining_jobs(self) -> int:
        return self.jobs


class Exllamav3Model:
    max_tokens = 1024

    def __init__(self) -> None:
        self.model, self.tokenizer, self.generator = V3Model(), LetterTokenizer(), V3Generator()
        self.config = SimpleNamespace(eos_token_id_list=[END, None])
        self.parallel_generator = SimpleNamespace(lock=threading.Lock())

    def write(self, text: str, n_tokens: int) -> list[int]:
        ids, made = self.tokenizer.encode(text)[0].tolist(), []
        for _ in range(n_tokens):
            made.append(int(torch.argmax(logits_after(ids + made)[: V3Model.config.vocab_size])))
        self.generator.pagetable.fill([2, 0])
        return made
