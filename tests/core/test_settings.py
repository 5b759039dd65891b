"""Settings from the host: every odd entry keeps the default and is told."""

from __future__ import annotations

import pytest
from exllama_guard.settings import Settings, changed, from_params, to_params
from hypothesis import given
from hypothesis import strategies as st


def test_the_params_of_the_host_read_back_as_the_defaults():
    assert from_params({"display_name": "x", "is_tab": False, **to_params()}) == (Settings(), ())


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from([*to_params(), "nonsense"]), PLAIN, max_size=5))
def test_any_value_gives_usable_settings(values):
    settings, problems = from_params(values)
    assert settings.distance_pass <= settings.distance_fail
    for name, value in values.items():
        word = {True: "on", False: "off"}.get(value) if isinstance(value, bool) else None
        taken = name != "nonsense" and getattr(settings, name) in (value, word)
        assert taken or problems


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"turns_kept": 0}, "1..10000"),
        ({"turns_kept": 2.5}, "must be a whole number"),
        ({"turns_kept": True}, "must be a whole number"),
        ({"enabled": "yes"}, "must be true or false"),
        ({"embedder": 3}, "must be text"),
        ({"distance_pass": float("nan")}, "0.0..2.0"),
        ({"distance_pass": 0.9}, "above distance_fail"),
        ({"support_pass": 0.2, "support_fail": 0.6}, "above support_pass"),
        ({"typo": 1}, "no setting 'typo'"),
    ],
)
def test_each_mistake_is_named_and_changes_nothing(values, says):
    settings, (problem,) = changed(Settings(), values)
    assert says in problem
    assert settings == Settings()


LONG = "x" * 10_000_000


@pytest.mark.parametrize("name", ["distance_pass", "tool_lock", "turns_kept", LONG])
@pytest.mark.parametrize("value", [LONG, [LONG], {LONG: 1}, 10**4_000], ids=["text", "list", "map", "number"])
def test_a_value_of_ten_megabytes_is_not_echoed(name, value):
    settings, (problem,) = changed(Settings(), {name: value})
    assert len(problem) < 300
    assert settings == Settings()


def test_whole_numbers_are_taken_for_numbers_and_none_where_it_is_meant():
    settings, problems = changed(Settings(), {"distance_fail": 1, "support_pass": None})
    assert (settings.distance_fail, problems) == (1.0, ())


def test_what_yaml_makes_of_on_and_off_is_understood_where_both_are_words() -> None:
    for written, meant in ((True, "on"), (False, "off"), ("auto", "auto")):
        settings, problems = from_params({"second_reader": written})
        assert (settings.second_reader, problems) == (meant, ())
    settings, problems = from_params({"tool_lock": True, "second_reader": "always"})
    assert settings == Settings()
    assert len(problems) == 2
