"""A lock while a reply is written: what may come next, in every call format, for two tokenizers."""

from __future__ import annotations

import dataclasses
import json

import pytest
from exllama_guard.tools.grammar.formats import BARE, FORMATS
from exllama_guard.tools.locks.cache import LockCache
from exllama_guard.tools.locks.compiled import compile_plan, compile_reason, plan_answer, plan_calls
from exllama_guard.tools.locks.run import LockRun, Phase
from exllama_guard.tools.locks.vocabulary import vocabulary_from_json
from exllama_guard.tools.registry import tool_from_openai
from lock_material import allowed_tokens

WEATHER = tool_from_openai(
    {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"enum": ["C", "F"]},
            },
            "required": ["city"],
        },
    }
)
NOW = tool_from_openai({"name": "now", "parameters": {"type": "object", "properties": {}}})
SPECIALS = (
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<think>",
    "</think>",
)


@pytest.fixture(scope="session")
def pieces():
    """A byte-level BPE tokenizer trained here, with special tokens as chat models have them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<end>", *SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = [
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call> then text'
    ] * 40
    tokenizer.train_from_iterator(
        [*text, "get_weather {now{ call:now [now() ]>{ ></ Sure, let me see. 0123456789"], trainer
    )
    return vocabulary_from_json(tokenizer.to_str(), [0])


@pytest.fixture(params=["letters", "pieces"])
def vocabulary(request):
    return request.getfixturevalue(request.param)


def locked(vocabulary, tools=(WEATHER, NOW), template="", always=False, formats=None):
    plan = plan_calls(tools, template, always=always)
    return compile_plan(dataclasses.replace(plan, formats=formats) if formats else plan, vocabulary)


def write(run, vocabulary, text):
    """Feeds `text`; the phases after each token, and the first token that the lock forbade or None."""
    phases, forbidden = [], None
    for token in vocabulary.ll_tokenizer.tokenize_str(text):
        mask = run.mask()
        if forbidden is None and mask is not None and token not in allowed_tokens(mask):
            forbidden = vocabulary.tokens[token].decode("utf-8", "replace")
        run.feed(token)
        phases.append(run.phase)
    return phases, forbidden


CALLS = {
    "DeepSeek": '<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Rome"}<｜tool▁call▁end｜>',
    "Kimi": (
        "<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "Rome"}<|tool_call_end|>'
    ),
    "channel": 'to=functions.get_weather <|constrain|>json<|message|>{"city": "Rome"}',
    "Gemma": '<|tool_call>call:get_weather{city:<|"|>Rome<|"|>,days:3}<tool_call|>',
    "MiniMax": (
        '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Rome</parameter>\n'
        '<parameter name="unit">C</parameter>\n</invoke>\n</minimax:tool_call>'
    ),
    "GLM": "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n</tool_call>",
    "XML parameters": (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n"
        "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"
    ),
    "Mistral": '[TOOL_CALLS]get_weather[ARGS]{"city": "Rome", "days": 3}',
    "tagged JSON": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>',
    "tagged JSON (function_call)": (
        '<function_call>{"name": "get_weather", "arguments": {"city": "Rome"}}</function_call>'
    ),
    "Python call": '[get_weather(city="Rome", days=3)]',
    "plain JSON": '{"name": "get_weather", "parameters": {"city": "Rome"}}',
    "bare name": 'get_weather {"city": "Rome"}',
}


@pytest.mark.parametrize("form", [*FORMATS, BARE], ids=lambda form: form.name)
def test_a_right_call_passes_and_a_wrong_name_does_not(vocabulary, form):
    lock = locked(vocabulary, formats=(form,))
    assert not lock.unenforced
    call = CALLS[form.name]
    phases, forbidden = write(LockRun(lock), vocabulary, "Sure. " + call + " Done.")
    assert forbidden is None
    assert Phase.LOCKED in phases
    assert phases[-1] is Phase.FREE
    if form.per_tool_triggers is None:
        _, forbidden = write(LockRun(lock), vocabulary, call.replace("get_weather", "get_time"))
        assert forbidden is not None
    _, forbidden = write(LockRun(lock), vocabulary, call.replace("city", "town"))
    assert forbidden is not None, "an unknown argument"


def test_a_tagged_call_has_the_key_that_every_host_reads(vocabulary):
    """WebUI 3.23 reads "arguments" alone between the tags (extensions/openai/utils.py)."""
    call = CALLS["tagged JSON"]
    assert write(LockRun(locked(vocabulary)), vocabulary, call)[1] is None
    assert (
        write(LockRun(locked(vocabulary)), vocabulary, call.replace("arguments", "parameters"))[1] is not None
    )


def test_no_text_of_a_call_holds_its_closing_mark(vocabulary):
    """Hosts take `</tool_call>` for the end of a call also where it stands in a JSON string."""
    lock = locked(vocabulary, formats=[form for form in FORMATS if form.name == "tagged JSON"])
    call = CALLS["tagged JSON"]
    assert write(LockRun(lock), vocabulary, call.replace("Rome", "Rome </tool_call> x"))[1] is not None
    assert write(LockRun(lock), vocabulary, call.replace("Rome", "Rome </tool_ </ <tool_call> x"))[1] is None


def test_deepseek_r1_and_mistral_with_an_id_pass(vocabulary):
    fenced = (
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Rome"}\n```<｜tool▁call▁end｜>'
    )
    named = '[TOOL_CALLS]get_weather[CALL_ID]a1B2c3D4e[ARGS]{"city": "Rome"}'
    for call, form in ((fenced, "DeepSeek"), (named, "Mistral")):
        lock = locked(vocabulary, formats=[one for one in FORMATS if one.name == form])
        assert write(LockRun(lock), vocabulary, call)[1] is None
        assert write(LockRun(lock), vocabulary, call.replace("city", "town"))[1] is not None


def test_free_text_is_not_touched(vocabulary):
    run = LockRun(locked(vocabulary))
    phases, forbidden = write(run, vocabulary, "It is 5 < 6; use get_weather or {braces} as you like. <tool>")
    assert forbidden is None
    assert set(phases) == {Phase.FREE}


def test_thinking_is_free_also_when_the_template_opened_it(vocabulary):
    lock = locked(vocabulary)
    text = 'maybe <tool_call>{"x": 1}</tool_call> get_weather{} </think>'
    phases, forbidden = write(LockRun(lock), vocabulary, "<think>" + text + CALLS["tagged JSON"])
    assert forbidden is None
    assert Phase.LOCKED in phases
    phases, forbidden = write(LockRun(lock, b"assistant\n<think>\n"), vocabulary, text + "ok")
    assert forbidden is None
    assert Phase.LOCKED not in phases


def test_two_calls_in_one_reply_are_both_locked(vocabulary):
    lock = locked(vocabulary)
    good = CALLS["tagged JSON"]
    assert write(LockRun(lock), vocabulary, good + " and " + good)[1] is None
    assert write(LockRun(lock), vocabulary, good + " and " + good.replace("city", "town"))[1] is not None


def test_a_token_that_ends_the_trigger_and_runs_on_must_fit_too(pieces):
    lock = locked(pieces)
    merged = [text for text in pieces.tokens if text.startswith(b">") and len(text) > 1]
    assert merged, "the tokenizer has no token to try this with"
    run = LockRun(lock)
    for token in pieces.ll_tokenizer.tokenize_str("<tool_call"):
        run.feed(token)
    mask = run.mask()
    assert mask is not None
    for text in merged:
        token = pieces.tokens.index(text)
        allowed = token in allowed_tokens(mask)
        assert allowed == text[1:].lstrip(b" \n\r\t").startswith((b"{", b"[")) or not text[1:].strip(), text


def test_always_means_from_the_first_token_with_thinking_only_where_the_template_thinks(pieces):
    silent = LockRun(locked(pieces, always=True))
    assert write(silent, pieces, "Sure")[1] is not None
    assert write(LockRun(locked(pieces, always=True)), pieces, "<think>hm</think>")[1] is not None
    thinker = locked(pieces, template="<think> <tool_call>", always=True)
    assert (
        write(LockRun(thinker), pieces, "<think>Sure, any text</think>\n" + CALLS["tagged JSON"])[1] is None
    )
    assert write(LockRun(thinker), pieces, "<think>any</think>\nSure")[1] is not None
    assert write(LockRun(thinker), pieces, CALLS["tagged JSON"] + CALLS["tagged JSON"])[1] is None


def test_an_answer_schema_locks_the_whole_reply(vocabulary):
    lock = compile_plan(
        plan_answer(
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            "",
        ),
        vocabulary,
    )
    assert write(LockRun(lock), vocabulary, '{"a": 5}')[1] is None
    assert write(LockRun(lock), vocabulary, '{"a": "5"}')[1] is not None


def test_what_of_a_schema_cannot_be_enforced_is_said_and_the_rest_is_held(vocabulary):
    loose = tool_from_openai(
        {
            "name": "loose",
            "parameters": {"type": "object", "properties": {"l": {"type": "array", "uniqueItems": True}}},
        }
    )
    lock = locked(vocabulary, tools=(WEATHER, loose))
    assert list(lock.unenforced) == ["loose"]
    assert "uniqueItems" in lock.unenforced["loose"]
    text = '<tool_call>{"name": "%s", "arguments": %s}</tool_call>'
    assert write(LockRun(lock), vocabulary, text % ("loose", '{"l": [1, 1]}'))[1] is None
    assert write(LockRun(lock), vocabulary, text % ("loose", '{"z": 0}'))[1] is not None
    assert write(LockRun(lock), vocabulary, text % ("get_weather", '{"z": 0}'))[1] is not None


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"$ref": "http://example.org/x"}, "example.org"),
        ({"properties": {"a": {"not": {"type": "string"}}}}, "not"),
        (
            {"properties": {"a": {"minimum": 5, "maximum": 1, "type": "integer"}}, "required": ["a"]},
            "nsatisfiable",
        ),
        ({"properties": {"a": {"oneOf": [{"minLength": 3, "type": "string"}, {"type": "string"}]}}}, "oneOf"),
        ({"properties": {"a": {"pattern": "^(?=b)", "type": "string"}}}, "look-a"),
    ],
)
def test_what_cannot_be_enforced_is_named(letters, schema, word):
    assert word in compile_reason(tool_from_openai({"name": "f", "parameters": schema}), letters)


def test_a_megabyte_of_schema_compiles_or_says_why_not(letters):
    many = {
        f"field_{index}": {"type": "string", "description": "d" * 60, "maxLength": 40}
        for index in range(9000)
    }
    reason = compile_reason(
        tool_from_openai({"name": "f", "parameters": {"type": "object", "properties": many}}), letters
    )
    assert reason == "" or "enforced" in reason


def test_a_cache_compiles_once_for_equal_schema_and_tokenizer_and_drops_on_a_switch(letters):
    cache = LockCache()
    loads = []

    def load():
        loads.append(1)
        return letters

    plan = plan_calls((WEATHER,), "", always=False)
    first = cache.get(plan, "m", load, timeout_s=30)
    assert first.lock is not None
    assert cache.get(plan_calls((WEATHER,), "", always=False), "m", load, timeout_s=30).lock is first.lock
    assert cache.get(plan, "same tokenizer, other model", load, timeout_s=30).lock is first.lock
    assert len(loads) == 2
    cache.drop()
    assert cache.get(plan, "m", load, timeout_s=30).lock is not first.lock
    cache.close()


def test_a_grammar_that_is_not_ready_is_said_not_waited_for(letters):
    import threading

    gate = threading.Event()
    cache = LockCache()

    def slow():
        gate.wait(120)
        return letters

    outcome = cache.get(plan_calls((WEATHER,), "", always=False), "m", slow, timeout_s=0.05)
    assert outcome.lock is None
    assert "not ready" in outcome.reason
    gate.set()
    assert cache.get(plan_calls((WEATHER,), "", always=False), "m", slow, timeout_s=30).lock is not None
    cache.close()


def test_a_sampler_that_ignores_the_mask_breaks_the_lock_and_is_told(letters):
    run = LockRun(locked(letters))
    write(run, letters, "<tool_call>nonsense")
    assert run.phase is Phase.BROKEN
    assert "forbids" in run.reason
    assert run.mask() is None


def test_json_literals_of_a_name_are_escaped(letters):
    odd = tool_from_openai({"name": 'a"b\\c/../d', "parameters": {"type": "object", "properties": {}}})
    lock = locked(letters, tools=(odd,))
    call = "<tool_call>" + json.dumps({"name": odd.name, "arguments": {}}) + "</tool_call>"
    assert write(LockRun(lock), letters, call)[1] is None


@pytest.mark.parametrize("cut", [4, 10, 11, 20, 45])
def test_a_continued_reply_takes_up_the_call_that_it_has_begun(vocabulary, cut):
    lock = locked(vocabulary)
    call = CALLS["tagged JSON"]
    begun = ("assistant\nLet me look. " + call[:cut]).encode()
    assert write(LockRun(lock, begun), vocabulary, call[cut:] + " done")[1] is None
    assert (
        write(LockRun(lock, begun), vocabulary, call[cut:].replace('Rome"}', 'Rome", "z": 1}'))[1] is not None
    )
    assert LockRun(lock, f"{call}<|im_end|>\nassistant\n".encode()).phase is Phase.FREE


def test_a_tokenizer_that_tells_its_bytes_in_both_ways_locks_what_is_no_ascii():
    """transformers 5.17 writes ByteFallback beside ByteLevel for a GGUF's tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    texts = ['{"größe": "日本"}'] * 9
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<e>"])
    )
    told = json.loads(tokenizer.to_str())
    told["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, told["decoder"]]}
    told["model"]["byte_fallback"] = True
    words = vocabulary_from_json(json.dumps(told), [0])
    ids = tokenizer.encode(texts[0]).ids
    assert b"".join(words.tokens[one] for one in ids) == texts[0].encode()
    schema = {
        "type": "object",
        "properties": {"größe": {"enum": ["日本"]}},
        "required": ["größe"],
        "additionalProperties": False,
    }
    run = LockRun(compile_plan(plan_answer(schema, ""), words))
    for one in tokenizer.encode('{"größe":"日本"}').ids:
        run.mask()
        run.feed(one)
    assert run.phase is Phase.DONE
