"""llama.cpp's server gone, broken or stuck: one sentence each, never a traceback, never an endless wait."""

from __future__ import annotations

import json
import threading

import pytest
from contract import llama_server
from exllama_guard.backends.bundled import bundled_gguf
from exllama_guard.backends.loaded import LoadedModel, LoadSettings, reference
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
    # Refused and not timed out: the sentence of a server that does not answer is another one.
    with pytest.raises(BackendError, match="process may have ended"):
        _backend(server).count_tokens("x")


def test_a_stuck_server_is_told_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr("exllama_guard.backends.llama_cpp._TIMEOUT_S", 0.3)
    leave = threading.Event()

    def answer(*_):
        leave.wait(120)
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


def _completion(entries) -> str:
    return json.dumps({"content": "Yes", "completion_probabilities": [{"id": 7, "top_logprobs": entries}]})


def test_the_likeliest_next_tokens_are_read_in_a_slot_of_their_own():
    asked = []

    def answer(method, path, body):
        asked.append(json.loads(body))
        entries = [{"id": 7, "token": "Yes", "logprob": -0.25}, {"id": 9, "token": "No", "logprob": -3.5}]
        return 200, _completion(entries)

    with llama_server.answering(answer) as server:
        loaded = LoadedModel(
            "m", "llama.cpp", reference(server), reference(server), settings=LoadSettings(parallel=3)
        )
        values = backend_for(loaded).next_logprobs([1, 2], [7, 9, 8])
        assert values.tolist() == [-0.25, -3.5, -3.5]  # the third is not among them: at most as likely
        _backend(server).next_logprobs([1, 2], [7])
    assert asked[0]["id_slot"] == 2
    assert asked[0]["prompt"] == [1, 2]
    assert asked[0]["n_predict"] == 1
    assert "id_slot" not in asked[1]  # one slot only: the server's choice


@pytest.mark.parametrize("body", ["{}", _completion([]), _completion([{"id": "x", "logprob": None}])])
def test_a_server_without_next_tokens_is_not_scored(body):
    with llama_server.answering(lambda *_: (200, body)) as server:
        assert isinstance(_backend(server).next_logprobs([1], [7]), NotScored)


def test_a_prompt_begins_once_with_the_models_first_token():
    answers = iter(['{"tokens": [2, 2, 5]}', '{"tokens": [2, 5]}'])
    with llama_server.answering(lambda *_: (200, next(answers))) as server:
        assert _backend(server).prompt_ids("<bos>x") == (2, 5)
        assert _backend(server).prompt_ids("x") == (2, 5)
