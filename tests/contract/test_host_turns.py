"""The same turns in the embedded host and, where TEXTGEN_WEBUI_DIR names a checkout, in the real WebUI.

TEXTGEN_WEBUI_PYTHON names the Python that the WebUI runs with; several checkouts and Pythons are separated
by the system's path separator. Nothing is written into a checkout.
"""

from __future__ import annotations

import itertools

import pytest
from contract.scripted_host import ANSWER

QUESTION = "What does the fence do?"


def only(seen, name):
    (turn,) = seen[name]["turns"]
    assert seen[name]["problems"] == []
    return turn


def test_a_chat_turn_is_seen_whole_and_passes_through_unchanged(seen):
    turn = only(seen, "chat_turn")
    assert (turn["question"], turn["answer"], turn["finish"]) == (QUESTION, ANSWER, "complete")
    assert (turn["channel"], turn["regenerate"], turn["tool_turn"]) == ("chat", False, False)
    assert (turn["model"], turn["loader"], turn["chat_id"]) == ("scripted-Q4_K_M", "llama.cpp", "chat-1")
    assert QUESTION in turn["prompt"]
    assert seen["chat_turn"]["result"]["internal"] == [QUESTION, ANSWER]


def test_the_system_message_of_a_chat_is_known_by_its_mode(seen):
    assert [turn["system"] for turn in seen["with_a_system_message"]["turns"]] == [
        "You answer in one line.",
        "You are a butler.",
        "",
    ]


def test_the_text_so_far_grows_step_by_step(seen):
    chunks = [chunk for chunk in only(seen, "chat_turn")["chunks"] if chunk]
    assert len(set(chunks)) >= 8
    assert all(after.startswith(before) for before, after in itertools.pairwise(chunks))
    assert chunks[-1] == ANSWER


def test_a_reply_that_is_not_streamed_is_seen_once_whole(seen):
    turn = only(seen, "not_streaming")
    assert turn["answer"] == ANSWER
    assert turn["chunks"][-1] == ANSWER


def test_the_answer_is_the_models_text_not_the_escaped_one(seen):
    assert only(seen, "html_answer")["answer"] == "Use <b> & not more."
    assert seen["html_answer"]["result"]["visible"][1] == "Use &lt;b&gt; &amp; not more."
    assert only(seen, "notebook_escapes")["answer"] == "1 < 2 & 3"
    assert seen["notebook_escapes"]["result"]["last"] == "1 &lt; 2 &amp; 3"


def test_regenerate_asks_the_last_question_again(seen):
    turn = only(seen, "regenerate")
    assert (turn["question"], turn["answer"], turn["regenerate"]) == (QUESTION, ANSWER, True)


def test_continue_knows_what_was_there_before(seen):
    turn = only(seen, "continue_")
    assert (turn["question"], turn["prefix"], turn["regenerate"]) == (QUESTION, "The fence waits", False)
    assert seen["continue_"]["result"]["internal"][1] == turn["prefix"] + turn["answer"]


def test_stop_keeps_the_text_that_the_reader_kept(seen):
    turn = only(seen, "stop")
    assert turn["finish"] == "stopped"
    assert turn["answer"].strip() == seen["stop"]["result"]["internal"][1].strip() != ""


def test_a_disconnect_ends_the_turn_and_frees_the_hosts_lock(seen):
    turn = only(seen, "disconnect")
    assert turn["finish"] == "disconnected"
    assert ANSWER.startswith(turn["answer"])
    assert turn["answer"] != ANSWER
    assert seen["disconnect"]["result"]["lock_free"] is True


def test_an_api_chat_is_seen(seen):
    turn = only(seen, "api_chat")
    assert (turn["channel"], turn["question"], turn["answer"]) == ("API chat", QUESTION, ANSWER)
    assert turn["regenerate"] is False


def test_a_completion_asks_what_its_prompt_ends_with(seen):
    turn = only(seen, "completion")
    assert (turn["channel"], turn["question"], turn["answer"]) == ("completion", QUESTION, ANSWER)


def test_a_tool_turn_is_checked_against_what_the_tool_gave(seen):
    turn = only(seen, "tool_turn")
    assert (turn["question"], turn["tool_turn"]) == ("How often did the fence run?", True)
    result = seen["tool_turn"]["result"]
    expected = [result["result"]] if result["in_prompt"] else []  # 3.23's page has no tools
    assert [snippet[3] for snippet in turn["snippets"]] == expected


def test_tool_results_of_an_api_request_are_snippets_where_the_prompt_has_them(seen):
    turn = only(seen, "api_tool_turn")
    assert (turn["question"], turn["tool_turn"]) == ("How often did the fence run?", True)
    result = seen["api_tool_turn"]["result"]["result"]
    expected = [["tool result", "fence_log", result]] if result in turn["prompt"] else []
    assert [[s[0], s[1], s[3]] for s in turn["snippets"]] == expected


def test_attachments_and_web_pages_of_earlier_messages_are_snippets(seen):
    assert seen["past_attachment"]["result"]["in_prompt"] is True
    notes, page = only(seen, "past_attachment")["snippets"]
    assert notes[:2] == ["attachment", "notes.txt"]
    assert notes[3].endswith("=====\nIt is repeated until two ratios agree.")
    assert page == ["web search", "A page", "https://example.org/a", "On fences."]


def test_a_file_sent_with_the_message_is_a_snippet(seen):
    if "skipped" in seen["new_attachment"]["result"]:
        pytest.skip(seen["new_attachment"]["result"]["skipped"])
    assert seen["new_attachment"]["result"]["in_prompt"] is True
    (snippet,) = only(seen, "new_attachment")["snippets"]
    assert snippet[:2] == ["attachment", "notes.txt"]


def test_snippets_handed_over_for_a_chat_are_used_once_and_in_that_chat_only(seen):
    other, this, next_one = seen["handed_over"]["turns"]
    assert [len(turn["snippets"]) for turn in (other, this, next_one)] == [0, 1, 0]
    assert this["snippets"][0][0] == "handed over"


def test_a_marked_block_gives_its_snippets_and_is_no_part_of_the_question(seen):
    turn = only(seen, "marked_block")
    assert turn["question"] == QUESTION
    assert [snippet[:3] for snippet in turn["snippets"]] == [["marked block", "Warm-up", "warm.md"]]


def test_chunks_that_another_extension_put_into_the_prompt_are_found(seen):
    turn = only(seen, "injected")
    assert turn["question"] == QUESTION
    assert [snippet[0] for snippet in turn["snippets"]] == ["superbooga", "superbooga"]
    assert all(snippet[3] in turn["prompt"] for snippet in turn["snippets"])


def test_without_a_model_the_turn_says_so(seen):
    turn = only(seen, "no_model")
    assert (turn["model"], turn["answer"]) == (None, "")
    assert seen["no_model"]["result"]["steps"] == [""]


def test_a_loader_that_breaks_leaves_the_text_so_far(seen):
    turn = only(seen, "loader_breaks")
    assert turn["answer"] == "The fence waits"
    assert turn["finish"] == ("failed" if "raised" in seen["loader_breaks"]["result"] else "complete")


@pytest.mark.parametrize("name", ["fault_on_open", "fault_on_chunk"])
def test_a_fault_of_ours_is_told_once_and_leaves_the_chat_alone(seen, name):
    assert seen[name]["result"]["internal"] == [QUESTION, ANSWER]
    (sentence,) = seen[name]["problems"]
    assert "broken on purpose" in sentence
    assert "The chat is not affected" in sentence


def test_a_probe_writes_through_the_host_and_lets_a_user_go_first(seen):
    result = seen["probe_writes"]["result"]
    assert [len(text.split()) for text in result["texts"]] == [152, 152]
    assert result["order"] == ["Probe 1?", "A user asks.", "Probe 2?"]
    before, _, after = result["prompt"].partition("Probe 1?")
    assert before.strip()  # the host's own template stands around it
    assert after.strip()
    assert result["id"].startswith("scripted-Q4_K_M|")
    assert result["lock_free"]


def test_a_replay_narrows_the_extensions_for_itself_alone(seen):
    result = seen["replayed"]["result"]
    assert result["noisy"] == [False, True]
    assert result["prompts_differ"]
    assert result["extensions"] == [[], ["noise"]]
    assert result["answers"] == [151, 151]
    assert result["user_noisy"] == [True]
    assert result["stopped"]
    assert result["put_back"]
    assert result["lock_free"]


@pytest.mark.parametrize("name", ["switched_off", "unticked", "our_probe", "probe_writes", "page_errand"])
def test_what_is_not_a_readers_turn_is_not_observed(seen, name):
    assert seen[name]["turns"] == []
    assert seen[name]["problems"] == []


def test_the_only_extension_is_off_once_it_is_unticked_although_the_host_keeps_its_hooks(seen):
    told = seen["unticked_alone"]["result"]
    for name, on in (("none", False), ("empty", False), ("others", False), ("ours", True)):
        assert told[name]["hooks_called"] is True
        assert told[name]["on"] == [on, on, on], name
        assert told[name]["block_in_prompt"] is not on, name  # an old block is taken out by our hook only
        assert told[name]["answer"] == ANSWER
    assert len(seen["unticked_alone"]["turns"]) == 1  # the one while it was ticked
    assert seen["unticked_alone"]["problems"] == []


def test_set_up_twice_is_set_up_once(seen):
    assert seen["set_up_again"]["result"]["same"] is True
    assert only(seen, "set_up_again")["answer"] == ANSWER


def test_a_load_and_an_unload_of_a_model_are_noticed(seen):
    assert seen["model_events"]["result"]["models"] == [None, "scripted-Q4_K_M"]


def test_uninstall_leaves_the_host_as_it_was(seen):
    result = seen["uninstall"]["result"]
    assert (result["left"], result["still_ours"], result["class"]) == ([], [], "module")
    assert result["internal"] == [QUESTION, ANSWER]
    assert seen["uninstall"]["turns"] == []
