"""Markup in an answer neither moves nor changes what is checked."""

from __future__ import annotations

import pytest
from exllama_guard.core.snippets import make_snippet
from exllama_guard.grounding.support import AnswerScorer
from exllama_guard.grounding.support.markup import without_markup
from hypothesis import given
from hypothesis import strategies as st

SNIPPETS = (make_snippet("The cap is 12 for each run.", position=0, snippet_id="a-2"),)


@given(st.text(alphabet="ab <>/*_~`[]()-2\n", max_size=60))
def test_every_character_keeps_its_place(text):
    plain = without_markup(text, SNIPPETS)
    assert len(plain) == len(text)
    assert all(new in (old, " ") for old, new in zip(text, plain, strict=True))


def test_code_keeps_its_stars():
    assert without_markup("**a** `x**2` ```b**2```", SNIPPETS) == "  a   `x**2` ```b**2```"


@pytest.mark.parametrize(
    "answer", ["**The cap** is <i>12</i>.", "The cap is 12 [a-2].", "__The cap__ is 12."]
)
def test_the_same_statement_with_markup_has_about_the_same_support(answer):
    bare = AnswerScorer(SNIPPETS).score("The cap is 12.")
    dressed = AnswerScorer(SNIPPETS).score(answer)
    assert dressed.support == pytest.approx(bare.support, abs=0.05)
    (claim,) = dressed.claims
    assert claim.text == answer[claim.span.start : claim.span.end]
    assert [finding for finding in claim.findings if finding.kind.value == "number"] == []
