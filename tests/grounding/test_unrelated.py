"""Talk beside snippets gets no verdict; an answer about them always has one."""

from __future__ import annotations

import pytest
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.snippets import make_snippet
from exllama_guard.embedders.sentence_transformers import load_embedder
from exllama_guard.grounding.support.scorer import AnswerScorer

PUMP = (
    "The P4 garden pump needs 230 V and draws 800 W. It lifts water up to 38 metres.",
    "Empty the pump before the first frost. The warranty of the P4 is two years from the date of purchase.",
)


@pytest.fixture(scope="module")
def embedder():
    return load_embedder()


def report_of(embedder, question, answer, texts=PUMP):
    snippets = tuple(make_snippet(text, position=index) for index, text in enumerate(texts))
    return AnswerScorer(snippets, question, embedder).score(answer)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Write a line about rain", "Rain taps its quiet code upon the glass, and the whole street listens."),
        ("What is 17 times 23?", "17 × 23 = 391."),
        ("make that shorter", "Sure! Rain taps the glass; the street listens."),
        ("should I learn Rust or Go first?", "I'd start with Go: you'll be productive within a week."),
        ("Who painted the Mona Lisa?", "Leonardo da Vinci painted it in the early 16th century."),
        ("Ich habe heute so schlecht geschlafen.", "Das tut mir leid. Ein kurzer Spaziergang hilft oft."),
        ("Why can't you divide by zero?", "No number times 0 gives 6, so 6 divided by 0 has no answer."),
    ],
)
def test_talk_beside_snippets_is_no_matter_of_them(embedder, question, answer):
    report = report_of(embedder, question, answer)
    assert report.support == NotScored(Reason.UNRELATED)
    assert report.gate is Gate.NOT_MEASURED


@pytest.mark.parametrize(
    ("question", "answer", "gates"),
    [
        ("How high does it lift?", "It lifts water up to 38 metres.", {Gate.PASS}),
        ("How high does it lift?", "It lifts water up to 60 metres.", {Gate.FAIL}),
        ("what about winter?", "Empty it before the first frost.", {Gate.PASS}),
        ("Is there a guarantee?", "Yes, the P4 has a warranty of five years.", {Gate.FAIL}),
    ],
)
def test_an_answer_about_the_snippets_has_a_verdict(embedder, question, answer, gates):
    assert report_of(embedder, question, answer).gate in gates


@pytest.mark.parametrize("word", ["No.", "Nein.", "いいえ。", "是的。", "Oui."])
def test_a_bare_yes_or_no_is_as_good_as_what_follows_it(embedder, word):
    one = report_of(embedder, "Does it need 230 V?", f"{word} The pump draws 800 W.").claims[0]
    assert isinstance(one.support, NotScored)
