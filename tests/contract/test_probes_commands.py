"""probe, compare, verify, replay and report as commands: exit status, files, bad input; no model."""

from __future__ import annotations

import html
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest
from exllama_guard.commands import compare, probe, replay, report, verify
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import TurnRequest
from exllama_guard.errors import BackendError
from exllama_guard.probes.modes.opening import Choice
from exllama_guard.testing import FakeEmbedder, scored
from exllama_guard.trace.files import TraceWriter
from probe_material import ScriptedMode


@pytest.fixture(autouse=True)
def fake_embedder(monkeypatch):
    monkeypatch.setattr(
        "exllama_guard.embedders.sentence_transformers.load_embedder", lambda name="": FakeEmbedder()
    )


def gold(path, *items):
    path.write_text("\n".join(json.dumps(item) if isinstance(item, dict) else item for item in items))
    return str(path)


GOOD = {
    "id": "a",
    "question": "The cache holds how many tokens?",
    "anchor": "The cache holds tokens.",
    "snippets": ["The cache holds tokens."],
}


def test_verify_a_clean_gold_set(tmp_path):
    junit = tmp_path / "v.xml"
    assert (
        verify.run([gold(tmp_path / "g", GOOD), "--junit", str(junit), "--html", str(tmp_path / "v.html")])
        == 0
    )
    suite = ElementTree.parse(junit).getroot()  # noqa: S314 - written by the command above
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("1", "0", "0")
    assert "PASS" in (tmp_path / "v.html").read_text()


def test_verify_tells_missing_anchors_duplicates_and_bad_lines(tmp_path, capsys):
    junit = tmp_path / "v.xml"
    no_anchor = {"id": "b\x0c", "question": GOOD["question"], "snippets": GOOD["snippets"]}
    path = gold(tmp_path / "g", GOOD, GOOD, no_anchor, "not json")
    assert verify.run([path, "--junit", str(junit), "--json", "-"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert [line["verdict"] for line in data["verdicts"]] == ["NOT_MEASURED", "PASS", "NOT_MEASURED"]
    suite = ElementTree.parse(junit).getroot()  # noqa: S314 - written by the command above
    assert (suite.get("failures"), suite.get("skipped")) == ("2", "1")


@pytest.mark.parametrize("lines", [[], ["no"]])
def test_verify_without_a_usable_item_could_not_run(tmp_path, lines):
    assert verify.run([gold(tmp_path / "g", *lines)]) == 2
    assert verify.run([str(tmp_path / "none")]) == 2
    assert verify.run([gold(tmp_path / "h", GOOD), "--knowledge", str(tmp_path / "none")]) == 2


def test_compare_needs_two_modes_with_names_of_their_own(tmp_path, capsys):
    path = gold(tmp_path / "g", GOOD)
    assert compare.run(["--gold", path]) == 2
    assert compare.run(["--gold", path, "--mode", f"{tmp_path}@int9", "--mode", "x"]) == 2
    assert compare.run(["--gold", path, "--mode", f"a={tmp_path}", "--mode", f"a={tmp_path}"]) == 2
    assert (
        compare.run(
            ["--gold", path, "--mode", f"a={tmp_path}", "--mode", f"b={tmp_path}", "--reference", "c"]
        )
        == 2
    )
    told = capsys.readouterr().err
    assert "at least two" in told
    assert "int9" in told
    assert "same label" in told


def test_compare_exits_by_its_verdicts_and_tells_a_mode_that_cannot_be_loaded(tmp_path, monkeypatch, capsys):
    def right(text, seed):
        return "The cache holds tokens."

    def broken():
        raise BackendError("broken cannot be loaded: no weights.")

    def chosen(text):
        script = (lambda text, seed: "Penguins swim.") if text == "far" else right
        return Choice(
            text, tmp_path, "float32", "weights", 8.0,
            broken if text == "broken" else lambda: ScriptedMode(script, text),
        )  # fmt: skip

    monkeypatch.setattr(compare, "choose_mode", chosen)
    items = [GOOD | {"id": f"q{i}", "question": f"The cache {i} holds how many tokens?"} for i in range(8)]
    many = ["--gold", gold(tmp_path / "g", *items), "--quiet", "--json", str(tmp_path / "out")]

    def run(*modes):
        return compare.run([*many, *(f"--mode={mode}" for mode in modes)])

    def verdicts():
        return {
            line["name"]: line["verdict"] for line in json.loads((tmp_path / "out").read_text())["verdicts"]
        }

    run("ref", "same")
    assert verdicts()["same: E_resonance"] == "PASS"
    assert run("ref", "far", "broken") == 1
    assert (verdicts()["far: drift"], verdicts()["broken"]) == ("FAIL", "NOT_MEASURED")
    assert run("broken", "same") == 2
    assert "no weights" in capsys.readouterr().err


def test_probe_refuses_a_wrong_question_before_it_loads(tmp_path):
    assert probe.run(["--question", " "]) == 2
    assert probe.run(["--question", "a?", "--form", "a?"]) == 2
    assert probe.run(["--question", "a?", "--snippet", str(tmp_path / "none")]) == 2
    assert probe.run(["--question", "a?", "--model", str(tmp_path / "none")]) == 2


# --- recorded turns -------------------------------------------------------------------------------------


def record(folder, count=2, prompt="p", answer="The cache holds 8192 tokens [s1]."):
    writer = TraceWriter(folder)
    made = (make_snippet("The cache holds 8192 tokens.", position=0),)
    for number in range(count):
        request = TurnRequest(f"t{number}", f"Question {number}?", made, prompt=prompt, chat_id="c")
        writer.write(scored(request, answer))
    return str(folder)


def test_replay_compares_recordings(tmp_path, capsys):
    off, on = record(tmp_path / "off"), record(tmp_path / "on", prompt="longer")
    assert replay.run(["--baseline", off, "--against", f"same={off}"]) == 0
    assert replay.run(["--baseline", off, "--against", f"search={on}", "--json", "-"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert [line["verdict"] for line in data["verdicts"]] == ["REVIEW", "PASS"]
    assert replay.run(["--baseline", off]) == 2
    assert replay.run(["--baseline", str(tmp_path / "none")]) == 2


class Asked(BaseHTTPRequestHandler):
    bodies: list = []  # noqa: RUF012 - one server, one test

    def do_POST(self):
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


def test_replay_asks_a_webui_again(tmp_path):
    off = record(tmp_path / "off", count=3)
    server = HTTPServer(("127.0.0.1", 0), Asked)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        assert replay.run(["--baseline", off, "--url", f"http://127.0.0.1:{server.server_port}"]) == 0
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert [body["messages"][0]["content"] for body in Asked.bodies] == [f"Question {i}?" for i in range(3)]
    assert replay.run(["--baseline", off, "--url", f"http://127.0.0.1:{server.server_port}"]) == 2
    assert replay.run(["--baseline", off, "--url", "file:///etc"]) == 2


DOCS = Path(report.__file__).parents[2] / "docs"


def test_the_example_of_recorded_runs_is_what_the_command_reads_from_them_today(tmp_path):
    forms = [f"--{form}={tmp_path / form}" for form in ("html", "markdown", "json")]
    assert report.run([str(DOCS / "gpu"), *forms]) == 0
    for form, name in (("html", "gpu.html"), ("markdown", "gpu.md"), ("json", "gpu.json")):
        made, committed = (tmp_path / form).read_text(), (DOCS / "examples" / name).read_text()
        assert made == committed, (
            "docs/gpu has changed; in extensions/exllama_guardrails run: python3 . report docs/gpu "
            "--html docs/examples/gpu.html --markdown docs/examples/gpu.md --json docs/examples/gpu.json"
        )


@pytest.mark.parametrize("name", ["compare", "gpu"])
def test_an_example_says_the_same_in_all_its_forms(name):
    made = json.loads((DOCS / "examples" / f"{name}.json").read_text())
    markdown = (DOCS / "examples" / f"{name}.md").read_text()
    page = html.unescape((DOCS / "examples" / f"{name}.html").read_text())
    for line in made["verdicts"]:
        assert f"| {line['name']} | {line['verdict']} | {line['sentence']}" in markdown
        assert line["sentence"] in page
    for row in made["tables"][0]["rows"]:
        assert f"| {' | '.join(row.values())} |" in markdown
        assert all(cell in page for cell in row.values())


def test_recorded_runs_are_read_from_any_folder_and_their_verdicts_made_anew(tmp_path):
    items = [{"item_id": str(i), "answer": "a", "distance": 0.1, "elapsed_s": 1.0, "tokens": 3, "right": True}
             for i in range(8)]  # fmt: skip
    far = [item | {"distance": 0.5, "right": False} for item in items]
    modes = [{"label": "fp16", "items": items}, {"label": "q4", "items": far, "lambda": {"0": "→", "1": "×"}}]
    run = {"run": "compare", "at": "2026-01-02", "machine": {"gpus": ["H"]}, "modes": modes,
           "sections": {"a": {"b": {"EX5": ["REVIEW", "another split"]}}}, "table": [["x", "y"]]}  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(run))
    (tmp_path / "other.json").write_text('{"a": 1}')
    assert report.run([str(tmp_path), "--json", str(tmp_path / "out")]) == 0
    made = json.loads((tmp_path / "out").read_text())
    told = {line["name"]: line["verdict"] for line in made["verdicts"]}
    assert told["mine: q4: drift"] == "FAIL"
    assert told["mine: a, b, EX5"] == "REVIEW"
    assert [row["λ →"] for row in made["tables"][0]["rows"]][1] == "50%"
    assert list(made["environment"]) == ["mine"]


def test_report_of_recorded_turns(tmp_path):
    traces = record(tmp_path / "t", count=10)
    page = tmp_path / "r.html"
    assert report.run([traces, "--html", str(page), "--markdown", str(tmp_path / "r.md")]) == 0
    assert "E_resonance" in page.read_text()
    assert "<svg" in page.read_text()
    assert report.run([traces]) == 2
    assert report.run([str(tmp_path / "none"), "--html", str(page)]) == 2
    assert report.run([traces, "--chat", "other", "--html", str(page)]) == 2
