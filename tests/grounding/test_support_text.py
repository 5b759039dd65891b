from __future__ import annotations

import itertools

import pytest
from exllama_guard.core.turns import ClaimKind
from exllama_guard.grounding.support.claims import pieces_of
from exllama_guard.grounding.support.dates import dates_of
from exllama_guard.grounding.support.language import language_of
from exllama_guard.grounding.support.lexicon import Relation, lemma_of, relation, weight_of
from exllama_guard.grounding.support.quantities import quantities_of, with_years
from exllama_guard.grounding.support.text import sentences_of, stem_of, words_of
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("67 million", "67,000,000"),
        ("67 million", "67.2 million"),
        ("sixty-seven million", "67 million"),
        ("$3.5bn", "$3,500,000,000"),
        ("12%", "12 percent"),
        ("about 1.2 million people", "1,234,567 people"),
        ("330 m", "330 metres"),
        ("3 km", "3,000 metres"),
        ("2 hours", "120 minutes"),
        ("twenty-five cows", "25 cows"),
        ("the 3rd man", "the third man"),
        ("7 days", "7 business days"),
    ],
)
def test_equal_amounts_agree(first: str, second: str) -> None:
    (one,), (other,) = quantities_of(first), quantities_of(second)
    assert one.agrees(other) and other.agrees(one)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("999 million", "67 million"),
        ("$0.13 per share", "$0.15 per share"),
        ("$25 billion", "$26 billion"),
        ("12%", "12 dollars"),
        ("in 2019", "in 2020"),
        ("20 customers", "15 customers"),
        ("3 km", "3 miles"),
        ("the third man", "the fourth man"),
        ("2 seconds", "two processes"),
        ("12 %", "12 customers"),
    ],
)
def test_different_amounts_do_not_agree(first: str, second: str) -> None:
    (one,), (other,) = quantities_of(first), quantities_of(second)
    assert not one.agrees(other) and not other.agrees(one)


@pytest.mark.parametrize(
    "text", ["20 to 30 minutes", "20-30 minutes", "20 or 30 minutes", "between 20 and 30 minutes"]
)
def test_both_ends_of_a_range_have_its_unit(text: str) -> None:
    low, high = quantities_of(text)
    (stated,) = quantities_of("20 minutes")
    assert low.agrees(stated) and not high.agrees(stated)
    assert (low.unit, high.unit) == ("time", "time")


def test_places_of_numbers_hold_their_text() -> None:
    text = "In 2019 some 3.5 million people paid $5, that is twelve percent [3]."
    assert [text[q.start : q.end] for q in quantities_of(text)] == ["2019", "3.5 million", "$5", "twelve"]


def test_numbers_are_read_in_other_languages() -> None:
    assert [q.value for q in quantities_of("vingt-cinq personnes", "fr")] == [25.0]
    assert [q.value for q in quantities_of("dreiundzwanzig Leute", "de")] == [23.0]


@pytest.mark.parametrize("marker", ["[1]", "[s2]", "[1, 2]", "[3-5]", "【1†source】"])
def test_a_citation_marker_is_no_number(marker: str) -> None:
    assert quantities_of(f"It is so {marker}.") == ()
    assert [word.text for word in words_of(f"It is so {marker}.")] == ["It", "is", "so"]


@pytest.mark.parametrize(
    "text",
    ["March 5, 1989", "5 March 1989", "5th of March 1989", "1989-03-05", "5. März 1989", "5 mars 1989"],
)
def test_one_day_in_many_forms(text: str) -> None:
    (date,) = dates_of(text)
    assert (date.year, date.month, date.day) == (1989, 3, 5)


def test_dates_know_what_they_leave_open() -> None:
    (month,), (day,), (other,) = dates_of("May 1989"), dates_of("4 May 1989"), dates_of("June 1989")
    assert month.within(day) and not day.within(month)
    assert other.conflicts(day) and not month.conflicts(day)
    assert [q.value for q in with_years("4 May 1989")] == [1989.0]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Dr. Smith paid $3.5 million. He left the U.S. in May.", ["claim", "claim"]),
        ("# Results\nIt rose.", ["heading", "claim"]),
        ("- The first item is here\n- The second item is there", ["claim", "claim"]),
        ("| a | b |\n|---|---|\n| one | two |", ["heading", "claim"]),
        ("Look:\n```py\nx = 1\n```\nIt ran.", ["heading", "code", "claim"]),
        ("Is it so? Hello! Thank you.", ["question", "greeting", "greeting"]),
        ("Yes. It really is. Thank you!", ["claim", "claim", "greeting"]),
        ("I'm sorry, I can't help with that.", ["greeting", "greeting"]),
        ("The context does not mention the price.", ["refusal"]),
        ("I'm not sure but his books were translated into 42 languages.", ["claim"]),
        ("Ann asks Mike to buy butter, and Mike tells her to wait.", ["claim"]),
        ("这是第一句。这是第二句。", ["claim", "claim"]),
        ("", []),
        ("---\n***\n", []),
    ],
)
def test_an_answer_is_cut_into_pieces(text: str, kinds: list[str]) -> None:
    assert [piece.kind.value for piece in pieces_of(text)] == kinds


@given(st.text(max_size=400))
def test_pieces_stand_in_order_and_hold_their_text(text: str) -> None:
    pieces = pieces_of(text)
    assert all(text[p.span.start : p.span.end] == p.text for p in pieces)
    assert all(a.span.end <= b.span.start for a, b in itertools.pairwise(pieces))
    for piece in pieces:
        assert all(piece.text[w.start : w.end] == w.text for w in piece.words)
        assert piece.kind is not ClaimKind.CLAIM or piece.words


def test_words_keep_names_stems_and_weights() -> None:
    words = {
        word.text: word
        for word in words_of("In May the dealers of O'Neal bought 1,234 U.S. cars, didn't they")
    }
    assert words["O'Neal"].is_name and words["U.S"].is_name if "U.S" in words else words["U.S."].is_name
    assert words["bought"].stem == stem_of("buys")
    assert words["1,234"].is_number
    assert words["the"].weight == 0.0 < words["cars"].weight < words["O'Neal"].weight
    assert [w.text for w in words_of("he didn't go")] == ["he", "did", "n't", "go"]


def test_sentences_keep_their_places() -> None:
    text = "  One is here.\n\nTwo is there! 三个。"
    assert [text[s.span.start : s.span.end] for s in sentences_of(text)] == [
        "One is here.",
        "Two is there!",
        "三个。",
    ]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("buy", "purchased", Relation.SAME),
        ("increase", "decreased", Relation.OPPOSITE),
        ("animal", "dog", Relation.BROADER),
        ("dog", "animal", Relation.NARROWER),
        ("dogs", "dog", Relation.SAME),
        ("table", "run", Relation.NONE),
        ("qwxz", "dog", Relation.NONE),
    ],
)
def test_words_relate(first: str, second: str, expected: Relation) -> None:
    assert relation(first, second) is expected


def test_common_words_weigh_less() -> None:
    assert 0.0 < weight_of("make") < weight_of("gallon") < weight_of("zarkov") == 1.0
    assert lemma_of("cities") == "city"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cat is on the table and it is black.", "en"),
        ("Die Katze ist auf dem Tisch und nicht im Haus.", "de"),
        ("Le chat est sur la table et les chiens sont dans le jardin.", "fr"),
        ("12345", "en"),
    ],
)
def test_the_language_is_told(text: str, language: str) -> None:
    assert language_of(text) == language
