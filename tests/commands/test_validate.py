"""Every code of the trace contract, as `validate` prints it for a line that breaks it in this one way."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from exllama_guard.commands import validate
from exllama_guard.core.snippets import Offsets, Origin, make_snippet
from exllama_guard.core.turns import TurnRequest
from exllama_guard.testing import make_monitor
from exllama_guard.trace.line import to_line
from exllama_guard.trace.record import record_of

TEXT = "The cache holds 8192 tokens."


@pytest.fixture(scope="module")
def record():
    snippet = make_snippet(TEXT, position=0, section_id="cache", source_url="docs/cache.md")
    snippet = replace(snippet, offsets=Offsets(0, len(TEXT)), derived=frozenset())
    request = TurnRequest(turn_id="t1", question="How many tokens?", snippets=(snippet,), prompt="")
    return record_of(make_monitor().measure(request, "8192 tokens [s1]."))


def printed(tmp_path, capsys, line):
    path = tmp_path / "one.jsonl"
    path.write_bytes(line if line.endswith(b"\n") else line + b"\n")
    status = validate.run([str(path)])
    return status, re.findall(r":1: (\w+): ", capsys.readouterr().out)


def text_of(record):
    line = to_line(record)
    return line if isinstance(line, bytes) else line.encode()


def edited(record, change):
    value = json.loads(text_of(record))
    change(value)
    return json.dumps(value).encode()


def test_a_clean_line_has_no_code(tmp_path, capsys, record):
    assert printed(tmp_path, capsys, text_of(record)) == (0, [])
    (snippet,) = record.snippets
    for clean in (
        replace(snippet, index_hash="a"),  # known again by its text: it was not ranked
        replace(snippet, index_hash="a", score=0.4, analyzer="bge"),
        replace(snippet, index_hash="a", score=0.4, origin=Origin.HANDED_OVER),
    ):
        assert printed(tmp_path, capsys, text_of(replace(record, snippets=(clean,)))) == (0, [])


SNIPPETS = {
    "missing_snippet_id": {"snippet_id": ""},
    "missing_section_id": {"section_id": ""},
    "missing_source_url": {"source_url": ""},
    "missing_tokens": {"tokens": 0},
    "bad_offsets": {"offsets": Offsets(9, 3)},
    "offset_text_mismatch": {"offsets": Offsets(0, 3)},
}


@pytest.mark.parametrize("code", SNIPPETS)
def test_a_snippet_that_breaks_the_contract(tmp_path, capsys, record, code):
    broken = replace(record, snippets=(replace(record.snippets[0], **SNIPPETS[code]),))
    status, codes = printed(tmp_path, capsys, text_of(broken))
    assert status == 1
    assert code in codes


def test_a_turn_that_breaks_the_contract(tmp_path, capsys, record):
    first = record.snippets[0]
    other = replace(first, snippet_id="s2", index_hash="b")
    minilm = replace(first, snippet_id="s2", analyzer="minilm")
    handed_over = replace(first, index_hash="b", origin=Origin.HANDED_OVER)
    claims = tuple(replace(claim, evidence=None) for claim in record.support.claims)
    uncited = replace(record, cited_ids=(), support=replace(record.support, claims=claims))
    beyond = tuple(replace(claim, support=7.0) for claim in record.support.claims)
    for code, broken in (
        ("cross_section_reuse", replace(record, snippets=(first, first))),
        ("mismatch_index_hash", replace(record, snippets=(replace(first, index_hash="a"), other))),
        ("analyzer_mismatch", replace(record, snippets=(replace(first, analyzer="bge"), minilm))),
        ("missing_score", replace(record, snippets=(replace(first, index_hash="b", score=0.4), other))),
        ("missing_score", replace(record, snippets=(handed_over,))),
        ("orphan_claim", replace(record, cited_ids=("s9",))),
        ("empty_citations", uncited),
        ("bad_support", replace(record, support=replace(record.support, claims=beyond))),
    ):
        status, codes = printed(tmp_path, capsys, text_of(broken))
        assert (status, code in codes) == (1, True), (code, codes)


@pytest.mark.parametrize("field", ["offsets", "source_url", "tokens"])
def test_a_field_that_is_not_there(tmp_path, capsys, record, field):
    line = edited(record, lambda value: value["snippets"][0].pop(field))
    assert printed(tmp_path, capsys, line) == (1, [f"missing_{field}"])


def test_a_line_that_is_no_record(tmp_path, capsys, record):
    line = text_of(record).strip()
    for code, broken in (
        ("truncated", line[: len(line) // 2]),
        ("mixed_prose", b"Here is the trace: " + line),
        ("mixed_prose", line + b" as you asked"),
        ("extra_field", edited(record, lambda value: value.update(model_says="grounded"))),
        ("unreadable", b"\xff\xfe nothing"),
        ("unreadable", edited(record, lambda value: value.update(schema_version="99.0"))),
    ):
        assert printed(tmp_path, capsys, broken) == (1, [code]), broken[:60]
