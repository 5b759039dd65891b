"""The lock's adapters: transformers on the real tokenizer's shapes, ExLlama's filters over stand-in bases."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest
import torch
from exllama_guard.tools.locks.compiled import compile_plan, plan_answer, plan_calls
from exllama_guard.tools.locks.exllamav2_filter import filter_for_exllamav2
from exllama_guard.tools.locks.exllamav3_filter import filter_for_exllamav3
from exllama_guard.tools.locks.run import Phase
from exllama_guard.tools.locks.transformers_processor import LockProcessor, apply_mask
from exllama_guard.tools.registry import tool_from_openai

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
PADDED = 320  # a model's logits are wider than its tokenizer


@pytest.fixture(scope="module")
def answer_lock(letters):
    return compile_plan(plan_answer(SCHEMA, ""), letters)


@pytest.fixture(scope="module")
def call_lock(letters):
    tool = tool_from_openai({"name": "add", "parameters": SCHEMA})
    return compile_plan(plan_calls((tool,), "<tool_call>", always=False), letters)


def allowed(scores):
    return set(torch.isfinite(scores.flatten()).nonzero().flatten().tolist())


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_mask_is_applied_and_padding_never_comes(letters, kind):
    mask = np.zeros((letters.size + 31) // 32, dtype=np.int32)
    mask[1] = 0b101
    mask[0] = -(2**31)  # the sign bit is token 31
    for width in (PADDED, letters.size, 40):
        scores = torch.full((1, width), 0.5, dtype=kind)
        masked = apply_mask(scores, mask, letters.size)
        assert (masked.shape, masked.dtype) == (scores.shape, kind)
        assert allowed(masked) == {31, 32, 34}
        assert float(masked[0, 34]) == 0.5
    mask.fill(-1)
    assert allowed(apply_mask(torch.zeros(1, PADDED, dtype=kind), mask, letters.size)) == set(
        range(letters.size)
    )


def test_the_processor_follows_a_reply_and_replays_where_it_goes_back(answer_lock):
    processor = LockProcessor(answer_lock)
    prompt = list(b"question")
    scores = torch.zeros(1, PADDED)

    def step(reply):
        return allowed(processor(torch.tensor([prompt + list(reply)]), scores))

    assert ord("{") in step(b"")
    assert ord("x") not in step(b"")
    assert step(b'{"') == {ord("a")}
    assert ord("5") in step(b'{"a":')
    assert step(b'{"') == {ord("a")}, "after going back"
    assert processor.phase is Phase.LOCKED
    assert scores.isfinite().all(), "the given scores are not changed"
    assert step(b'{"a":5') > {ord("}"), ord("6")}
    assert step(b'{"a":5}') == set(answer_lock.vocabulary.eos_ids), "nothing comes after the answer"


def test_several_sequences_are_not_masked_and_that_is_said(answer_lock):
    processor = LockProcessor(answer_lock)
    scores = torch.zeros(2, PADDED)
    assert processor(torch.zeros(2, 4, dtype=torch.long), scores) is scores
    assert "2 sequences" in processor.reason


class V2Base:
    """The constructor of exllamav2 0.3.2's `ExLlamaV2Filter`."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.background_result = None


@pytest.mark.parametrize("feeds", [True, False], ids=["fed", "not fed, as with a draft model"])
def test_the_exllamav2_filter_reads_what_was_written(call_lock, feeds):
    generator = types.SimpleNamespace(
        model=None, tokenizer=None, sequence_ids=torch.tensor([list(b"prompt ")])
    )
    made = filter_for_exllamav2(call_lock, generator, V2Base)
    made.begin("")
    logits = torch.zeros(PADDED)

    def write(text):
        for byte in text:
            generator.sequence_ids = torch.cat([generator.sequence_ids, torch.tensor([[byte]])], dim=1)
            if feeds:
                made.feed(torch.tensor([[byte]]))

    assert made.can_mask_logits()
    assert made.prepare_logit_mask()
    assert made.mask_logits(logits) is logits
    assert made.next() == (None, None)
    write(b'Sure <tool_call>{"name": "add", "arguments": {"')
    assert made.prepare_logit_mask()
    assert allowed(made.mask_logits(logits)) == {ord("a")}
    assert made.next() == ({ord("a")}, set())
    assert made.clone().phase is Phase.FREE


class V3Base:
    """The constructor and `attach` of exllamav3 0.0.30's `Filter`."""

    def __init__(self, tokenizer, trigger_token, prefix_str, eos_after_completed):
        self.tokenizer, self.trigger_token = tokenizer, trigger_token
        self.logits_dtype = torch.half
        self.vocab_size = PADDED
        self.is_active = trigger_token is None


def test_the_exllamav3_filter_gives_additive_half_masks(call_lock):
    made = filter_for_exllamav3(call_lock, None, b"prompt ", V3Base)
    assert made.is_active
    assert made.use_background_worker()
    free = made.get_next_logit_mask()
    assert (free.shape, free.dtype, bool((free == 0).all())) == ((1, PADDED), torch.half, True)
    written = b'Sure <tool_call>{"name": "add", "arguments": {"'
    for byte in written:
        made.accept_token(byte)
    assert allowed(made.get_next_logit_mask()) == {ord("a")}
    made.reset()
    assert made.phase is Phase.FREE
    for byte in written:
        made.accept_token(byte)
    assert allowed(made.get_next_logit_mask()) == {ord("a")}
    assert not made.is_completed()


def _by_processor(lock, limit):
    processor, ids = LockProcessor(lock, limit), list(b"question")
    start = len(ids)

    def step(token=None):
        ids.extend([] if token is None else [token])
        return allowed(processor(torch.tensor([ids]), torch.zeros(1, PADDED)))

    return processor, step, lambda: bytes(ids[start:])


def _by_v2(lock, limit):
    ids = list(b"question")
    generator = types.SimpleNamespace(model=None, tokenizer=None, sequence_ids=torch.tensor([ids]))
    made, start = filter_for_exllamav2(lock, generator, V2Base, limit), len(ids)
    made.begin("")

    def step(token=None):
        ids.extend([] if token is None else [token])
        generator.sequence_ids = torch.tensor([ids])
        made.prepare_logit_mask()
        return allowed(made.mask_logits(torch.zeros(PADDED)))

    return made, step, lambda: bytes(ids[start:])


def _by_v3(lock, limit):
    made, out = filter_for_exllamav3(lock, None, b"question", V3Base, limit), []

    def step(token=None):
        if token is not None:
            out.append(token)
            made.accept_token(token)
        return allowed(made.get_next_logit_mask())

    return made, step, lambda: bytes(out)


@pytest.mark.parametrize("adapter", [_by_processor, _by_v2, _by_v3])
def test_every_adapter_closes_a_reply_before_the_limit_that_it_was_told(answer_lock, adapter):
    made, step, written = adapter(answer_lock, 40)
    may = step()
    for _ in range(40):
        if may == set(answer_lock.vocabulary.eos_ids):
            break
        may = step(ord("7") if ord("7") in may else min(may))
    assert made.closed
    assert made.phase is Phase.DONE
    assert set(json.loads(written())) == {"a"}, "a number without an end is ended"
