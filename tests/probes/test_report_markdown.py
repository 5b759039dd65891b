"""A report in Markdown, rendered by an ordinary library, shows hostile text as text: nothing runs."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from exllama_guard.core.measures import Gate
from exllama_guard.report.markdown import as_markdown
from exllama_guard.report.values import Line, Report, Table
from hostile_texts import TEXTS

renderers = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")

TAGS = {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "a"}


PLACES = 12  # of `report_of` in which the text stands


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data


def rendered(report):
    markdown = renderers.MarkdownIt("commonmark", {"html": True}).enable("table")
    reader = Reader()
    reader.feed(markdown.render(as_markdown(report)))
    return reader


def report_of(text, url=""):
    return Report(
        title=f"Report {text}",
        summary=text,
        lines=(Line(text, Gate.PASS, f"Why: {text}", url),),
        tables=(Table(f"Table {text}", (text, "b"), ((text, "1"),), note=text),),
        environment=((text, text),),
        not_measured=((text, text),),
    )


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_nothing_runs_and_the_text_is_read(text):
    reader = rendered(report_of(text, url=text))
    assert reader.tags <= TAGS
    assert all(name == "href" and value.startswith(("#", "http")) for name, value in reader.attributes)
    assert reader.text.count(" ".join(text.split())) == PLACES


@pytest.mark.parametrize(
    "text", ["# x", "- x", "+ x", "1. x", "2) x", "===", "---", "    x", "> x", "| x |", "```", "\\"]
)
def test_no_text_becomes_a_heading_a_list_or_a_table(text):
    plain, odd = rendered(report_of("x")), rendered(report_of(text))
    assert odd.tags == plain.tags
    assert odd.text.count(" ".join(text.split())) >= PLACES


def test_a_link_of_ours_stays_one():
    reader = rendered(report_of("x", url="https://example.org/a_(b)?c=1#d"))
    assert [value for name, value in reader.attributes if name == "href"] == [
        "https://example.org/a_%28b%29?c=1#d"
    ]
