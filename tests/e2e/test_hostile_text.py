"""No text from a model, a snippet, a tool, a file or a trace becomes markup: every field, in a real browser.

The panel's own script puts the packets of its own desk into the page, as it does behind Gradio.
"""

from __future__ import annotations

import html
import importlib.util
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import EXTENSION
from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import Offsets, Origin, Snippet
from exllama_guard.core.turns import Finish, ModelInfo, TurnRequest
from exllama_guard.panel.card import Visitor
from exllama_guard.panel.desk import Desk
from exllama_guard.panel.message import TABS
from exllama_guard.panel.shell import script, shell
from exllama_guard.probes.generation import Generation, Sampling
from exllama_guard.report.html import as_html
from exllama_guard.report.json import as_json
from exllama_guard.report.values import Chart, ChartLine, ChartRange, Line, Report, Table
from exllama_guard.settings import Settings
from exllama_guard.testing import FakeEmbedder, make_monitor
from exllama_guard.trace.files import TraceWriter
from hostile_texts import ELEMENTS, TEXTS

if TYPE_CHECKING:
    from playwright.sync_api import Page

sys.path.append(str(Path(__file__).resolve().parents[1] / "panel"))

from scripted import SentenceScorer
from scripted_model import ScriptedTools
from scripted_probes import SlowWriter, probes_over

pytestmark = pytest.mark.browser

VISITOR = Visitor(None, None)
# What a page is made of; nothing else may stand in it, whatever a text says.
LOOK = """() => {
  const every = Array.from(document.querySelectorAll('*'));
  const names = /^(script|iframe|object|embed|base|link|marquee|audio|video|math|xss|template)$/i;
  const odd = every.filter((el) => names.test(el.localName));
  const handlers = every.flatMap((el) => Array.from(el.attributes).filter((a) => /^on/i.test(a.name)));
  const links = every.filter((el) => ['href', 'src', 'action', 'data', 'srcset'].some((name) =>
    el.hasAttribute(name) && !/^(https?:|#|$)/i.test(el.getAttribute(name).trim())));
  const forms = every.filter((el) => el.localName === 'img' || el.localName === 'meta' && el.httpEquiv);
  const shown = (elements) => elements.map((el) => el.outerHTML.slice(0, 90));
  return { odd: shown(odd), handlers: handlers.map((a) => a.name + '=' + a.value), links: shown(links),
    forms: shown(forms), ran: window.ran || null };
}"""
CLEAN = {"odd": [], "handlers": [], "links": [], "forms": [], "ran": None}


class Watched:
    """A page with everything noted that must not happen in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.happened: list[str] = []
        page.on("dialog", self._dialog)
        page.on("request", lambda asked: self.happened.append(f"asked for {asked.url}"))
        page.on("pageerror", lambda error: self.happened.append(f"error {error}"))
        page.on("popup", lambda _: self.happened.append("popup"))

    def _dialog(self, dialog: object) -> None:
        self.happened.append("dialog")
        dialog.dismiss()  # type: ignore[attr-defined]

    def check(self, where: str) -> None:
        self.page.evaluate("() => document.querySelectorAll('[autofocus]').forEach((el) => el.focus())")
        assert self.page.evaluate(LOOK) == CLEAN, where
        assert self.happened == [], where


@pytest.fixture
def watched(browser) -> Iterator[Watched]:
    page = browser.new_page()
    yield Watched(page)
    page.close()


def hostile_turn(monitor, number: int, text: str) -> None:
    snippets = tuple(
        Snippet(
            snippet_id=f"{text}{place}",
            text=f"{text} The cache is rotated after 8192 tokens. {text}",
            section_id=text,
            source_url=text,
            tokens=3,
            offsets=Offsets(0, 9, text),
            origin=Origin.KNOWLEDGE,
            index_hash=text,
        )
        for place in ("", "b")
    )
    request = TurnRequest(
        turn_id=f"{text}{number}",
        question=text,
        snippets=snippets,
        prompt=text,
        chat_id=text,
        model=ModelInfo(text, text, text, text, 8192, text, text),
        started_at_s=1_800_000_000.0 + number,
    )
    answer = f"{text} The cache is rotated after 4096 tokens. Nothing says this. {text} [{text}]. {text}?"
    monitor.open_turn(request).close(answer, Finish.COMPLETE)


def packets(desk: Desk, text: str, number: int) -> Iterator[tuple[str, str]]:
    """(what it is, the packet) of everything that a person can look at and do."""

    def ask(tab: str, **more: object) -> str:
        message = {"v": -1, "tab": tab, "turn": "", "claim": "", "filter": {}, "have": {}, "lists": {}}
        return desk.answer(json.dumps({**message, **more}), VISITOR)

    for tab, _ in TABS:
        yield tab, ask(tab)
    for claim in ("0", "1", "2", "3"):
        yield f"claim {claim}", ask("turn", claim=claim)
    yield "an old turn", ask("turn", turn=f"{text}{number}")
    yield "filtered", ask("history", filter={"chat": text, "model": text, "verdict": text})
    pasted = {"question": text, "snippets": f"{text}\n\n{text}", "answer": f"{text}. It is 4096."}
    yield "pasted", ask("check", do={"name": "check", "values": pasted})
    yield "applied", ask("settings", do={"name": "apply-settings", "values": {"embedder": text, text: text}})
    for name in ("schema", "set-schema", "accept", "calibrate", text):
        yield f"action {name}", ask("tools", do={"name": name, "values": {"name": text, "schema": text}})


def test_no_text_becomes_markup_in_any_field_of_the_panel(watched: Watched, tmp_path: Path) -> None:
    assert len(TEXTS) >= 60
    monitor = make_monitor(
        Settings(trace_folder=str(tmp_path), turns_kept=3),
        embedder=FakeEmbedder(),
        trace=TraceWriter(tmp_path),
        scorer=lambda snippets, question: SentenceScorer(snippets),
    )
    tools = ScriptedTools()
    desk = Desk(monitor, tools=tools, lifecycle=lambda: None)
    page = watched.page
    page.set_content(f"<!doctype html><html><body>{shell()}</body></html>")
    page.evaluate("() => { window.alert = () => { window.ran = 1; }; }")
    page.evaluate(f"({script()})()")
    page.evaluate("() => document.querySelector('[data-act=fold]').click()")
    watched.happened.clear()
    drawn = 0
    for number, text in enumerate(TEXTS):
        hostile_turn(monitor, number, text)
        monitor.model_changed(ModelInfo(text, text, text, text, 8192, text, text), (text,))
        monitor.report_problem(text, "one")
        monitor.record_event(text, text)
        tools.offer(text, text, chat=f"page::{text}")
        tools.call(text, chat=f"page::{text}", **{text: text})
        assert monitor.wait_until_idle(120)
        for what, packet in packets(desk, text, number):
            tab = what if what in dict(TABS) else "turn"
            page.evaluate(f"() => document.querySelector('[data-tab={tab}]').click()")
            page.evaluate("(packet) => { window.egGuard.take(packet); }", packet)
            drawn += bool(packet)
        watched.check(f"{what} of {text!r}")
    shown = page.evaluate("() => document.body.innerText")
    assert TEXTS[-1] in shown, "the last text is not on the page, so nothing was looked at"
    assert drawn > len(TEXTS) * 10


def test_no_text_becomes_markup_in_traces_that_are_read_back(watched: Watched, tmp_path: Path) -> None:
    monitor = make_monitor(
        Settings(trace_folder=str(tmp_path)),
        trace=TraceWriter(tmp_path),
        scorer=lambda snippets, question: SentenceScorer(snippets),
    )
    for number, text in enumerate(TEXTS):
        hostile_turn(monitor, number, text)
    assert monitor.wait_until_idle(60)
    reading = Desk(make_monitor(Settings(trace_folder=str(tmp_path))), lifecycle=lambda: None)
    page = watched.page
    page.set_content(f"<!doctype html><html><body>{shell()}</body></html>")
    page.evaluate(f"({script()})()")
    page.evaluate("() => document.querySelector('[data-act=fold]').click()")
    watched.happened.clear()
    message = {"v": -1, "have": {}, "lists": {}}
    for number in range(-(-len(TEXTS) // 25)):
        packet = reading.answer(
            json.dumps({**message, "tab": "history", "filter": {"page": number}}), VISITOR
        )
        page.evaluate("() => document.querySelector('[data-tab=history]').click()")
        page.evaluate("(packet) => { window.egGuard.take(packet); }", packet)
        watched.check(f"history, page {number}")
    for number, text in enumerate(TEXTS):
        packet = reading.answer(json.dumps({**message, "tab": "turn", "turn": f"{text}{number}"}), VISITOR)
        page.evaluate("() => document.querySelector('[data-tab=turn]').click()")
        page.evaluate("(packet) => { window.egGuard.take(packet); }", packet)
    watched.check("old turns")
    answer = reading.answer(
        json.dumps({**message, "tab": "history", "do": {"name": "export", "values": {"kind": "html"}}}),
        VISITOR,
    )
    exported = json.loads(answer)["file"]["text"]
    assert "The cache" in exported or html.escape(TEXTS[0]) in exported
    page.set_content(exported)
    watched.check("exported history")


def report_of(text: str) -> Report:
    """A report that says `text` wherever it says something."""
    return Report(
        title=text,
        summary=text,
        lines=tuple(Line(text, gate, text, text) for gate in Gate),
        tables=(Table(text, (text, f"{text}b"), ((text, text),), text),),
        charts=(
            Chart(text, text, (ChartLine(text, (0.1, None, 0.3)),), limits=((0.2, text),)),
            Chart(text, text, ranges=(ChartRange(text, 0.1, 0.2, 0.3),), band=(0.02, 0.05)),
        ),
        environment=((text, text),),
        not_measured=((text, text),),
        made_at=text,
    )


def test_no_text_becomes_markup_in_a_report(watched: Watched) -> None:
    page = watched.page
    for text in TEXTS:
        page.set_content(as_html(report_of(text)))
        watched.check(text)
    assert page.inner_text("h1") == " ".join(TEXTS[-1].split())


class Echo(SlowWriter):
    """A model that answers with what it is asked."""

    def write(self, text: str, sampling: Sampling, seed: int, cancel: threading.Event) -> Generation:
        return Generation(f"{text} is the answer. It is 8192. {seed}", 9, 0.01, 0.05, stopped=False)


def test_no_text_becomes_markup_in_what_the_probes_show(watched: Watched) -> None:
    monitor = make_monitor(embedder=FakeEmbedder())
    probes = probes_over(monitor)
    object.__setattr__(probes._parts, "generator", Echo())
    desk = Desk(monitor, lifecycle=lambda: None, probes=lambda: probes)
    page = watched.page
    page.set_content(f"<!doctype html><html><body>{shell()}</body></html>")
    page.evaluate(f"({script()})()")
    page.evaluate("() => document.querySelector('[data-act=fold]').click()")
    watched.happened.clear()

    def show(tab: str, action: str = "", /, **values: object) -> dict[str, object]:
        message = {"v": -1, "tab": tab, "filter": {}, "have": {}, "lists": {}}
        packet = desk.answer(json.dumps({**message, "do": {"name": action, "values": values}}), VISITOR)
        page.evaluate(f"() => document.querySelector('[data-tab={tab}]').click()")
        page.evaluate("(packet) => { window.egGuard.take(packet); }", packet)
        return dict(json.loads(packet))

    def idle() -> None:
        until_s = time.monotonic() + 300
        reader = monitor.reader_for(None, None)
        while probes.probe_state(reader).running or probes.verify_state(reader).running:
            assert time.monotonic() < until_s
            time.sleep(0.02)

    for number, text in enumerate(TEXTS):
        report = as_json(report_of(text))
        said = show("probes", "open-report", name=text, text=json.dumps(report))["say"]
        assert said == "Opened."
        watched.check(f"an opened report of {text!r}")
        if number % 4:
            continue
        gold = json.dumps({"question": text, "anchor": text, "answer": text, "id": text})
        for name, values in (
            ("probe", {"form_0": text, "form_1": f"{text} b", "form_2": f"{text} c"}),
            ("verify", {"text": gold}),
        ):
            show("probes", name, **values)
            idle()
            show("probes")
            assert page.inner_text("#eg-panel-probes").count("8192")
            watched.check(f"{name} of {text!r}")
        show("doctor", "doctor", reference=text)
        show("doctor", "diagnose")
        watched.check(f"checkup of {text!r}")
    exported = show("probes", "save-report", what="probe", kind="html")["file"]
    page.set_content(exported["text"])  # type: ignore[index]
    watched.check("the exported probe")


def test_no_text_becomes_markup_in_the_embedded_chat(watched: Watched) -> None:
    path = EXTENSION / "exllama_guard" / "standalone" / "webui" / "modules" / "html_generator.py"
    spec = importlib.util.spec_from_file_location("html_of_the_chat", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for text in TEXTS:
        visible = [html.escape(text), html.escape(text)]  # as the host keeps it
        watched.page.set_content(module.chat_html_wrapper({"visible": [visible]}))
        watched.check(text)


def test_what_looks_for_markup_finds_it(watched: Watched) -> None:
    """The same texts put into a page as they are: else the tests above could not fail."""
    found = 0
    for text in ELEMENTS:
        watched.page.set_content(f"<!doctype html><html><body>{text}</body></html>")
        try:
            watched.check(text)
        except AssertionError:
            found += 1
        watched.happened.clear()
    assert found > len(ELEMENTS) * 0.75
