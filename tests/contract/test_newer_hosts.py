"""What changed in WebUI 4.8 and 4.9, a turn for each, on every host that is named (test_host_turns.py)."""

from __future__ import annotations

import pytest
from contract.newer_texts import CHUNK, HITS, LINES, PAGE, TEXT_FILES, THOUGHT
from contract.scripted_host import ANSWER
from contract.test_host_turns import QUESTION, only


def _result(seen, name):
    result = seen[name]["result"]
    if "skipped" in result:
        pytest.skip(result["skipped"])
    return result


def test_a_reply_is_seen_whole_though_its_reader_looks_at_another_chat(seen):
    first, second = seen["another_chat_in_view"]["turns"]
    assert (first["chat_id"], first["question"], first["answer"]) == ("chat-1", QUESTION, ANSWER)
    assert (first["snippets"], len(second["snippets"])) == ([], 1)  # handed over for the other chat
    result = seen["another_chat_in_view"]["result"]
    assert result["internal"] == [QUESTION, ANSWER]
    assert (result["drawn"] < 5) is result["knows_the_view"]


def test_what_a_model_thought_or_said_before_a_tool_call_is_no_snippet(seen):
    turn = only(seen, "thinking_across_tools")
    assert not any(THOUGHT in snippet[3] or "First I look" in snippet[3] for snippet in turn["snippets"])
    assert [snippet[0] for snippet in turn["snippets"]] in ([], ["tool result"])  # 3.23's page has no tools


def test_what_a_model_thought_for_an_earlier_answer_is_no_snippet(seen):
    assert only(seen, "thinking_of_an_earlier_answer")["snippets"] == []


def test_continue_knows_the_answer_behind_its_thinking(seen):
    turn = only(seen, "continue_after_thinking")
    result = seen["continue_after_thinking"]["result"]
    assert turn["prefix"] == result["begun"]
    assert turn["regenerate"] is False
    assert result["internal"] == turn["prefix"] + turn["answer"]


def test_each_hit_of_the_web_search_tool_is_a_source_with_title_and_address(seen):
    turn = only(seen, "web_hits_of_a_tool")
    expected = [["web search", hit["title"], hit["url"], hit["snippet"]] for hit in HITS]
    assert turn["snippets"] == (expected if seen["web_hits_of_a_tool"]["result"]["in_prompt"] else [])


def test_a_page_that_the_hosts_own_search_found_is_a_source(seen):
    assert _result(seen, "web_search_of_the_page")["in_prompt"]
    assert only(seen, "web_search_of_the_page")["snippets"] == [
        ["web search", HITS[0]["title"], HITS[0]["url"], PAGE]
    ]


def test_the_session_tabs_own_function_is_obeyed_at_once(seen):
    assert _result(seen, "session_tab")["told"] == [False, False, True]


def test_the_hosts_tokens_a_second_are_shown_and_the_turn_is_seen(seen):
    result = _result(seen, "tokens_shown_live")
    assert "tokens" in result["shown"] or "generated" in result["shown"] or "update" in result["shown"]
    assert only(seen, "tokens_shown_live")["answer"] == result["internal"] == ANSWER


def test_a_file_of_every_kind_is_a_snippet_with_its_name(seen):
    sent = _result(seen, "files_of_every_kind")["sent"]
    turns = seen["files_of_every_kind"]["turns"]
    assert set(sent) >= TEXT_FILES
    for name, turn in zip(sent, turns, strict=True):
        assert {snippet[1] for snippet in turn["snippets"]} == {name}
        text = " ".join(" ".join(snippet[3] for snippet in turn["snippets"]).split())
        assert all(line in text for line in LINES), name


def test_host_instructions_and_character_cards_are_no_snippets_and_chunks_are(seen):
    told = seen["chunks_in_every_mode"]["result"]["told"]
    turns = seen["chunks_in_every_mode"]["turns"]
    assert len(told) == len(turns) == 12
    for (name, (has_chunk, _)), turn in zip(told.items(), turns, strict=True):
        assert has_chunk is not name.endswith("nothing"), name
        assert [s[3] for s in turn["snippets"]] == ([CHUNK] if has_chunk else []), name
        assert turn["question"] == QUESTION
    assert seen["chunks_in_every_mode"]["problems"] == []
