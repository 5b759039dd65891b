from __future__ import annotations

import pytest
from exllama_guard.core.snippets import make_snippet
from exllama_guard.grounding.citations import find_citations
from hypothesis import given
from hypothesis import strategies as st

SNIPPETS = (
    make_snippet("First.", position=0, source_url="file:///notes/Report%202020.pdf"),
    make_snippet("Second.", position=1, source_url="https://example.org/docs/guide.md"),
    make_snippet("Third.", position=2),
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("So it is [1].", ["s1"]),
        ("So it is[3].", ["s3"]),
        ("So [s2] and (s3).", ["s2", "s3"]),
        ("Both [1, 2] say so.", ["s1", "s2"]),
        ("Both (s1, s2) say so.", ["s1", "s2"]),
        ("All [1-3] say so.", ["s1", "s2", "s3"]),
        ("All [1–3] say so.", ["s1", "s2", "s3"]),
        ("As the guide says (guide.md).", ["s2"]),
        ("As the file says (Report 2020.pdf).", ["s1"]),
        ("As it says (source: guide).", ["s2"]),
        ("As it says [Source 1].", ["s1"]),
        ("As s2 says.", ["s2"]),
        ("See [the guide](https://example.org/docs/guide.md).", ["s2"]),
        ("Odd marks 【1†source】.", ["s1"]),
        ("There is no such snippet [9].", [None]),
        ("In 2019 (2019) it rose (2) and f(s1) ran.", []),
        ("A [note] in brackets.", []),
        ("Code `a[1]` is no citation.", []),
        ("```\nx[2]\n```", []),
        ("", []),
    ],
)
def test_each_form_resolves(answer: str, expected: list[str | None]) -> None:
    assert [citation.snippet_id for citation in find_citations(answer, SNIPPETS)] == expected


def test_a_number_that_is_an_id_means_that_snippet() -> None:
    snippets = (make_snippet("a", position=0, snippet_id="2"), make_snippet("b", position=1, snippet_id="1"))
    assert [c.snippet_id for c in find_citations("x [1] y [2]", snippets)] == ["1", "2"]


@given(st.text(alphabet="ab [](),-–s123\n`", max_size=60))
def test_spans_hold_the_cited_text_and_stand_in_order(answer: str) -> None:
    found = find_citations(answer, SNIPPETS)
    assert all(answer[c.span.start : c.span.end] == c.text for c in found)
    assert [c.span.start for c in found] == sorted(c.span.start for c in found)


def test_a_long_answer_is_read_in_time() -> None:
    answer = "word (a) [x] [1] " * 6000
    assert len(find_citations(answer, SNIPPETS)) == 6000
