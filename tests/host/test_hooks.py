"""Hooks give back the host's values whatever happens, with the parameters that the host inspects."""

from __future__ import annotations

import ast
import copy
import inspect
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from exllama_guard.core.measures import NotScored, Reason
from exllama_guard.core.ports import Found
from exllama_guard.core.snippets import make_snippet
from exllama_guard.errors import EmbedderError
from exllama_guard.host import guard, hooks, webui
from exllama_guard.host.session import Session, use_session
from exllama_guard.settings import Settings, to_params
from exllama_guard.sources.marked_block import format_block, parse_snippets
from host_modules import host_modules
from hypothesis import given
from hypothesis import strategies as st

EXTENSION = Path(__file__).resolve().parents[2] / "extensions" / "exllama_guardrails"
PACKAGE = EXTENSION / "exllama_guard"


class _Monitor:
    def __init__(self, **settings):
        self.settings = Settings(**settings)
        self.enabled = True
        self.problems = {}
        self.knowledge = None

    def report_problem(self, sentence, key):
        self.problems[key] = sentence

    def clear_problem(self, key):
        self.problems.pop(key, None)


class _Retriever:
    def __init__(self, found=(), error=None):
        self.found, self.error, self.asked = found, error, []
        self.index_hash = "sha256:0"

    def search(self, question, earlier, k):
        self.asked.append((question, k))
        if self.error is not None:
            raise self.error
        return Found(self.found, None if self.index_hash else NotScored(Reason.INDEXING))

    def lookup(self, text):
        return next((snippet for snippet in self.found if snippet.text == text), None)


@pytest.fixture
def monitor():
    monitor = _Monitor()
    use_session(Session(monitor, observing=True))
    yield monitor
    use_session(None)


@pytest.fixture
def knowing():
    monitor = _Monitor(knowledge_folder="docs", knowledge_snippets=2)
    use_session(Session(monitor, observing=True))
    yield monitor
    use_session(None)


def _history():
    return {"internal": [["a", "b"]], "visible": [["a", "b"]], "metadata": {}}


@pytest.mark.parametrize(
    ("hook", "parameters"),
    [
        (hooks.history_modifier, ["history"]),
        (hooks.state_modifier, ["state"]),
        (hooks.chat_input_modifier, ["text", "visible_text", "state"]),
        (hooks.input_modifier, ["text", "state", "is_chat"]),
        (hooks.output_modifier, ["text", "state", "is_chat"]),
    ],
)
def test_the_host_sees_the_names_and_counts_that_it_inspects(hook, parameters):
    assert list(inspect.signature(hook).parameters) == parameters


@pytest.mark.parametrize("on", [True, False])
@given(text=st.text(max_size=200))
def test_every_hook_gives_back_the_very_value(on, text):
    monitor = _Monitor()
    monitor.enabled = on
    use_session(Session(monitor, observing=True))
    state, history = {"history": _history()}, _history()
    before = copy.deepcopy(state), copy.deepcopy(history)
    assert hooks.history_modifier(history) is history
    assert hooks.state_modifier(state) is state
    assert hooks.chat_input_modifier(text, text, state) == (text, text)
    assert hooks.input_modifier(text, state, is_chat=True) is text
    assert hooks.input_modifier(text, state) is text
    assert hooks.output_modifier(text, state, is_chat=True) is text
    assert (state, history) == before
    assert monitor.problems == {}
    use_session(None)


@pytest.mark.parametrize("odd", [None, 7, "text", [], {"internal": None}, {"internal": [None, None]}])
def test_a_history_of_an_unknown_shape_passes_through(monitor, odd):
    assert hooks.history_modifier(odd) is odd


def test_a_fault_is_logged_with_its_traceback_and_told_in_one_sentence(monitor, caplog):
    @guard.guarded(lambda value: value)
    def broken(value):
        raise ZeroDivisionError("by accident")

    with caplog.at_level(logging.ERROR):
        assert broken("kept") == "kept"
        assert broken("kept") == "kept"
    assert caplog.records[0].exc_info[0] is ZeroDivisionError
    assert len(caplog.records) == 1
    (sentence,) = monitor.problems.values()
    assert "(broken: ZeroDivisionError: by accident). The chat is not affected" in sentence


def test_one_fault_that_many_hooks_meet_is_told_once_and_a_second_kind_again(monitor, caplog):
    def part(kind):
        raise kind("by accident")

    @guard.guarded(lambda kind: None)
    def first(kind):
        part(kind)

    @guard.guarded(lambda kind: None)
    def second(kind):
        part(kind)

    for _ in range(3):
        first(ZeroDivisionError)
        second(ZeroDivisionError)
    second(KeyError)
    assert len(monitor.problems) == len(caplog.records) == 2


def test_a_fault_that_cannot_be_told_of_ends_no_turn(monitor):
    def broken(sentence, key):
        raise ZeroDivisionError("the panel too")

    monitor.report_problem = broken
    hook = guard.guarded(lambda value: value)(lambda value: value.missing)
    assert hook("kept") == "kept"


def test_what_goes_wrong_before_the_panel_is_there_is_told_later():
    use_session(None)
    guard.report("Too early.", "early")
    later = _Monitor()
    use_session(Session(later, observing=True))
    assert later.problems == {"early": "Too early."}
    use_session(None)


def test_the_knowledge_folder_goes_before_the_internal_text_only(knowing):
    found = (make_snippet("The fence waits.", position=0, section_id="F", source_url="f.md"),)
    knowing.knowledge = _Retriever(found)
    internal, visible = hooks.chat_input_modifier("What is it?", "What is it?", {"history": _history()})
    assert visible == "What is it?"
    assert internal.endswith("\n\nWhat is it?")
    assert [s.text for s in parse_snippets(internal)] == ["The fence waits."]
    assert knowing.knowledge.asked == [("What is it?", 2)]
    assert parse_snippets(hooks.input_modifier("Q: What is it?\nA:", {}))[0].text == "The fence waits."
    assert knowing.knowledge.asked[-1] == ("What is it?", 2)


def test_a_question_that_brings_its_own_snippets_is_not_given_others(knowing):
    knowing.knowledge = _Retriever((make_snippet("The fence waits.", position=0),))
    own = f"{format_block([make_snippet('It waits 9 s.', position=0)])}\n\nHow long?"
    assert hooks.chat_input_modifier(own, own, {"history": _history()}) == (own, own)
    assert hooks.input_modifier(f"{own}\nA:", {}) == f"{own}\nA:"
    assert knowing.knowledge.asked == []
    begun = "<<<GUARDRAIL_SNIPPETS is a marker. What is it?"  # of a block that never ends
    assert parse_snippets(hooks.chat_input_modifier(begun, begun, {"history": _history()})[0])


def test_an_index_that_is_still_being_built_lets_the_turn_go_on_and_says_so(knowing):
    knowing.knowledge = _Retriever()
    knowing.knowledge.index_hash = ""
    assert hooks.chat_input_modifier("What is it?", "What is it?", {}) == ("What is it?", "What is it?")
    assert "not indexed yet" in knowing.problems["knowledge folder"]
    knowing.knowledge.index_hash = "sha256:1"
    hooks.chat_input_modifier("What is it?", "What is it?", {})
    assert "knowledge folder" not in knowing.problems


def test_a_knowledge_folder_that_is_not_ready_lets_the_turn_go_on_and_says_so(knowing):
    assert hooks.chat_input_modifier("Q", "Q", {}) == ("Q", "Q")
    assert "goes on without" in knowing.problems["knowledge folder"]
    knowing.knowledge = _Retriever((), EmbedderError("The embedder is missing; install it."))
    assert hooks.chat_input_modifier("Q", "Q", {}) == ("Q", "Q")
    assert "The embedder is missing; install it." in knowing.problems.values()
    knowing.knowledge = _Retriever((), RuntimeError("odd"))
    assert hooks.chat_input_modifier("Q", "Q", {}) == ("Q", "Q")
    knowing.knowledge = _Retriever(())
    assert hooks.chat_input_modifier("Q", "Q", {}) == ("Q", "Q")
    assert "knowledge folder" not in knowing.problems


def test_old_blocks_do_not_pile_up_and_the_newest_stays(monitor):
    block = format_block([make_snippet("x", position=0)])
    rows = [[f"{block}\n\nfirst", "one"], [f"{block}\n\nsecond", "two"]]
    history = hooks.history_modifier({"internal": rows, "visible": [["first", "one"], ["second", "two"]]})
    assert [row[0] for row in history["internal"]] == ["first", f"{block}\n\nsecond"]


def test_there_is_one_broad_except_in_the_whole_package():
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type)
    ]
    assert [place.split(":")[0] for place in found] == ["host/guard.py"], found


def _is_broad(caught):
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(
        name is None or (isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"})
        for name in names
    )


def test_the_hook_table_fits_on_a_screen_and_loads_without_a_package_again_and_again():
    assert len((EXTENSION / "script.py").read_text(encoding="utf-8").splitlines()) < 50
    program = (
        "import importlib.util, sys\n"
        "def load(name):\n"
        f"    spec = importlib.util.spec_from_file_location(name, {str(EXTENSION / 'script.py')!r})\n"
        "    module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module); return module\n"
        "first, second = load('user_ext_a'), load('user_ext_a')\n"
        "assert first is not second and first.state_modifier is second.state_modifier\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'gradio', 'modules'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert first.params['enabled'] is True and 'display_name' in first.params\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_misspelt_entry_of_settings_yaml_is_named_with_the_one_that_was_meant(monkeypatch):
    (shared,) = host_modules(monkeypatch, "shared")
    shared.settings = {
        "exllama_guardrails-distnace_pass": 0.3,
        "exllama_guardrails-distance_fail": 0.7,
        "exllama_guardrails-display_name": "ExLlama Guardrails",
        "superbooga-chunk_count": 5,
        "mode": "chat",
    }
    (sentence,) = webui.unknown_settings({"display_name", "is_tab", *to_params()})
    assert "exllama_guardrails-distnace_pass" in sentence
    assert "did you mean exllama_guardrails-distance_pass?" in sentence
