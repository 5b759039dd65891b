"""Nothing that a model, a snippet, a file name or a setting holds can become markup."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from exllama_guard.core.html import el, source_link
from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import Span, make_snippet
from exllama_guard.core.turns import (
    ClaimKind,
    ClaimSupport,
    Evidence,
    Finding,
    FindingKind,
    ModelInfo,
    Severity,
    SupportReport,
    TurnReport,
    Verdict,
)
from exllama_guard.grounding.relevance import load_relevance_weights
from exllama_guard.panel.history.archive import Filter, Past, page_of, row_of
from exllama_guard.panel.history.markup import history, report_page
from exllama_guard.panel.model.markup import model
from exllama_guard.panel.over_time.markup import plot as plot_markup
from exllama_guard.panel.over_time.rows import plot
from exllama_guard.panel.packet import Part, Slot
from exllama_guard.panel.probes.markup_doctor import prompt as prompt_markup
from exllama_guard.panel.probes.rows import DiagnosisRow
from exllama_guard.panel.problems import problems
from exllama_guard.panel.settings.markup import settings_form
from exllama_guard.panel.shell import shell
from exllama_guard.panel.turn.markup import glance as glance_markup
from exllama_guard.panel.turn.markup import snippet as snippet_markup
from exllama_guard.panel.turn.page import turn_page
from exllama_guard.panel.turn.rows import SnippetRow, glance
from exllama_guard.settings import Settings
from exllama_guard.trace.record import record_of
from hypothesis import given
from hypothesis import strategies as st
from panel.scripted import scripted_monitor

ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "javascript:alert(1)",
    "</style><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "<!--<script>alert(1)//-->",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\x00<script>alert(1)</script>",
    "\ud800<b onclick=alert(1)>",
    "${alert(1)}{{constructor}}",
    "\u202e<script>\u202c",
)


class Strict(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> Strict:
    parser = Strict()
    parser.feed(html)
    parser.close()
    return parser


def assert_harmless(html: str) -> None:
    for tag, attributes in parsed(html).tags:
        assert tag not in {"script", "img", "iframe", "object", "embed", "link", "base"}, tag
        for name, value in attributes.items():
            assert not name.startswith("on"), name
            if name in {"href", "src", "action"}:
                assert (value or "").startswith(("http://", "https://")), value


def hostile(text: str) -> TurnReport:
    """A report in which every text that comes from outside is `text`."""
    monitor = scripted_monitor()
    snippet = make_snippet(
        f"{text} 12", position=0, snippet_id=text or "s", section_id=text, source_url=text or "u"
    )
    report = monitor.check_pasted(text, [text], f"{text}.")
    finding = Finding(
        FindingKind.NUMBER, Severity.CONFLICT, text, Span(0, 2), snippet.snippet_id, Span(0, len(text))
    )
    claim = ClaimSupport(
        text,
        Span(0, len(report.answer)),
        ClaimKind.CLAIM,
        0.1,
        Gate.FAIL,
        Evidence(snippet.snippet_id, Span(0, len(text)), text, 0.5, 0.5),
        (finding,),
    )
    return replace(
        report,
        request=replace(
            report.request, turn_id=text, snippets=(snippet,), chat_id=text, model=ModelInfo(text, text, text)
        ),
        support=SupportReport(0.1, Gate.FAIL, claims=(claim,)),
        verdict=Verdict(Gate.FAIL, (text,)),
        notes=(text,),
    )


def htmls_of(part: Part) -> list[str]:
    return [part.html] if isinstance(part, Slot) else [html for _, html in part.items]


def everything(text: str) -> list[str]:
    report = hostile(text)
    settings = replace(Settings(), embedder=text, trace_folder=text)
    page = turn_page(report, "t.", "", settings, latest=False)
    row = row_of(record_of(report))
    events = scripted_monitor().snapshot().events
    return [
        *(html for part in (*page.first, *page.parts) for html in htmls_of(part)),
        glance_markup(glance(report, settings)),
        plot_markup(plot([report], [replace(events[0], text=text)], settings)),
        history(page_of(Past((row,)), Filter()), Filter(chat=text)),
        model(None, ModelInfo(text, text, text, text), text),
        problems([text], 2),
        settings_form(settings),
        report_page([row]),
    ]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_from_outside_becomes_markup_in_any_part_of_the_panel(attack):
    pieces = everything(attack)
    for html in pieces:
        assert_harmless(html)
    shown = attack.replace("\x00", "\ufffd").replace("\ud800", "?")
    assert sum(shown in parsed(html).text for html in pieces) >= 6


@given(st.text(), st.text())
def test_an_element_gives_back_its_text_and_its_attribute(text, attribute):
    made = el("span", text, title=attribute)
    parser = parsed(made.replace("\r", " "))
    assert [tag for tag, _ in parser.tags] == ["span"]
    expected = attribute.replace("\x00", "\ufffd").encode("utf-8", "replace").decode().replace("\r", " ")
    assert parser.tags[0][1]["title"] == expected


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", " https://x"]
)
def test_only_web_addresses_become_links(url):
    assert "<a" not in source_link(url)


def test_a_web_address_becomes_a_link_that_tells_the_other_page_nothing():
    assert "rel='noopener noreferrer'" in source_link("https://example.org/?a=1&b=2")


def test_every_list_row_of_the_frame_has_a_unique_id_and_every_control_a_name():
    parser = parsed(shell())
    ids = [attributes["id"] for _, attributes in parser.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    controlled = {a["aria-controls"] for _, a in parser.tags if "aria-controls" in a}
    assert controlled <= set(ids)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("guide/kv_cache.md", "kv_cache.md"),
        ("https://example.org/a/page/", "page"),
        ("sha256:ab12", "pasted"),
    ],
)
def test_a_snippets_row_names_its_file_or_where_it_came_from(source, named):
    row = SnippetRow("s1", source, "Cache", "pasted", 7, "0.10", "0.20", "none", False, "", "Some text.")
    assert f">{named} · 7 tokens<" in snippet_markup(row, "s.0")


def test_each_setting_names_the_key_that_keeps_it_and_its_fitted_value():
    form = settings_form(Settings())
    for name in ("distance_pass", "on_fail", "trace_text"):
        assert f"<code>{name}</code>" in form
    shown = {a["name"]: a.get("placeholder") for _, a in parsed(form).tags if "name" in a}
    assert shown["relevance_limit"] == f"{load_relevance_weights().limit:.2f}"
    assert (shown["support_pass"] or "").startswith("0.")
    assert shown["distance_pass"] is None


def test_the_plots_say_what_their_signs_and_dashed_lines_mean():
    drawn = plot_markup(plot([scripted_monitor().check_pasted("Q?", ["A 1."], "A 1.")], (), Settings()))
    assert "the turn’s verdict" in drawn
    assert "Dashed: pass up to 0.45, fail from 0.60." in drawn


def test_a_command_in_an_offer_is_code_and_not_backticks():
    drawn = prompt_markup(DiagnosisRow("Text", "", "", ("Cache: run `drift <x>`.",)), "Q")
    assert "Cache: run <code>drift &lt;x&gt;</code>." in drawn
