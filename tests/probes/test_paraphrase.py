"""Forms of a question without a model: always the same, never touching names, numbers or quotes."""

from __future__ import annotations

import re

import pytest
from exllama_guard.probes.measures.paraphrase import forms_of
from hypothesis import given
from hypothesis import strategies as st


def test_three_forms_the_original_first():
    forms = forms_of("What happens when the cache is full?")
    assert (
        forms
        == (
            "What happens when the cache is full?",
            "When the cache is full, what happens?",
            "What occurs when the cache is full?",
        )
        or forms[0] == "What happens when the cache is full?"
    )
    assert len(set(forms)) == 3


@pytest.mark.parametrize(
    ("question", "second"),
    [
        ("In 2015, who won the league?", "Who won the league in 2015?"),
        (
            "What does the fence do before the first answer?",
            "Before the first answer, what does the fence do?",
        ),
        ("How big is the cache?", "How large is the cache?"),
        ("Who led the team?", "Please answer this question: Who led the team?"),
        (
            "After how many seconds is it late?",
            "Please answer this question: After how many seconds is it late?",
        ),
        ("Summarise the text.", "Please do the following: summarise the text."),
    ],
)
def test_second_form(question, second):
    assert forms_of(question)[1] == second


def test_quotes_names_and_numbers_stay():
    for form in forms_of('When did Start Ltd show "big start" 42 times?'):
        assert "Start Ltd" in form
        assert '"big start"' in form
        assert "42" in form


def test_nothing_to_ask():
    assert forms_of("") == ()
    assert forms_of("?? 12") == ("?? 12",)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_forms_are_reproducible_different_and_keep_the_numbers(question):
    forms = forms_of(question)
    assert forms == forms_of(question)
    assert len({form.casefold() for form in forms}) == len(forms)
    if forms:
        assert forms[0] == " ".join(question.split())
        digits = sorted(re.findall(r"\d+", question))
        assert all(sorted(re.findall(r"\d+", form)) == digits for form in forms)
