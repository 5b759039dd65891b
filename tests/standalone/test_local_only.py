"""The embedded page hears only of this machine's own pages: other names and other origins are refused."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from exllama_guard.standalone import run
from exllama_guard.standalone.local_only import LocalOnly

OURS = ["127.0.0.1:7861", "127.0.0.1", "localhost:7861", "LOCALHOST", "[::1]:7861"]
OTHERS = [
    "example.org", "example.org:7861", "127.0.0.1.example.org", "localhost.example.org:7861", "10.0.0.5:7861",
    "0.0.0.1", "", "[::1", "127.0.0.1@example.org", "example.org#127.0.0.1", "2130706433",
    "example.org/127.0.0.1",
]  # fmt: skip


def asked(headers, kind="http"):
    """What is sent back; "passed" where the request went through."""
    sent = []

    async def app(scope, receive, send):
        sent.append("passed")

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "headers": [(name, value.encode()) for name, value in headers]}
    asyncio.run(LocalOnly(app)(scope, None, send))
    return sent


@pytest.mark.parametrize("host", OURS)
def test_this_machines_own_names_pass(host):
    assert asked([(b"host", host)]) == ["passed"]
    assert asked([(b"host", host), (b"origin", f"http://{host}")]) == ["passed"]
    assert asked([(b"host", host)], "websocket") == ["passed"]


@pytest.mark.parametrize("host", OTHERS)
def test_other_names_are_refused(host):
    start, body = asked([(b"host", host)])
    assert (start["status"], b"this machine only" in body["body"]) == (403, True)
    assert asked([(b"host", host)], "websocket") == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    "origin", ["http://example.org", "https://localhost.example.org", "null", "file://", ""]
)
def test_pages_of_others_may_not_even_post(origin):
    assert asked([(b"host", "127.0.0.1:7861"), (b"origin", origin)])[0]["status"] == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:8000",
        "http://127.0.0.1",
        "http://localhost:7861",
        "http://127.0.0.1:99999",
        "x://127.0.0.1:7861",
    ],
)
def test_pages_of_other_programs_on_this_machine_may_not_post(origin):
    assert asked([(b"host", "127.0.0.1:7861"), (b"origin", origin)])[0]["status"] == 403
    assert asked([(b"host", "127.0.0.1:7861"), (b"origin", origin)], "websocket")[0]["code"] == 1008


def test_a_standard_port_may_be_left_out():
    assert asked([(b"host", "localhost:80"), (b"origin", "http://localhost")]) == ["passed"]
    assert asked([(b"host", "localhost"), (b"origin", "https://localhost:443")]) == ["passed"]


def test_no_or_two_names_are_refused():
    assert asked([])[0]["status"] == 403
    assert asked([(b"host", "127.0.0.1"), (b"Host", "example.org")])[0]["status"] == 403


def test_what_is_no_request_passes():
    assert asked([], "lifespan") == ["passed"]


def test_the_page_is_bound_to_this_machine_whatever_is_asked():
    assert run.HOST == "127.0.0.1"
    assert "host" not in inspect.signature(run.Options).parameters
    assert not any("host" in option for action in run.parser()._actions for option in action.option_strings)
