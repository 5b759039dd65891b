"""`from exllama_guard import check`: the documented example, its types, and nothing heavy on import."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys

import pytest
from conftest import EXTENSION
from exllama_guard import check
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.snippets import make_snippet
from exllama_guard.settings import Settings

PASSAGES = ["The Harbour Library opens at ten on Sundays.", "Members may borrow six books."]


def test_the_example_of_the_page_runs_and_prints_what_it_says():
    page = (EXTENSION / "docs" / "python.md").read_text("utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1)
    assert len(code.strip().splitlines()) <= 10
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})  # noqa: S102 - our own page
    assert "FAIL" in printed.getvalue()
    assert "nine" in printed.getvalue()
    assert "s1" in printed.getvalue()


def test_a_supported_answer_passes_and_ids_are_the_positions():
    report = check("When does the library open on Sundays?", PASSAGES, "The library opens at ten on Sundays.")
    assert report.verdict.gate is Gate.PASS
    assert [snippet.snippet_id for snippet in report.request.snippets] == ["s1", "s2"]
    assert report.relevance.gate is Gate.PASS


def test_snippets_may_have_ids_of_their_own_and_an_anchor():
    anchor = make_snippet(PASSAGES[0], position=0, snippet_id="hours")
    report = check("When does it open?", [anchor, anchor], "It opens at ten on Sundays.", anchor=anchor)
    assert [snippet.snippet_id for snippet in report.request.snippets] == ["hours", "hours-2"]
    assert report.request.anchor == anchor


def test_without_snippets_there_is_no_verdict_and_the_reason():
    report = check("When?", [], "At ten.")
    assert report.verdict.gate is Gate.NOT_MEASURED
    assert report.support.support == NotScored(Reason.NO_SNIPPETS)


def test_settings_count():
    strict = check(
        "When does the library open on Sundays?",
        PASSAGES,
        "The library opens at ten on Sundays.",
        settings=Settings(relevance_limit=1.0),
    )
    assert strict.verdict.gate is Gate.REVIEW


def test_importing_it_brings_nothing_heavy():
    code = (
        "import sys; import exllama_guard; exllama_guard.check;"
        "print(sorted({'torch', 'numpy', 'gradio', 'modules', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=EXTENSION, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_another_name_is_no_attribute():
    import exllama_guard

    with pytest.raises(AttributeError, match="no attribute 'czech'"):
        exllama_guard.czech  # noqa: B018
