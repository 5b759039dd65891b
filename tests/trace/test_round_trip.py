"""A report goes into a trace and comes out as it was, but for what a trace does not keep on purpose."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

from exllama_guard.core import snippets, turns
from exllama_guard.core.snippets import Span
from exllama_guard.core.turns import Reader, TurnReport, TurnRequest
from exllama_guard.trace.line import from_line, to_line
from exllama_guard.trace.record import reader_in_trace, record_of, report_of
from hypothesis import given, settings
from hypothesis import strategies as st

# What a trace leaves out (docs/decisions/traces.md), and what it makes of it.
NOT_KEPT = {
    TurnRequest: {"prompt": "", "answer_prefix": "", "anchor": None, "system_prompt": "", "nothing": None},
    TurnReport: {"notes": (), "beside": 0},
}

WORDS = st.text(alphabet="abcdef ", max_size=8)  # no key, no password: those are masked
FLOATS = st.floats(min_value=0, max_value=1, width=32)
SPANS = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda ends: Span(min(ends), max(ends)))

st.register_type_strategy(Span, SPANS)
st.register_type_strategy(str, WORDS)
st.register_type_strategy(float, FLOATS)
st.register_type_strategy(int, st.integers(0, 9))


def every_field(kind: type) -> st.SearchStrategy:
    """Values of a dataclass with each field drawn by its type, also one that has a default."""
    return st.builds(kind, **{one.name: ... for one in fields(kind) if one.init})


for module in (snippets, turns):
    for kind in vars(module).values():
        if is_dataclass(kind) and isinstance(kind, type) and kind is not Span:
            st.register_type_strategy(kind, every_field(kind))
st.register_type_strategy(Reader, st.just(Reader()) | st.builds(Reader, username=WORDS, session=WORDS))

TIMES = st.integers(0, 2_000_000_000).map(float)  # a trace's times are of milliseconds


def kept(report: TurnReport) -> TurnReport:
    """The report as a trace may hold it."""
    request = replace(report.request, **NOT_KEPT[TurnRequest])
    request = replace(request, reader=reader_in_trace(request.reader))
    return replace(report, request=request, **NOT_KEPT[TurnReport])


@settings(max_examples=150)
@given(st.from_type(TurnReport), TIMES)
def test_each_field_of_a_report_comes_back(report, started_at_s):
    report = replace(report, request=replace(report.request, started_at_s=started_at_s))
    assert report_of(from_line(to_line(record_of(report)))) == kept(report)
