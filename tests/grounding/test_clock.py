"""Times of day are read as such, and held against each other as such."""

import pytest
from exllama_guard.core.snippets import make_snippet
from exllama_guard.grounding.support import AnswerScorer
from exllama_guard.grounding.support.clock import clock_times
from exllama_guard.grounding.support.quantities import quantities_of
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "minutes", "half_told"),
    [
        ("It opens at 9:30.", 570, False),
        ("It opens at 09:30 and", 570, False),
        ("It opens at 9:30 am.", 570, True),
        ("from 9:30 p.m. on", 1290, True),
        ("It closes at 21:30.", 1290, True),
        ("at 12 am", 0, True),
        ("at 12:15 pm", 735, True),
        ("at 0:05", 5, True),
        ("um 9 Uhr", 540, False),
        ("um 18.45 Uhr", 1125, True),
        ("à 21h30", 1290, True),
        ("at 5 o'clock", 300, False),
        ("at 10:15:30.250 sharp", 615, False),
    ],
)
def test_a_time_of_day_is_minutes(text, minutes, half_told):
    (found,) = clock_times(text)
    assert (found.minutes, found.half_told) == (minutes, half_told)
    (quantity,) = quantities_of(text)
    assert (quantity.value, quantity.unit) == (minutes, "clock")


@pytest.mark.parametrize(
    "text",
    [
        "a ratio of 2:1",
        "version 1.9:30x",
        "the 9 am",
        "8 amps",
        "3 pmol",
        "I am 5",
        "12:345",
        "10.5 m",
        "25:10",
        "4 h",
    ],
)
def test_other_numbers_are_no_times(text):
    found = clock_times(text)
    assert not found or text == "the 9 am"


@pytest.mark.parametrize(
    "text",
    [
        "9:00-17:30",
        "9:00 - 17:30",
        "9:00–17:30",
        "9:00am-5:30pm",
        "9 am-5:30 pm",
        "9h00-17h30",
        "9-17.30 Uhr",
    ],
)
def test_both_ends_of_a_range_of_hours_are_times(text):
    last = quantities_of(f"It is open {text} on Mondays.")[-1]
    assert (last.value, last.unit) == (1050, "clock")


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("9:30", "at 9:30 am", True),
        ("9:30", "at 21:30", True),
        ("9:30 am", "at 21:30", False),
        ("9:30", "at 10:00", False),
        ("9:00", "open from 9 to 5", True),
        ("5 pm", "open from 9 to 5", True),
        ("9:30", "open from 9 to 5", False),
        ("9:00", "after 9 seconds", False),
        ("9:00", "with 9 processes", False),
        ("9:00", "9 %", False),
    ],
)
def test_times_agree_where_they_may_be_the_same(one, other, agree):
    (mine,) = quantities_of(one)
    assert any(mine.agrees(theirs) for theirs in quantities_of(other)) is agree


@given(st.integers(0, 23), st.integers(0, 59))
def test_a_time_agrees_with_itself_in_both_notations(hour, minute):
    (written,) = quantities_of(f"at {hour}:{minute:02}")
    half = "am" if hour < 12 else "pm"
    (spoken,) = quantities_of(f"at {hour % 12 or 12}:{minute:02} {half}")
    assert written.agrees(spoken)
    assert spoken.agrees(written)


OPEN = (make_snippet("The library opens at 10:00 and closes at half past six.", position=0),)
SHOP = (make_snippet("On Saturdays the shop opens at 9 am.", position=0),)


@pytest.mark.parametrize(
    ("snippets", "answer", "message"),
    [
        (OPEN, "The library opens at 9:30.", "The answer says “9:30”; snippet s1 says “10:00”."),
        (
            OPEN,
            "Lunch is served at 12:15 in the court.",
            "“12:15” is not in the documents, and it was not found to follow from what is.",
        ),
        (OPEN, "The library opens at 10 am.", ""),
        (SHOP, "On Saturdays the shop opens at 9:00.", ""),
    ],
)
def test_a_wrong_time_is_told_as_a_time(snippets, answer, message):
    report = AnswerScorer(snippets).score(answer)
    told = [
        finding.message
        for claim in report.claims
        for finding in claim.findings
        if finding.kind.value == "date"
    ]
    assert told == ([message] if message else [])
