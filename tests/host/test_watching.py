"""What is put in the host's place passes everything through and can be taken out again."""

from __future__ import annotations

import functools
import inspect
import threading
import types

import pytest
from exllama_guard.backends import quantisation_in
from exllama_guard.core.turns import Finish
from exllama_guard.host.lifecycle.model_watch import ModelWatch
from exllama_guard.host.patches import Patches
from exllama_guard.host.turn import observe
from exllama_guard.host.turn.notes import TurnNotes
from exllama_guard.host.turn.question import last_user_text, question_of_prompt
from exllama_guard.loaders import capabilities


class _Turn:
    """Keeps what the generator tells."""

    def __init__(self):
        self.chunks, self.finish, self.closed = [], Finish.FAILED, 0

    def chunk(self, text):
        self.chunks.append(text)

    def passed_on(self, text):
        return text

    def after(self):
        yield from ()

    def close(self):
        self.closed += 1


def _replies(events):
    try:
        yield from ("a", "ab", "abc")
        return "the end"
    finally:
        events.append("closed")


def test_values_and_the_return_value_pass_through():
    turn, events = _Turn(), []

    def host():
        ended.append((yield from observe._watched(_replies(events), turn)))

    ended = []
    got = list(host())
    assert ended == ["the end"]
    assert got == turn.chunks == ["a", "ab", "abc"]
    assert (turn.finish, turn.closed, events) == (Finish.COMPLETE, 1, ["closed"])


def test_close_reaches_the_hosts_generator_at_once():
    turn, events = _Turn(), []
    watched = observe._watched(_replies(events), turn)
    next(watched)
    watched.close()
    assert (turn.finish, turn.closed, events) == (Finish.DISCONNECTED, 1, ["closed"])


def test_an_exception_of_the_host_passes_through_as_it_is():
    def breaks():
        yield "a"
        raise LookupError("the host's own")

    turn = _Turn()
    with pytest.raises(LookupError, match="the host's own"):
        list(observe._watched(breaks(), turn))
    assert (turn.finish, turn.closed, turn.chunks) == (Finish.FAILED, 1, ["a"])


def test_two_replies_step_by_step_in_turn_do_not_mix():
    seen = []

    def replies(name):
        seen.append((name, observe._current.get().name))
        yield name
        seen.append((name, observe._current.get().name))
        yield name + name

    turns = [_Turn(), _Turn()]
    turns[0].name, turns[1].name = "x", "y"
    both = [observe._watched(replies(t.name), t) for t in turns]
    for _ in range(2):
        assert [next(one) for one in both]
    assert seen == [("x", "x"), ("y", "y"), ("x", "x"), ("y", "y")]
    assert observe._current.get() is None


def test_a_function_is_replaced_once_and_put_back():
    module = types.ModuleType("m")
    module.f = original = lambda: 1
    patches = Patches()
    assert patches.replace(module, "f", lambda f: lambda: f() + 1) is True
    assert patches.replace(module, "f", lambda f: lambda: f() + 1) is False
    assert module.f() == 2
    assert patches.undo() == ()
    assert module.f is original


def test_what_someone_wrapped_since_stays_and_is_named():
    module = types.ModuleType("m")
    module.f, module.g = (lambda: 1), (lambda: 10)
    g = module.g
    patches = Patches()
    patches.replace(module, "f", lambda f: lambda: f() + 1)
    patches.replace(module, "g", lambda g: lambda: g() + 1)
    ours = module.f
    module.f = lambda: ours() + 100
    assert patches.undo() == ("m.f",)
    assert module.f() == 101  # the other one's part alone
    assert module.g is g


def test_every_assignment_of_the_model_is_noticed_off_its_thread():
    shared = types.ModuleType("shared")
    shared.model = None
    told, threads = threading.Event(), []

    def changed():
        threads.append(threading.get_ident())
        told.set()

    watch = ModelWatch(shared, changed, settle_s=0.01)
    watch.install()
    shared.other = 1
    assert not told.wait(0.05)
    shared.model = "a model"
    assert told.wait(5)
    assert shared.model == "a model"
    assert threads[0] != threading.get_ident()
    assert watch.uninstall() is True
    assert type(shared) is types.ModuleType
    told.clear()
    shared.model = None
    assert not told.wait(0.05)


def test_several_assignments_in_a_row_are_told_once():
    shared = types.ModuleType("shared")
    told = []
    watch = ModelWatch(shared, lambda: told.append(shared.model), settle_s=0.1)
    watch.install()
    shared.model = None
    shared.model = "b"
    threading.Event().wait(0.4)
    watch.uninstall()
    assert told == ["b"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Qwen3-8B-Q4_K_M.gguf", "Q4_K_M"),
        ("Mistral-7B-exl2-4.0bpw", "exl2 4.0bpw"),
        ("Llama-3-8B-IQ3_XS", "IQ3_XS"),
        ("SmolLM2-135M-Instruct", None),
    ],
)
def test_the_quantisation_is_read_from_the_models_name(name, told):
    assert quantisation_in(name) == told


@pytest.mark.parametrize(
    "loader",
    ["Transformers", "llama.cpp", "ExLlamav3", "ExLlamav3_HF", "ExLlamav2", "ExLlamav2_HF", "new", None],
)
def test_each_loader_has_plain_sentences(loader):
    sentences = capabilities(loader)
    assert sentences
    assert all(sentence.endswith(".") and len(sentence) < 110 for sentence in sentences)


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("<|im_start|>user\nFirst?<|im_end|>\n<|im_start|>assistant\nA.<|im_end|>\n<|im_start|>user\nSecond?<|im_end|>"
         "\n<|im_start|>assistant\n", "Second?"),
        ("Read.\n\nQ: What is it?\nA:", "What is it?"),
        ("USER:\n<|begin-user-input|>What is named?<|end-user-input|>\nASSISTANT:", "What is named?"),
        ("Some text.\n\nGo on with it.", "Go on with it."),
        ("[INST] Why? [/INST]", "Why?"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_question_of_a_bare_prompt(prompt, question):
    assert question_of_prompt(prompt) == question


def test_the_last_question_skips_placeholders_system_rows_and_tools():
    rows = [
        ["<|BEGIN-VISIBLE-CHAT|>", "Hi"],
        ["Why?", "", "", {}],
        ["Be short.", "", "", {"role": "system"}],
        ["", "", "tool result", {"tool_call_id": "1"}],
    ]
    assert last_user_text({"internal": rows}) == "Why?"
    assert last_user_text({"internal": rows[:1]}) == ""
    messages = [{"role": "user", "content": "Why?"}, {"role": "tool", "content": "x"}]
    assert last_user_text({"internal": [["", "", "x"]], "messages": messages}) == "Why?"


def test_notes_are_found_by_the_state_and_do_not_pile_up():
    notes = TurnNotes()
    history = {"internal": [["a", "b"]]}
    state = {"history": {"internal": [["a", "b"]]}}
    notes.saw_history(history)
    notes.saw_state(state)
    notes.of(state).question = "Why?"
    note = notes.take(state)
    assert (note.question, note.history) == ("Why?", history)
    assert notes.take(state) is None
    states = [{"n": n} for n in range(200)]
    for each in states:
        notes.saw_state(each)
    assert sum(notes.take(each) is not None for each in states) == 64


def test_a_door_that_another_extension_keeps_does_nothing_any_more_and_opens_again():
    module = types.ModuleType("m")
    module.f = original = lambda: 1
    patches = Patches()
    patches.replace(module, "f", lambda f: lambda: f() + 1)
    ours = module.f

    @functools.wraps(ours)
    def theirs():
        return ours() + 100

    module.f = theirs
    assert patches.replace(module, "f", lambda f: lambda: f() + 1) is False, "wrapped twice"
    assert patches.undo() == ("m.f",)
    assert (module.f(), ours()) == (101, 1)
    assert patches.replace(module, "f", lambda f: lambda: f() + 7) is True
    assert module.f is theirs
    assert module.f() == 108
    module.f = ours  # the other extension takes its own part out
    assert module.f() == 8
    assert patches.undo() == ()
    assert module.f is original


def test_a_door_is_a_generator_function_where_the_original_is_one():
    module = types.ModuleType("m")

    def numbers(most):
        """Counts."""
        try:
            yield from range(most)
        finally:
            closed.append(most)

    closed = []
    module.f, module.g = numbers, lambda: 1
    patches = Patches()
    patches.replace(module, "f", lambda f: lambda *a: f(*a))
    patches.replace(module, "g", lambda g: g)
    assert inspect.isgeneratorfunction(module.f)
    assert not inspect.isgeneratorfunction(module.g)
    assert (module.f.__name__, module.f.__doc__) == ("numbers", "Counts.")
    assert str(inspect.signature(module.f)) == "(most)"
    running = module.f(3)
    assert next(running) == 0
    running.close()
    assert closed == [3]
    patches.undo()
    assert module.f is numbers


def test_a_class_is_put_back_unless_it_was_replaced_since():
    module = types.ModuleType("m")
    module.C = original = type("C", (), {})
    patches = Patches()
    assert patches.replace(module, "C", lambda c: type("D", (c,), {"more": 1})) is True
    assert patches.replace(module, "C", lambda c: type("D", (c,), {"more": 2})) is False
    assert module.C.more == 1
    assert patches.undo() == ()
    assert module.C is original
    module.C = type("Job", (), {})
    assert patches.replace(module, "C", lambda c: lambda: c()) is True
    assert patches.replace(module, "C", lambda c: lambda: c()) is False
    patches.undo()
    assert isinstance(module.C, type)
