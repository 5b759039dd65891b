"""Strict JSON, canonical JSON and its hash."""

from __future__ import annotations

import json

import pytest
from exllama_guard.tools.strict_json import canonical_json, canonical_sha256, json_spans, read_json
from hypothesis import given
from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    SCALARS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_what_is_json_is_read_as_it_is(value):
    read = read_json(json.dumps(value))
    assert read.ok
    assert read.value == value


@given(JSON)
def test_canonical_json_is_json_of_the_same_value_and_stays_put(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


def shuffled(value, rng):
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        return {key: shuffled(item, rng) for key, item in items}
    return [shuffled(item, rng) for item in value] if isinstance(value, list) else value


@given(JSON, st.randoms(use_true_random=False))
def test_the_order_of_keys_and_white_space_do_not_change_the_hash(value, rng):
    other = json.loads(json.dumps(shuffled(value, rng), indent=3, ensure_ascii=rng.random() < 0.5))
    assert canonical_sha256(other) == canonical_sha256(value)


@given(JSON, JSON)
def test_two_values_share_a_hash_only_if_they_are_equal_json(one, other):
    same = canonical_json(one) == canonical_json(other)
    assert (canonical_sha256(one) == canonical_sha256(other)) == same
    if json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True):
        assert same


def test_whole_floats_are_the_integers_that_they_equal_and_true_is_not_1():
    assert canonical_json({"b": 1.0, "a": -0.5}) == '{"a":-0.5,"b":1}'
    assert canonical_json([True]) != canonical_json([1])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a":1,"a":2}', "duplicate_key"),
        ('{"x":{"a":1,"\\u0061":2}}', "duplicate_key"),
        ('{"a":NaN}', "not_a_number"),
        ('{"a":-Infinity}', "not_a_number"),
        ('{"a":1e999}', "number_too_large"),
        ('{"a":' + "9" * 5000 + "}", "number_too_large"),
        ('Sure! {"a":1}', "mixed_prose"),
        ('{"a":1} there you go', "mixed_prose"),
        ('{"a":1}{"a":2}', "mixed_prose"),
        ('```json\n{"a":1}\n```', "mixed_prose"),
        ('{"a":[1,2', "truncated"),
        ('{"a":"xy', "truncated"),
        ("[" * 100_000, "too_deep"),
        ('{"a":' * 65 + "1" + "}" * 65, "too_deep"),
        ("", "empty"),
        (" \n", "empty"),
        ("{'a':1}", "bad_json"),
        ('{"a":1,}', "bad_json"),
        ("get_weather", "bad_json"),
        ('{"a":"\\ud800"}', "bad_text"),
        ('{"a":"tab\there"}', "bad_json"),
    ],
)
def test_what_is_not_strict_json_is_refused_by_name(text, code):
    read = read_json(text)
    assert [problem.code for problem in read.problems] == [code]
    assert read.problems[0].message


def test_64_levels_are_read_and_brackets_in_strings_do_not_count():
    assert read_json('{"a":' * 64 + "1" + "}" * 64).ok
    assert read_json(json.dumps({"a": "[" * 5000})).ok


@given(st.text(max_size=60))
def test_no_text_makes_the_reader_raise(text):
    read = read_json(text)
    assert read.ok or read.problems
    assert all(0 <= start < end <= len(text) for start, end in json_spans(text))
