"""The lock on llama.cpp's server: a real one where LLAMA_SERVER names a binary, else its recorded answers.

With LLAMA_RECORD=1 beside it, the answers are written down.
"""

from __future__ import annotations

import http.client
import json
import os
import types
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from contract.llama_server import binary, real_server
from exllama_guard.backends.bundled import bundled_gguf
from exllama_guard.errors import SchemaError
from exllama_guard.host.patches import Patches
from exllama_guard.host.tools.constrain import Constrainer, _asking
from exllama_guard.host.tools.turn import ToolTurn
from exllama_guard.tools.attempts import find_attempts
from exllama_guard.tools.calls import compile_checker, tool_checker
from exllama_guard.tools.grammar.enforce import REPEATED
from exllama_guard.tools.grammar.server_schema import schema_for_server
from exllama_guard.tools.locks.compiled import plan_answer, plan_calls
from exllama_guard.tools.locks.llamacpp_grammar import lock_for_server
from exllama_guard.tools.registry import tool_from_openai
from exllama_guard.tools.strict_json import canonical_sha256, read_json

RECORDING = Path(__file__).with_name("llama_lock_recorded.json")
WEATHER = tool_from_openai(
    {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 20},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
        },
    }
)
NOTE = tool_from_openai(
    {
        "name": "note.read",
        "description": "Reads a note.",
        "parameters": {
            "type": "object",
            "properties": {
                "tags": {"type": "array", "items": {"enum": ["a b", 'c"d']}, "maxItems": 3},
                "node": {"$ref": "#/$defs/node"},
            },
            "required": ["tags"],
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {"next": {"$ref": "#/$defs/node"}},
                    "maxProperties": 1,
                }
            },
        },
    }
)
REMOTE = tool_from_openai({"name": "remote", "parameters": {"$ref": "http://127.0.0.1:9/x"}})
TAGGED = "<tool_call>"
PLACE = {
    "type": "object",
    "properties": {"a": {"type": "null"}, "b": {"type": "null"}},
    "additionalProperties": False,
}


def shown(city, days):
    call = json.dumps({"name": "get_weather", "arguments": {"town": city, "days": days}})
    asked = f"<|im_start|>user\nWeather in {city} for {days} days?<|im_end|>\n<|im_start|>assistant\n"
    return f"{asked}<tool_call>\n{call}\n</tool_call><|im_end|>\n"


# Three calls that break the schema, so that the model breaks it too where nothing holds it.
WRONG_CALLS = shown("Paris", "two") + shown("Oslo", "three") + shown("Lima", "four")
ASKED = WRONG_CALLS + "<|im_start|>user\nWeather in Rome for five days?<|im_end|>\n<|im_start|>assistant\n"
PLAIN = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


class Server:
    """Asks the real server and notes its answers, or gives the noted ones."""

    def __init__(self, port=None, known=None):
        self.port = port
        self.known = {} if known is None else known

    def _answer(self, body, send):
        key = canonical_sha256(body)
        if self.port is not None:
            try:
                self.known[key] = {"answer": send()}
            except SchemaError as error:
                self.known[key] = {"error": str(error)}
        if key not in self.known:
            raise AssertionError(f"not recorded, run this file with --record: {str(body)[:200]}")
        if "error" in self.known[key]:
            raise SchemaError(self.known[key]["error"])
        return self.known[key]["answer"]

    def ask(self, fields):
        def send():
            settings = _asking(self.port)(fields)["generation_settings"]
            return {"generation_settings": {"grammar": settings["grammar"]}}

        return self._answer(dict(fields), send)

    def write(self, prompt, fields, tokens=70):
        body = {"prompt": prompt, "n_predict": tokens, "temperature": 0, **fields}

        def send():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            with closing(connection):
                headers = {"Content-Type": "application/json"}
                connection.request("POST", "/completion", json.dumps(body), headers)
                return json.loads(connection.getresponse().read())["content"]

        return self._answer(body, send)


@contextmanager
def serving():
    named = os.environ.get("LLAMA_SERVER") and binary()
    if not named:
        yield Server(known=json.loads(RECORDING.read_text(encoding="utf-8")))
        return
    with real_server(named, bundled_gguf()) as (real, _process):
        server = Server(real.port)
        yield server
    if os.environ.get("LLAMA_RECORD"):
        text = json.dumps(server.known, indent=1, ensure_ascii=False)
        RECORDING.write_text(text + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def server():
    with serving() as one:
        yield one


def test_calls_are_held_to_the_schema_and_text_before_them_is_free(server):
    lock = lock_for_server(plan_calls((WEATHER, NOTE), TAGGED, always=False), server.ask)
    (wrong,) = find_attempts(server.write(ASKED, {}), ("get_weather",))
    assert tool_checker(WEATHER)(read_json(wrong.arguments).value), "nothing to hold back"
    (call,) = find_attempts(server.write(ASKED, lock.fields), ("get_weather",))
    assert tool_checker(WEATHER)(read_json(call.arguments).value) == ()
    assert server.write(PLAIN, lock.fields, 12) == server.write(PLAIN, {}, 12)


def test_always_means_one_valid_call_and_nothing_else(server):
    lock = lock_for_server(plan_calls((WEATHER,), TAGGED, always=True), server.ask)
    read = read_json(server.write(PLAIN, lock.fields))
    assert read.ok
    assert tool_checker(WEATHER)(read.value["arguments"]) == ()


def test_an_answer_is_held_to_its_schema(server):
    schema = {
        "type": "object",
        "properties": {"capital": {"enum": ["Paris", "Rome"]}},
        "required": ["capital"],
    }
    lock = lock_for_server(plan_answer(schema, TAGGED), server.ask)
    assert compile_checker(schema)(read_json(server.write(PLAIN, lock.fields)).value) == ()


def test_what_the_server_does_not_hold_to_is_told(server):
    lock = lock_for_server(plan_calls((WEATHER, NOTE), TAGGED, always=False), server.ask)
    assert list(lock.unenforced) == ["note.read"]
    assert "maxProperties" in lock.unenforced["note.read"]


def test_a_schema_that_the_server_refuses_leaves_the_other_tools_locked(server):
    lock = lock_for_server(plan_calls((REMOTE, WEATHER), TAGGED, always=False), server.ask)
    assert "$ref" in lock.unenforced["remote"]
    assert "get_weather" in lock.fields["grammar"]
    assert "remote" not in lock.fields["grammar"]
    with pytest.raises(SchemaError, match="cannot hold"):
        lock_for_server(plan_calls((REMOTE,), TAGGED, always=False), server.ask)


def test_a_call_form_that_is_not_written_here_is_told_not_left_open(server):
    with pytest.raises(SchemaError, match="Kimi"):
        lock_for_server(plan_calls((WEATHER,), "<|tool_call_begin|>", always=False), server.ask)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "integer", "minimum": 1}, []),
        ({"type": "number", "minimum": 1}, ["minimum"]),
        ({"type": "number", "multipleOf": 1}, ["multipleOf"]),
        ({"type": "string", "format": "date"}, []),
        ({"type": "string", "format": "regex"}, ["format regex"]),
        ({"type": "string", "pattern": "^a+$"}, []),
        ({"type": "string", "pattern": "a+"}, ["pattern"]),
        ({"type": "string", "pattern": "^a+$", "maxLength": 3}, ["maxLength"]),
        ({"type": "string", "allOf": [{"maxLength": 3}]}, []),
        ({"type": "string", "enum": ["a"], "pattern": "b"}, ["pattern"]),
        (
            {"type": "array", "items": {"type": "array", "uniqueItems": True, "items": {}}},
            ["uniqueItems (/*)", REPEATED],
        ),
        ({"type": "array", "prefixItems": [{"type": "null"}]}, ["prefixItems"]),
        ({"anyOf": [{"type": "string", "not": {}}, {"const": 1}]}, ["not"]),
        ({**PLACE, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, ["anyOf"]),
        ({**PLACE, "minProperties": 1}, ["minProperties"]),
    ],
)
def test_rules_that_the_converter_passes_over_are_found(schema, told):
    assert list(schema_for_server(schema).gaps) == told


class LlamaServer:
    """Named and shaped like the WebUI's class."""

    def __init__(self, port):
        self.port = port

    def prepare_payload(self, state):
        return {"grammar": state["grammar_string"], "seed": 1}


def planned(tool):
    turn = ToolTurn(None, "page::c")
    turn.planned(plan_calls((tool,), TAGGED, always=False))
    return turn


def test_the_hosts_request_gets_the_lock_and_keeps_a_users_own_grammar(server, monkeypatch):
    from exllama_guard.host.tools import constrain as tool_constrain

    monkeypatch.setattr(tool_constrain, "_asking", lambda port: server.ask)
    turn = planned(WEATHER)
    told, patches = [], Patches()
    held = types.SimpleNamespace(turn=turn)
    constrainer = Constrainer(lambda: held.turn, patches, lambda *args: told.append(args[1:]))
    host = LlamaServer(1)
    constrainer.meet(host)
    payload = host.prepare_payload({"grammar_string": ""})
    assert payload["grammar_lazy"] is True
    assert payload["seed"] == 1
    assert "get_weather" in payload["grammar"]
    assert turn.reply.enforced
    host.prepare_payload({"grammar_string": ""})
    assert told == [({}, "")], "asked and told once"
    assert host.prepare_payload({"grammar_string": "root ::= x"}) == {"grammar": "root ::= x", "seed": 1}
    held.turn = planned(REMOTE)
    assert host.prepare_payload({"grammar_string": ""}) == {"grammar": "", "seed": 1}
    assert "$ref" in told[-1][1]
    assert not held.turn.reply.enforced
    held.turn = None
    assert host.prepare_payload({"grammar_string": ""}) == {"grammar": "", "seed": 1}
    patches.undo()


def test_a_server_that_is_gone_is_told_and_the_reply_goes_on_unlocked():
    turn = planned(WEATHER)
    told, patches = [], Patches()
    constrainer = Constrainer(lambda: turn, patches, lambda *args: told.append(args[2]))
    host = LlamaServer(9)
    constrainer.meet(host)
    assert host.prepare_payload({"grammar_string": ""}) == {"grammar": "", "seed": 1}
    assert "could not be asked" in told[0]
    patches.undo()
