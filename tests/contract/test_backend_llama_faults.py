"""llama.cpp's server gone, broken or stuck: one sentence each, never a traceback, never an endless wait."""

from __future__ import annotations

import json
import threading
import time

import pytest
from contract import llama_server
from exllama_guard.backends.bundled import bundled_gguf
from exllama_guard.backends.loaded import LoadedModel, reference
from exllama_guard.core.measures import NotScored
from exllama_guard.errors import BackendError
from exllama_guard.loaders import backend_for


def _backend(server):
    return backend_for(LoadedModel("m", "llama.cpp", reference(server), reference(server)))


GARBAGE = ["", "not json", "[]", '"text"', "\x00\xff", '{"tokens": "no list"}', '{"tokens": ["a"]}', "null"]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_told_for_every_call(garbage):
    with llama_server.answering(lambda method, path, body: (200, garbage)) as server:
        backend = _backend(server)
        with pytest.raises(BackendError, match="unreadable"):
            backend.count_tokens("x")
        with pytest.raises(BackendError):
            backend.greedy("x", 2)


def test_garbage_in_the_middle_of_a_stream_is_told():
    def answer(method, path, body):
        if path == "/tokenize":
            return 200, '{"tokens": [1]}'
        return 200, 'data: {"content": "a"}\n\ndata: {broken\n\n'

    with llama_server.answering(answer) as server, pytest.raises(BackendError, match="unreadable"):
        _backend(server).greedy("x", 5)


@pytest.mark.parametrize("status", [400, 500, 503])
def test_an_error_of_the_server_is_told_with_its_own_words(status):
    body = json.dumps({"error": {"message": "Loading model"}})
    with llama_server.answering(lambda *_: (status, body)) as server:
        with pytest.raises(BackendError, match=f"{status}.*Loading model"):
            _backend(server).count_tokens("x")
        assert isinstance(_backend(server).cache_usage(), NotScored)


def test_a_slot_that_is_busy_for_a_moment_is_waited_for():
    """A request whose client left runs on until its next token: seen on a real server."""
    asked = []

    def answer(method, path, body):
        asked.append(path)
        busy = asked.count("/slots") < 3
        return 200, json.dumps([{"id": 0, "is_processing": busy}]) if path == "/slots" else "{}"

    with llama_server.answering(answer) as server:
        _backend(server).reset_cache()
    assert asked == ["/slots", "/slots", "/slots", "/slots/0?action=erase"]


def test_a_busy_slot_forbids_a_reset(monkeypatch):
    monkeypatch.setattr("exllama_guard.backends.llama_cpp._IDLE_S", 0.1)
    slots = json.dumps([{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}])
    with (
        llama_server.answering(lambda *_: (200, slots)) as server,
        pytest.raises(BackendError, match="1 slots are busy"),
    ):
        _backend(server).reset_cache()


def test_a_wrong_number_of_log_probabilities_is_not_scored():
    answer = json.dumps({"prompt_probabilities": [{"logprob": -1.0}]})
    with llama_server.answering(lambda *_: (200, answer)) as server:
        value = _backend(server).prompt_logprobs([1, 2, 3])
    assert isinstance(value, NotScored)
    assert "1 log-probabilities came for 3 tokens" in value.detail


def test_a_process_that_ended_is_told_at_once():
    with llama_server.answering(lambda *_: (200, "{}")) as server:
        pass
    started_s = time.monotonic()
    with pytest.raises(BackendError, match="process may have ended"):
        _backend(server).count_tokens("x")
    assert time.monotonic() - started_s < 5


def test_a_stuck_server_is_told_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr("exllama_guard.backends.llama_cpp._TIMEOUT_S", 0.3)
    leave = threading.Event()

    def answer(*_):
        leave.wait(10)
        return 200, "{}"

    with llama_server.answering(answer) as server:
        with pytest.raises(BackendError, match="in time"):
            _backend(server)._object("GET", "/props", timeout_s=0.3)
        leave.set()


@pytest.mark.skipif(llama_server.binary() is None, reason="no llama-server: set LLAMA_SERVER to its path")
def test_a_real_server_killed_while_it_writes_is_told():
    with llama_server.real_server(llama_server.binary(), bundled_gguf()) as (server, process):
        backend = _backend(server)
        threading.Timer(0.5, process.kill).start()
        with pytest.raises(BackendError, match="process may have ended"):
            backend.greedy("The story begins", 900)
