"""A page gets what changed and no more, sees only its own turns, and cannot break anything with a message."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from exllama_guard.core.turns import Finish, Reader
from exllama_guard.monitor import Monitor
from exllama_guard.panel.card import PanelParts, Visitor
from exllama_guard.panel.cards import CARDS
from exllama_guard.panel.desk import Desk
from exllama_guard.panel.history.archive import Archive, HistoryBook
from exllama_guard.panel.message import TABS, read_message
from exllama_guard.panel.shell import shell
from exllama_guard.settings import Settings
from exllama_guard.trace.files import TraceWriter
from hypothesis import given
from hypothesis import strategies as st
from panel.scripted import BAD, GOOD, open_turn, run_turn, scripted_monitor

ME = Visitor(None, "session-1")
MOST_BYTES = 2048  # a streamed update on the wire


class Client:
    """Keeps what a page keeps, and puts packets into places as the script does."""

    def __init__(self, desk: Desk, visitor: Visitor = ME, tab: str = "turn") -> None:
        self.desk, self.visitor, self.tab = desk, visitor, tab
        self.have: dict[str, str] = {}
        self.html: dict[str, str] = {}
        self.last: dict[str, object] = {}
        self.same = False

    def ask(self, do: dict[str, object] | None = None, **more: object) -> str:
        text = self.desk.answer(self.message(do, **more), self.visitor)
        if text:
            self.take(json.loads(text))
        self.same = True
        return text

    def message(self, do: dict[str, object] | None = None, **more: object) -> str:
        version = -1 if self.last.get("more") else self.last.get("v", -1)
        lists: dict[str, str] = {}
        for place, digest in self.have.items():
            name, slash, key = place.partition("/")
            if slash:
                lists[name] = f"{lists.get(name, '')} {key}={digest}".strip()
        have = {name: digest for name, digest in self.have.items() if "/" not in name}
        message = {"v": version, "tab": self.tab, "have": have, "lists": lists, "same": self.same, **more}
        return json.dumps({**message, "do": do} if do else message)

    def take(self, packet: dict[str, object]) -> None:
        self.last = packet
        for name, same, rest, items in packet.get("l", []):
            start = f"{name}/"
            old = {place: self.have.pop(place) for place in list(self.have) if place.startswith(start)}
            order = [*list(old)[:same], *(start + key for key in rest)]
            new = {start + key: (digest, html) for key, digest, html in items}
            for place in order:
                if place in new:
                    self.have[place], self.html[place] = new[place]
                else:
                    self.have[place] = old[place]
            for place in set(old) - set(order):
                del self.html[place]
        for name, digest, html in packet.get("s", []):
            self.have[name], self.html[name] = digest, html


def act(name: str, /, **values: object) -> dict[str, object]:
    return {"name": name, "values": values}


@pytest.fixture
def monitor() -> Monitor:
    return scripted_monitor()


def test_an_empty_panel_says_what_to_do(monitor):
    client = Client(Desk(monitor))
    client.ask()
    assert "Ask the model something" in client.html["glance"]
    assert client.last["shown"] is False


def test_a_new_user_is_told_in_one_line_what_is_missing(monitor):
    monitor.model_changed(None)
    client = Client(Desk(monitor))
    client.ask()
    assert "Once one is loaded" in client.html["glance"]
    handle = open_turn(monitor, 1, snippets=())
    handle.close("It is 8192.", Finish.COMPLETE)
    monitor.wait_until_idle(10)
    client.ask()
    assert "name a folder of documents under Settings" in client.html["t.evidence"]


def test_a_new_answer_does_not_stand_under_the_verdict_of_the_one_before(monitor):
    run_turn(monitor, 1, BAD)
    monitor.wait_until_idle(10)
    client = Client(Desk(monitor))
    client.ask()
    assert "Fail" in client.html["glance"]
    handle = open_turn(monitor, 2)
    monitor.wait_until_idle(10)
    client.ask()
    assert "Checking" in client.html["glance"] and client.last["live"] is True
    handle.close(GOOD, Finish.COMPLETE)
    monitor.wait_until_idle(10)
    client.ask()
    assert "Pass" in client.html["glance"] and client.last["live"] is False


@pytest.mark.parametrize("scored_live", [False, True])
def test_a_second_try_is_told_until_the_turn_ends(monitor, scored_live):
    client = Client(Desk(monitor))
    handle = open_turn(monitor, 1)
    if scored_live:
        handle.due_at_s = 0.0
        handle.chunk(BAD)
    monitor.wait_until_idle(10)
    client.ask()
    assert (handle.report is not None) is scored_live
    handle.tell("Another one is being written.")
    client.ask()
    assert "Another one is being written." in client.html["glance"] and client.last["live"] is True
    handle.close(GOOD, Finish.COMPLETE)
    monitor.wait_until_idle(10)
    client.ask()
    assert "Pass" in client.html["glance"] and client.last["live"] is False


def test_nothing_is_sent_while_nothing_has_changed(monitor):
    run_turn(monitor, 1, GOOD)
    client = Client(Desk(monitor))
    assert client.ask()
    assert client.ask() == ""


def test_a_new_turn_is_sent_without_what_the_page_has_already(monitor):
    client = Client(Desk(monitor))
    run_turn(monitor, 1, GOOD)
    first = client.ask()
    run_turn(monitor, 2, GOOD)
    second = client.ask()
    assert "Pass" in client.html["glance"]
    assert len(second) < len(first) / 4


@pytest.mark.parametrize("tab", ["", "turn"])
def test_every_streamed_update_is_small_and_the_page_has_it_all_in_the_end(monitor, tab):
    client = Client(Desk(monitor), tab=tab)
    client.ask()
    handle = open_turn(monitor, 1)
    answer = " ".join([BAD] * 8)
    sizes = []
    for end in range(40, len(answer), 40):
        handle.due_at_s = 0.0
        handle.chunk(answer[:end])
        monitor.wait_until_idle(10)
        sizes.append(len(client.ask().encode()))
    assert handle.report is not None
    assert handle.report.finish is Finish.STREAMING
    assert client.last["live"] is True
    assert max(sizes) <= MOST_BYTES, sizes
    handle.close(answer, Finish.COMPLETE)
    monitor.wait_until_idle(10)
    client.ask()
    whole = Client(client.desk, tab=tab)
    whole.ask()
    assert client.have == whole.have
    assert list(client.have) != [] and client.html == whole.html


def test_a_place_inside_a_list_item_is_sent_again_with_its_item(monitor):
    client = Client(Desk(monitor))
    run_turn(monitor, 1, GOOD)
    client.ask()
    monitor.change_settings(coverage_pass=0.9)
    packet = json.loads(client.ask())
    items = [key for _, _, _, items in packet["l"] for key, _, _ in items]
    assert items == ["coverage"]
    assert "t.m.coverage" in [name for name, _, _ in packet["s"]]


def test_each_tab_has_something_to_say_before_the_first_turn(monitor):
    for tab, _ in TABS:
        client = Client(Desk(monitor), tab=tab)
        client.ask()
        own = [html for name, html in client.html.items() if name not in ("glance", "problems")]
        assert any(html for html in own) or tab == "check", tab


def test_the_switch_switches_measuring_and_the_line_says_so(monitor):
    client = Client(Desk(monitor))
    client.ask(act("switch", value=False))
    assert not monitor.enabled
    assert "Off" in client.html["glance"]
    assert client.last["on"] is False
    client.ask(act("switch", value=True))
    assert monitor.enabled


def test_pasted_texts_are_checked_and_shown_to_the_one_who_pasted_them(monitor):
    desk = Desk(monitor)
    mine, other = Client(desk, tab="check"), Client(desk, Visitor(None, "session-2"), tab="check")
    mine.ask(
        act(
            "check",
            question="How long?",
            snippets="It is 5 metres long.\n\nOther.",
            answer="It is 6 metres long.",
        )
    )
    assert mine.last["checked"] is True
    assert "says 6" in str(mine.last["say"])
    assert "Fail" in mine.html["checked"]
    assert sum(name.startswith("p.snippets/") for name in mine.html) == 2
    other.ask()
    assert other.last["checked"] is False
    mine.ask(act("clear-check"))
    assert mine.last["checked"] is False


def test_an_empty_answer_is_asked_for_and_not_checked(monitor):
    client = Client(Desk(monitor), tab="check")
    client.ask(act("check", question="x", snippets="y", answer="  "))
    assert "paste one" in str(client.last["say"])
    assert client.last["checked"] is False


def test_settings_are_applied_refused_with_a_reason_and_reset(monitor):
    client = Client(Desk(monitor), tab="settings")
    client.ask(act("apply-settings", distance_pass=0.3, enabled=False, unknown=1))
    assert monitor.settings.distance_pass == 0.3
    assert monitor.enabled
    client.ask(act("apply-settings", **{"coverage_pass": "much"}))
    assert "coverage_pass" in str(client.last["say"])
    assert monitor.settings.coverage_pass == Settings().coverage_pass
    client.ask(act("reset-settings"))
    assert monitor.settings == Settings()


def test_a_reset_leaves_the_traces_in_the_folder_that_the_host_chose(tmp_path):
    monitor = scripted_monitor(Settings(trace_folder=str(tmp_path)))
    client = Client(Desk(monitor), tab="settings")
    for action in (act("apply-settings", trace_folder=""), act("reset-settings")):
        client.ask(action)
        assert monitor.settings.trace_folder == str(tmp_path)


def test_a_reset_keeps_the_documents_that_the_program_started_with(tmp_path):
    monitor = scripted_monitor(Settings(knowledge_folder=str(tmp_path)))
    client = Client(Desk(monitor), tab="settings")
    client.ask(act("apply-settings", knowledge_folder=""))
    assert monitor.settings.knowledge_folder == ""
    client.ask(act("reset-settings"))
    assert monitor.settings.knowledge_folder == str(tmp_path)


@pytest.mark.parametrize("folder", ["", "documents"])
def test_while_off_the_page_says_all_that_does_not_happen(folder):
    monitor = scripted_monitor(Settings(knowledge_folder=folder))
    client = Client(Desk(monitor))
    client.ask(act("switch", value=False))
    for said in (str(client.last["say"]), client.html["glance"]):
        assert "Answers are not checked" in said
        assert ("folder is not searched" in said) == bool(folder)


def test_users_with_logins_do_not_see_each_others_turns(monitor):
    run_turn(monitor, 1, BAD, reader=Reader(username="ann"))
    desk = Desk(monitor)
    for tab in ("turn", "time", "history"):
        ann, bob = Client(desk, Visitor("ann", "s1"), tab), Client(desk, Visitor("bob", "s2"), tab)
        ann.ask(turn="turn-1")
        bob.ask(turn="turn-1")
        assert "4096" in "".join(ann.html.values())
        assert "4096" not in "".join(bob.html.values()), tab


def test_sessions_of_a_host_with_several_users_do_not_see_each_others_turns(monitor):
    monitor.multi_user = True
    run_turn(monitor, 1, BAD, reader=Reader(session="s1"))
    desk = Desk(monitor)
    one, two = Client(desk, Visitor(None, "s1")), Client(desk, Visitor(None, "s2"))
    one.ask()
    two.ask()
    assert "Fail" in one.html["glance"]
    assert "No answer yet" in two.html["glance"]


def test_history_survives_a_restart_and_opens_a_turn_with_its_text(tmp_path, monitor):
    run_turn(monitor, 1, BAD)
    run_turn(monitor, 2, GOOD)
    writer = TraceWriter(tmp_path)
    for turn in reversed(monitor.snapshot().turns):
        writer.write(turn)
    fresh = scripted_monitor(Settings(trace_folder=str(tmp_path)))
    client = Client(Desk(fresh), tab="history")
    client.ask()
    assert client.html["history"].count("data-act='turn'") == 2
    client.ask(filter={"verdict": "FAIL"}, same=False)
    assert client.html["history"].count("data-act='turn'") == 1
    client.tab = "turn"
    client.ask(turn="turn-1", same=False)
    assert "4096" in "".join(html for name, html in client.html.items() if name.startswith("t.answer"))


def test_old_trace_files_are_read_a_little_at_a_time_and_each_turn_once(tmp_path, monitor):
    run_turn(monitor, 1, BAD)
    turn = monitor.snapshot().turns[0]
    writer = TraceWriter(tmp_path, file_bytes=20_000)
    for number in range(40):
        writer.write(replace(turn, request=replace(turn.request, turn_id=f"turn-{number}")))
    book = HistoryBook()
    first = book.rows(tmp_path, Reader(), within_s=0.0)
    assert first.unread > 0
    assert len(first.rows) < 40
    past = book.rows(tmp_path, Reader(), within_s=60.0)
    assert past.unread == 0
    assert [row.turn_id for row in past.rows] == [f"turn-{number}" for number in reversed(range(40))]
    client = Client(Desk(scripted_monitor(Settings(trace_folder=str(tmp_path)))), tab="history")
    client.ask()
    assert "40 turns" in client.html["history"]


@pytest.mark.parametrize("kind", ["json", "csv", "html"])
def test_the_shown_rows_are_exported(monitor, kind):
    run_turn(monitor, 1, BAD)
    run_turn(monitor, 2, GOOD)
    client = Client(Desk(monitor), tab="history")
    client.ask(act("export", kind=kind), filter={"verdict": "FAIL"})
    file = client.last["file"]
    assert file["name"] == f"guardrails-history.{kind}"
    assert "says 8192" in file["text"]
    assert client.last["say"] == "1 turn exported."


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("v", "tab", "turn", "claim", "filter", "have", "lists", "do", "same")


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_no_message_breaks_the_desk(raw):
    monitor = _shared_monitor()
    text = Desk(monitor).answer(json.dumps(raw), ME)
    assert text == "" or json.loads(text)["v"] == monitor.version


@given(st.text())
def test_text_that_is_no_message_is_passed_over(text):
    message = read_message(text)
    assert message is None or message.version in (-1, message.version)


def test_an_unknown_action_says_to_reload(monitor):
    client = Client(Desk(monitor))
    client.ask(act("explode"))
    assert "reload" in str(client.last["say"])


def test_a_problem_and_dropped_checks_are_shown(monitor):
    monitor.report_problem("The trace folder is full; make room.", "trace")
    client = Client(Desk(monitor))
    client.ask()
    assert "make room" in client.html["problems"]


def _shared_monitor(kept: list[Monitor] = []) -> Monitor:  # noqa: B006 - one for all examples, on purpose
    if not kept:
        kept.append(scripted_monitor())
        run_turn(kept[0], 1, BAD)
    return kept[0]


def test_what_tells_of_somebodys_chat_is_shown_to_that_person_only(monitor):
    monitor.report_problem(
        "The call of send_mail was refused.", "refused:page:ann:20261122-10-15-33:send_mail"
    )
    monitor.report_problem("The tool 'secret' is checked only.", "unenforced:abc")
    monitor.report_problem("The disk is full.", "trace")
    desk = Desk(monitor)
    shown = {}
    for name in ("ann", "bob", None):
        client = Client(desk, Visitor(name, "s"))
        client.ask()
        shown[name] = client.html["problems"]
    assert "send_mail" in shown["ann"] and "secret" not in shown["ann"]
    assert "send_mail" not in shown["bob"] and "disk" in shown["bob"]
    assert "send_mail" in shown[None] and "secret" in shown[None]


def test_every_card_stands_in_a_tab_and_shares_no_place_and_no_action(monitor):
    parts = PanelParts(monitor, Archive(monitor), None, lambda: None, lambda: None)
    cards = [card(parts) for card in CARDS]
    assert {card.tab for card in cards} == {key for key, _ in TABS}
    places = [name for card in cards for name in card.places]
    actions = [name for card in cards for name in card.actions]
    assert len(set(places)) == len(places) and len(set(actions)) == len(actions)
    drawn = str(shell())
    assert [name for name in places if f"data-slot='{name}'" not in drawn] == []
