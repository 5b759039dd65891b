"""The report with an API response, and the address that gives the last ones: who gets them, and what."""

from __future__ import annotations

import types

import pytest
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Channel, Finish, Reader, TurnRequest
from exllama_guard.host.acting import api as acting_api
from exllama_guard.host.acting.lines import VisibleLines, strip_sent_lines
from exllama_guard.host.patches import Patches
from exllama_guard.settings import Settings
from exllama_guard.testing import make_monitor
from fastapi import Depends, FastAPI, Header, HTTPException
from starlette.testclient import TestClient

SNIPPETS = (make_snippet("The cache holds 8192 tokens.", position=0),)


def request(turn_id, channel, reader=None):
    return TurnRequest(
        turn_id,
        "How many tokens does the cache hold?",
        SNIPPETS,
        channel=channel,
        reader=reader or Reader(),
        started_at_s=1.0,
    )


def answered(monitor, turn_id, channel, reader=None):
    handle = monitor.open_turn(request(turn_id, channel, reader))
    acting_api.note_report(handle, None, "The cache holds 8192 tokens.", Finish.COMPLETE, monitor.settings)
    handle.close("The cache holds 8192 tokens.", Finish.COMPLETE)
    assert monitor.wait_until_idle(120)


def check_key(authorization: str = Header(None)):
    if authorization != "Bearer key":
        raise HTTPException(status_code=401)


@pytest.fixture
def served():
    monitor = make_monitor(Settings(act_wait_ms=5000.0))
    script = types.ModuleType("script")
    script.app, script.check_key = FastAPI(), [Depends(check_key)]
    acting_api._add_address(script, script.app, monitor)
    acting_api._add_address(script, script.app, monitor)  # a second start adds nothing
    return monitor, script.app


def client(app, host="127.0.0.1", **headers):
    return TestClient(app, client=(host, 1234), headers={"Authorization": "Bearer key", **headers})


def test_it_gives_the_last_api_turns_and_none_of_the_pages(served):
    monitor, app = served
    answered(monitor, "page", Channel.CHAT)
    answered(monitor, "api", Channel.API_CHAT)
    answered(monitor, "somebody's", Channel.API_CHAT, Reader(username="ann"))
    answered(monitor, "completion", Channel.COMPLETION)
    turns = client(app).get(acting_api.REPORTS_PATH, params={"last": 9}).json()["turns"]
    assert {turn["turn_id"] for turn in turns} == {"api", "completion"}
    assert turns[0]["verdict"] == "PASS"
    assert turns[0]["statements"][0]["text"] == "The cache holds 8192 tokens."
    assert len(client(app).get(acting_api.REPORTS_PATH).json()["turns"]) == 1
    paths = [route.path for route in app.routes]
    assert paths.count(acting_api.REPORTS_PATH) == 1


def test_it_asks_for_the_hosts_key(served):
    _, app = served
    assert client(app, Authorization="Bearer other").get(acting_api.REPORTS_PATH).status_code == 401


@pytest.mark.parametrize("host", ["192.168.1.5", "testclient", "::ffff:10.0.0.1"])
def test_it_answers_this_machine_only(served, host):
    assert client(served[1], host).get(acting_api.REPORTS_PATH).status_code == 403


def test_a_web_page_gets_nothing(served):
    asked = client(served[1], Origin="http://example.org")
    assert asked.get(acting_api.REPORTS_PATH).status_code == 403


def test_a_response_carries_its_own_report_where_asked_for():
    monitor = make_monitor(Settings(act_wait_ms=5000.0, api_report=True))
    module = types.ModuleType("completions")

    def chat_completions(body):
        answered(monitor, body, Channel.API_CHAT)
        return {"choices": [{"message": {"content": "x"}}]}

    def stream_chat_completions(body):
        yield {"choices": [{"delta": {"content": "x"}, "finish_reason": None}]}
        answered(monitor, body, Channel.API_CHAT)
        yield {"choices": [{"delta": {}, "finish_reason": "stop"}]}
        yield {"choices": [], "usage": {}}

    module.chat_completions, module.stream_chat_completions = chat_completions, stream_chat_completions
    patches = Patches()
    acting_api._wrap(patches, monitor, module)
    assert module.chat_completions("t1")["guardrails"]["turn_id"] == "t1"
    first, last, usage = module.stream_chat_completions("t2")
    assert "guardrails" not in first and "guardrails" not in usage
    assert last["guardrails"]["verdict"] == "PASS"
    monitor.change_settings(api_report=False)
    assert "guardrails" not in module.chat_completions("t3")
    assert patches.undo() == ()
    assert module.chat_completions is chat_completions


def test_two_streams_step_by_step_get_their_own_reports():
    monitor = make_monitor(Settings(act_wait_ms=5000.0, api_report=True))
    module = types.ModuleType("completions")

    def stream_completions(body):
        yield {"choices": [{"text": "x", "finish_reason": None}]}
        answered(monitor, body, Channel.COMPLETION)
        yield {"choices": [{"text": "", "finish_reason": "stop"}]}

    module.stream_completions = stream_completions
    acting_api._wrap(Patches(), monitor, module)
    one, two = module.stream_completions("one"), module.stream_completions("two")
    assert [next(one), next(two)]
    assert next(one)["guardrails"]["turn_id"] == "one"
    assert next(two)["guardrails"]["turn_id"] == "two"


def test_a_host_whose_api_lacks_its_library_is_a_host_without_one(monkeypatch, caplog):
    def missing(name):
        raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")

    monkeypatch.setattr(acting_api, "shared_module", lambda: types.SimpleNamespace())
    monkeypatch.setattr(acting_api, "find_spec", lambda name: True)
    monkeypatch.setattr(acting_api, "import_module", missing)
    caplog.set_level("INFO", acting_api.__name__)
    acting_api.install_api(Patches(), make_monitor())
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "fastapi" in caplog.text


def test_a_line_belongs_to_its_own_state_and_is_given_once():
    lines, first, second = VisibleLines(), {"a": 1}, {"a": 1}
    lines.keep(first, "\n\n⚠ Guardrails: a < b.")
    assert lines.shown("Text.", second) == "Text."
    assert lines.shown("Text.", first) == "Text.\n\n⚠ Guardrails: a &lt; b."
    assert lines.shown("Text.", first) == "Text."


def test_an_older_line_is_not_kept_beside_a_new_one():
    lines, state = VisibleLines(), {}
    lines.keep(state, "\n\n⚠ Guardrails: new.")
    assert lines.shown("Old.\n\n⚠ Guardrails: old.\n\nMore.", state) == "Old.\n\nMore.\n\n⚠ Guardrails: new."


def test_lines_that_a_client_sends_back_are_taken_out():
    history = {
        "internal": [["Q", "A.\n\n⚠ Guardrails: x."], ("kept", "as it is"), ["Q"]],
        "messages": [
            {"role": "assistant", "content": "A.\n\n⚠ Guardrails: x."},
            {"role": "user", "content": "What does ⚠ Guardrails: x mean?"},
            {"role": "assistant", "content": None},
        ],
    }
    strip_sent_lines(history)
    assert history["internal"][0] == ["Q", "A."]
    assert [message["content"] for message in history["messages"]] == [
        "A.",
        "What does ⚠ Guardrails: x mean?",
        None,
    ]
