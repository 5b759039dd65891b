"""`lock`: the command line over tools and calls."""

from __future__ import annotations

import json

import pytest
from exllama_guard.commands import lock

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"days": {"type": "integer"}},
                "required": ["days"],
            },
        },
    },
    {
        "name": "../rm",
        "parameters": {"type": "object", "properties": {"u": {"type": "array", "uniqueItems": True}}},
    },
]


@pytest.fixture
def checked(tmp_path):
    def check(lines, tools=TOOLS):
        (tmp_path / "tools.json").write_text(json.dumps(tools), encoding="utf-8")
        (tmp_path / "calls.jsonl").write_bytes("\n".join(lines).encode())
        out = tmp_path / "out.jsonl"
        files = ["--tools", "tools.json", "--calls", "calls.jsonl", "--output", "out.jsonl"]
        status = lock.run([part if part.startswith("--") else str(tmp_path / part) for part in files])
        return status, [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    return check


def test_each_call_gives_one_line(checked):
    status, lines = checked(
        [
            '{"id": 1, "name": "get_weather", "arguments": {"days": 3}}',
            '{"id": "b", "name": "get_weather", "arguments": "{\\"days\\": \\"3\\"}"}',
            "",
            '{"id": 3, "name": "nothing", "arguments": {}}',
            '{"id": 4, "name": "../rm", "arguments": {"u": [1, 2]}}',
        ]
    )
    assert status == 0
    assert lines[0] == {"id": 1, "valid": True, "errors": []}
    assert lines[1] == {
        "id": "b",
        "valid": False,
        "errors": [
            {
                "path": "/days",
                "expected": "type integer",
                "found": '"3"',
                "message": '"3" is not of type "integer"',
            }
        ],
    }
    assert (lines[2]["id"], lines[2]["valid"]) == (3, False)
    assert lines[3]["valid"]


def test_a_line_that_is_no_call_is_an_error_object_and_the_rest_is_read(checked):
    status, lines = checked(
        [
            "nonsense",
            "[1]",
            '{"id": 1, "name": 5}',
            '{"id": 2, "name": "get_weather", "arguments": {"days": 1}}',
        ]
    )
    assert status == 1
    assert [line.get("line") for line in lines] == [1, 2, 3, None]
    assert all("line" in line["error"] for line in lines[:3])
    assert lines[3]["valid"]


def test_duplicate_keys_and_nan_in_a_line_are_faults_of_the_call(checked):
    status, lines = checked(
        [
            '{"id": 1, "name": "get_weather", "arguments": {"days": 1, "days": 2}}',
            '{"id": 2, "name": "get_weather", "arguments": {"days": NaN}}',
        ]
    )
    assert status == 0
    assert [(line["id"], line["valid"]) for line in lines] == [(1, False), (2, False)]
    assert "more than once" in lines[0]["errors"][0]["message"]


def test_an_unusable_tool_refuses_its_calls_and_is_named(checked, capsys):
    bad = [{"name": "f", "parameters": {"type": "thing"}}]
    status, lines = checked(['{"id": 1, "name": "f", "arguments": {}}'], bad)
    assert (status, lines[0]["valid"]) == (1, False)
    assert "f: The schema is not a valid JSON Schema" in capsys.readouterr().err


def test_explain_says_what_each_loader_enforces_and_why_not(tmp_path, capsys):
    (tmp_path / "tools.json").write_text(json.dumps({"tools": TOOLS}), encoding="utf-8")
    assert lock.run(["--tools", str(tmp_path / "tools.json"), "--explain"]) == 0
    out = capsys.readouterr().out
    weather, rm = out.split("../rm")
    assert "Transformers, enforce-calls: enforced while decoding" in weather
    assert "llama.cpp, enforce-calls: enforced while decoding" in weather
    assert "llama.cpp, enforce-always: enforced while decoding" in weather
    assert "uniqueItems" in rm
    assert "enforced while decoding\n" not in rm


def test_explain_says_what_was_read_and_what_llama_cpp_passes_over(tmp_path, capsys):
    half = {"type": "float", "multipleOf": 0.5}
    tools = [{"name": "f", "parameters": {"type": "dict", "properties": {"n": half}}}]
    (tmp_path / "tools.json").write_text(json.dumps(tools), encoding="utf-8")
    assert lock.run(["--tools", str(tmp_path / "tools.json"), "--explain"]) == 0
    out = capsys.readouterr().out
    assert 'type "dict" is read as "object"' in out
    assert 'type "float" is read as "number"' in out
    assert "Transformers, enforce-calls: enforced while decoding" in out
    (told,) = [line for line in out.splitlines() if "llama.cpp, enforce-calls" in line]
    assert "checked before execution" in told
    assert "multipleOf (/n)" in told


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"tools": []}', "5"])
def test_a_file_without_tools_ends_with_a_sentence(tmp_path, capsys, text):
    (tmp_path / "tools.json").write_text(text, encoding="utf-8")
    assert lock.run(["--tools", str(tmp_path / "tools.json"), "--explain"]) == 2
    assert "tools" in capsys.readouterr().err


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        lock.run(["--help"])
    assert "lock --tools tools.json --calls calls.jsonl" in capsys.readouterr().out


@pytest.mark.parametrize("output", ["calls.jsonl", "tools.json"])
def test_the_inputs_are_never_written_over(tmp_path, capsys, output):
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")
    (tmp_path / "calls.jsonl").write_text('{"id": 1, "name": "get_weather", "arguments": {"days": 3}}\n')
    before = (tmp_path / output).read_bytes()
    files = {"--tools": "tools.json", "--calls": "calls.jsonl", "--output": output}
    status = lock.run([part for name, file in files.items() for part in (name, str(tmp_path / file))])
    assert (status, (tmp_path / output).read_bytes()) == (2, before)
    assert "give --output another name" in capsys.readouterr().err
