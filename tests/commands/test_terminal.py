"""No text of a file, a trace or an argument commands the terminal that a command writes to."""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import pytest
from conftest import EXTENSION
from exllama_guard.core.terminal import plain_streams, printable
from exllama_guard.core.turns import TurnRequest
from exllama_guard.standalone.launch import main
from exllama_guard.testing import make_monitor
from exllama_guard.trace.line import to_line
from exllama_guard.trace.record import record_of

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x08\r\x7f\u202e"
CONTROLS = "\x1b\x07\x9b\x08\r\x7f\u202e"


def test_each_control_character_is_written_out_and_nothing_else_moves():
    assert printable("Zürich\t3 €\n漢字 🙂") == "Zürich\t3 €\n漢字 🙂"
    assert not set(printable(EVIL)) & set(CONTROLS)
    assert json.loads(f'"{printable(EVIL)}"') == EVIL  # JSON stays JSON


def test_streams_are_as_before_afterwards(capsys):
    before = sys.stdout
    with plain_streams():
        print(EVIL)
        print(EVIL, file=sys.stderr)
    assert sys.stdout is before
    assert not set("".join(capsys.readouterr())) & set(CONTROLS)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("EXLLAMA_GUARDRAILS_INSIDE", "1")
    request = TurnRequest(turn_id=EVIL, question=EVIL, snippets=(), started_at_s=1.0)
    line = json.loads(to_line(record_of(make_monitor().measure(request, f"It holds {EVIL} tokens."))))
    broken = line | {"channel": EVIL, f"more {EVIL}": 1, "cited_ids": [EVIL]}
    trace = tmp_path / "traces-1.jsonl"
    lines = [
        line,
        broken,
        line | {"cited_ids": [EVIL]},
        line | {f"x{EVIL}": 1},
        line | {"schema_version": EVIL},
    ]
    trace.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines) + f"{EVIL}\n")
    asked = tmp_path / "asked.jsonl"
    asked.write_text(
        json.dumps({"question": EVIL, "snippets": [f"Ten days {EVIL}."], "answer": f"Ten {EVIL}."})
    )
    return {"trace": str(trace), "asked": str(asked), "gone": str(tmp_path / EVIL)}


@pytest.mark.parametrize(
    "argv",
    [
        ["validate", "{trace}"],
        ["validate", "{gone}"],
        ["diagnose", "--traces", "{trace}"],
        ["diagnose", "{trace}"],
        ["check", "--quiet", "--input", "{asked}", "--output", "-"],
        ["check", "--input", "{gone}", "--output", "-"],
        ["report", "{trace}"],
        [f"none{EVIL}"],
        ["validate", f"--{EVIL}"],
    ],
    ids=lambda argv: argv[0][:8],
)
def test_no_command_lets_a_control_character_through(argv, files, capsys):
    with suppress(SystemExit):  # argparse: a wrong argument, which it quotes
        main(EXTENSION, [part.format(**files) for part in argv])
    said = capsys.readouterr()
    assert said.out or said.err
    assert not (set(said.out) | set(said.err)) & set(CONTROLS)
