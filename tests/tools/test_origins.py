"""Where each value of a call comes from."""

from __future__ import annotations

import pytest
from exllama_guard.tools.amounts import amounts_in
from exllama_guard.tools.origins import CallSources, Origin, origins_of

ASKED = "Book 2 nights for three people in Paris, arriving May 3rd 2024 at 6 pm, at most $1,200, 15% off."


def origin(name, value, schema=None, **sources):
    known = CallSources(**{"user": ASKED, **sources})
    (found,) = origins_of({name: value}, {"properties": {name: schema or {}}}, known)
    return found.origin


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("city", "Paris", Origin.USER),
        ("city", "Paris, France", Origin.USER),
        ("city", "Oslo", Origin.NOWHERE),
        ("nights", 2, Origin.USER),
        ("guests", 3, Origin.USER),
        ("guests", 4, Origin.NOWHERE),
        ("budget", 1200, Origin.USER),
        ("discount", 0.15, Origin.USER),
        ("day", "2024-05-03", Origin.COMPUTED),
        ("day", "2024-06-03", Origin.NOWHERE),
        ("hour", "18:00", Origin.COMPUTED),
        ("hour", "16:30", Origin.NOWHERE),
        ("mail", "ann@example.org", Origin.NOWHERE),
        ("query", "hotel in Paris for three people", Origin.USER),
        ("message", "Looking forward to my stay in Paris in May", Origin.TEXT),
        ("message", "The parcel was lost", Origin.NOWHERE),
        ("breakfast", True, Origin.SCHEMA),
    ],
)
def test_a_value_is_traced_to_the_users_words_or_nowhere(name, value, expected):
    assert origin(name, value) is expected


def test_results_and_snippets_are_sources():
    assert origin("id", "hx-4711", results=('{"id": "hx-4711", "price": 90}',)) is Origin.RESULT
    assert origin("id", "hx-4711") is Origin.NOWHERE
    assert origin("place", "Gare du Nord", snippets=("The Gare du Nord lies north.",)) is Origin.SNIPPET


def test_the_schema_is_a_source_but_not_of_a_choice_that_the_user_made_otherwise():
    unit = {"enum": ["celsius", "fahrenheit"]}
    assert origin("unit", "celsius", unit) is Origin.SCHEMA
    assert origin("unit", "celsius", unit, user="In fahrenheit, please.") is Origin.NOWHERE
    assert origin("unit", "fahrenheit", unit, user="In fahrenheit, please.") is Origin.USER
    assert origin("limit", 77, {"default": 77}) is Origin.SCHEMA
    assert origin("limit", 77, {"description": "How many (default is 77)."}) is Origin.SCHEMA


def test_lists_and_objects_are_traced_by_what_is_in_them():
    known = CallSources(ASKED)
    found = origins_of({"to": {"city": "Paris"}, "dates": ["May", "Oslo"]}, {}, known)
    told = [(one.path, one.value, one.origin) for one in found]
    assert told == [
        ("/to/city", '"Paris"', Origin.USER),
        ("/dates/0", '"May"', Origin.USER),
        ("/dates/1", '"Oslo"', Origin.NOWHERE),
    ]


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("[22,33]", 33),
        ("A(3,4)", 4),
        ("1,200", 1200),
        ("5%", 0.05),
        ("twenty-five", 25),
        ("3 million", 3e6),
        ("50mH", 0.05),
        ("112.07 W", -112.07),
        ("11 PM", 23),
        ("1/4 cup", 0.25),
        ("a dozen", 12),
    ],
)
def test_numbers_are_read_as_people_write_them(text, amount):
    assert any(abs(found - amount) < 1e-9 for found in amounts_in(text))
