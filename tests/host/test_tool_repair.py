"""Answers under a pasted schema: asked for again, cut out of other text, told of in the panel."""

from __future__ import annotations

import types
from dataclasses import replace

import pytest
from exllama_guard.host import guard as guard_module
from exllama_guard.host.tools.guard import ToolGuard
from exllama_guard.host.tools.repair import repairing
from exllama_guard.host.tools.reply import current_turn
from exllama_guard.settings import Settings
from exllama_guard.tools.ledger import AnswerOutcome
from host_modules import host_modules

SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'
GOOD, BAD, WRAPPED = '{"a": 1}', '{"a": "one"}', 'Sure: {"a": 1} as you asked.'


class Host:
    """A host of one chat: the model's next replies, and the prompts that it got."""

    def __init__(self):
        self.replies, self.prompts, self.said = [], [], []
        self.during = lambda text: None  # called with each partial text


@pytest.fixture
def host(monkeypatch):  # noqa: C901 - one function a name of the host
    host = Host()
    shared, chat, generation = host_modules(monkeypatch, "shared", "chat", "text_generation")
    shared.args, shared.model, shared.stop_everything = (
        types.SimpleNamespace(api=False, loader="x"),
        None,
        False,
    )

    def _generate_reply(
        question, state, stopping_strings=None, is_chat=False, escape_html=False, for_ui=False
    ):
        host.prompts.append(question)
        shared.stop_everything = False
        reply = host.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        for end in (len(reply) // 2, len(reply)):
            host.during(reply[:end])
            if shared.stop_everything:
                break
            if state["stream"] or end == len(reply):
                yield reply[:end]

    def generate_chat_prompt(user_input, state, **kwargs):
        turns = "".join(
            f"<user>{asked}</user><bot>{told}</bot>" for asked, told in kwargs["history"]["internal"]
        )
        return f"{state.get('system', '')}{turns}<user>{user_input}</user><bot>"

    def generate_chat_reply(
        text, state, regenerate=False, _continue=False, loading_message=True, for_ui=False
    ):
        before = state["history"]["internal"][-1][1] if _continue else ""
        prompt = chat.generate_chat_prompt(text, state, history={"internal": []}) + before
        generate = generation._generate_reply
        output = {"internal": [[text, before]], "visible": [[text, before]]}
        for reply in generate(prompt, state, is_chat=True, for_ui=for_ui):
            if shared.stop_everything:
                yield output
                return
            output["internal"][-1] = [text, before + reply]
            yield output

    def generate_chat_reply_wrapper(text, state, regenerate=False, _continue=False):
        yield from chat.generate_chat_reply(text, state, regenerate, _continue, for_ui=True)

    generation._generate_reply = repairing(_generate_reply)
    chat.generate_chat_prompt, chat.generate_chat_reply = generate_chat_prompt, generate_chat_reply
    chat.generate_chat_reply_wrapper = generate_chat_reply_wrapper
    host.chat, host.shared = chat, shared
    return host


@pytest.fixture
def settings():
    return {"now": Settings(tool_lock="check", answer_schema=SCHEMA)}


@pytest.fixture
def guard(host, settings, monkeypatch):
    monkeypatch.setattr(guard_module, "_before", host.said)
    made = ToolGuard(lambda: settings["now"])
    made.install()
    yield made
    made.uninstall()


def say(host, *replies, stream=True, **kind):
    host.replies = list(replies)
    state = {"unique_id": "c", "mode": "chat", "stream": stream, "system": "S", "history": {"internal": []}}
    state.update(kind.pop("state", {}))
    return [
        history["internal"][-1][1] for history in host.chat.generate_chat_reply_wrapper("Q", state, **kind)
    ]


def outcomes(guard):
    return guard.ledger.answers("page::c")


def test_a_good_answer_is_left_alone(host, guard):
    assert say(host, GOOD)[-1] == GOOD
    assert outcomes(guard) == (AnswerOutcome.VALID,)
    assert len(host.prompts) == 1


def test_an_answer_that_misses_the_schema_is_asked_for_again_in_sight_of_the_reader(host, guard):
    texts = say(host, BAD, GOOD)
    assert texts == [BAD[:6], BAD, GOOD[:4], GOOD]
    assert outcomes(guard) == (AnswerOutcome.REPAIRED,)
    first, second = host.prompts
    assert second.startswith(f"{first}{BAD}</bot><user>Answer again with one JSON value")
    assert second.endswith("</user><bot>")
    assert '"path": "/a"' in second
    assert "type integer" in second


def test_after_two_new_tries_the_last_answer_stands_and_the_panel_says_what_is_wrong(host, guard):
    assert say(host, BAD, BAD, '{"a": null}', GOOD)[-1] == '{"a": null}'
    assert outcomes(guard) == (AnswerOutcome.REFUSED,)
    assert len(host.prompts) == 3
    (sentence,) = [text for text, _ in host.said]
    assert sentence.startswith(
        "The answer did not fit the JSON Schema in 3 attempts: expected type integer at /a"
    )


def test_json_among_words_is_cut_out_without_asking(host, guard):
    assert say(host, WRAPPED)[-1] == GOOD
    assert outcomes(guard) == (AnswerOutcome.REPAIRED,)
    assert len(host.prompts) == 1


def test_thinking_stays_before_what_is_cut_out(host, guard):
    assert say(host, "<think>so {}</think>\n" + WRAPPED)[-1] == "<think>so {}</think>\n" + GOOD


def test_stop_during_a_new_try_puts_the_first_answer_back(host, guard):
    def stop(text):
        host.shared.stop_everything = len(host.prompts) == 2 and text == GOOD

    host.during = stop
    assert say(host, BAD, GOOD)[-1] == BAD
    assert host.shared.stop_everything, "the host still sees that Stop was pressed"
    assert len(host.prompts) == 2
    assert outcomes(guard) == ()


def test_stop_during_the_answer_asks_for_nothing(host, guard):
    def stop(text):
        host.shared.stop_everything = text == BAD

    host.during = stop
    say(host, BAD, GOOD)
    assert len(host.prompts) == 1
    assert outcomes(guard) == ()


def test_a_model_that_fails_in_a_new_try_leaves_the_answer_before(host, guard):
    assert say(host, BAD, RuntimeError("out of memory"))[-1] == BAD
    assert outcomes(guard) == (AnswerOutcome.REFUSED,)


def test_a_template_that_hides_the_seam_means_no_new_try(host, guard):
    host.chat.generate_chat_prompt = lambda user_input, state, **kwargs: "prompt"
    assert say(host, BAD, GOOD)[-1] == BAD
    assert outcomes(guard) == (AnswerOutcome.REFUSED,)


def test_a_continued_answer_is_judged_as_a_whole_and_not_asked_for_again(host, guard):
    begun = {"history": {"internal": [["Q", '{"a": ']]}}
    assert say(host, "1}", _continue=True, state=begun)[-1] == GOOD
    assert outcomes(guard) == (AnswerOutcome.VALID,)
    assert say(host, '"x"}', GOOD, _continue=True, state=begun)[-1] == BAD.replace("one", "x")
    assert outcomes(guard)[-1] is AnswerOutcome.REFUSED


@pytest.mark.parametrize("change", [{"answer_schema": ""}, {"tool_lock": "off"}, {"enabled": False}])
def test_without_a_schema_or_switched_off_nothing_is_judged(host, guard, settings, change):
    settings["now"] = replace(settings["now"], **change)
    assert say(host, BAD, GOOD)[-1] == BAD
    assert outcomes(guard) == ()


def test_a_reply_that_neither_page_nor_webui_api_started_has_an_outcome_too(host, guard):
    """The embedded default's API calls the chat's function itself."""
    state = {"mode": "chat", "stream": False, "history": {"internal": []}}
    host.replies = [BAD, GOOD]
    texts = [history["internal"][-1][1] for history in host.chat.generate_chat_reply("Q", state)]
    assert texts[-1] == GOOD
    (key,) = guard.ledger.answered()
    assert key.startswith("api:")
    assert guard.ledger.answers(key) == (AnswerOutcome.REPAIRED,)
    host.replies = [BAD, GOOD]
    sent = [
        history["internal"][-1][1]
        for history in host.chat.generate_chat_reply("Q", {**state, "stream": True})
    ]
    assert sent == [GOOD], "a streamed answer is held back until it fits"
    assert guard.ledger.answers(key)[-1] is AnswerOutcome.REPAIRED


def test_a_streamed_answer_that_the_loader_holds_to_the_schema_is_sent_as_it_comes(host, guard):
    host.replies = [BAD, GOOD]
    host.during = lambda _text: current_turn().held_by(None, None)
    state = {"mode": "chat", "stream": True, "history": {"internal": []}}
    sent = [history["internal"][-1][1] for history in host.chat.generate_chat_reply("Q", state)]
    assert sent == [BAD[: len(BAD) // 2], BAD], "what a client has had of a stream is not taken back"
    (key,) = guard.ledger.answered()
    assert guard.ledger.answers(key)[-1] is AnswerOutcome.REFUSED


def test_a_fault_of_ours_leaves_the_reply_as_it_is(host, guard, monkeypatch):
    from exllama_guard.host.tools import repair as tool_repair

    monkeypatch.setattr(tool_repair, "judge", lambda *_args: 1 / 0)
    assert say(host, BAD, GOOD)[-1] == BAD
    monkeypatch.setattr(tool_repair, "current_turn", lambda: 1 / 0)
    assert say(host, BAD, GOOD)[-1] == BAD
