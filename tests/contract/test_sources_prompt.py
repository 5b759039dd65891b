"""Every source reads prompts as the real hosts write them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from exllama_guard.core.snippets import Origin, make_snippet
from exllama_guard.sources.attachments import Attachment, attachment_snippets, from_history, in_prompt
from exllama_guard.sources.collect import Gathered, collect_snippets
from exllama_guard.sources.injected import injected_snippets, unaccounted
from exllama_guard.sources.marked_block import format_block
from exllama_guard.sources.pieces import pieces_of
from exllama_guard.sources.tool_results import tool_snippets
from hypothesis import given
from hypothesis import strategies as st

# Recorded from WebUI 4.7.3 and 3.23 with SmolLM2's template (both write the same).
ATTACHED = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\nWhat does the fence do?\n\nATTACHMENTS:\n\nName: notes.txt\nContents:\n\n=====\n"
    "The warm-up fence runs ten tokens.\n\nTitle\n=====\nIt is repeated until two ratios agree.\n=====\n\n"
    "\nName: A page\nURL: https://example.org/a\nContents:\n\n=====\nOn fences.\n=====<|im_end|>\n"
    "<|im_start|>assistant\n"
)
# superboogav2's default marks; superbooga's instruct form.
V2 = (
    "<|im_start|>user\n<<document chunk>>\n\n"
    "A warm-up fence repeats a dummy batch until two ratios agree.\n\n"
    "<<document chunk>>\n\nA cache rotation happens after 8192 tokens when no other job is running.\n\n"
    "<<document end>>\n\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
)
V1 = (
    "<|im_start|>user\nWhat is it?\nYour reply should be based on the context below:\n\n"
    "A warm-up fence repeats a dummy batch until two ratios agree.\n"
    "A cache rotation happens after 8192 tokens when no other job is running.<|im_end|>\n"
    "<|im_start|>assistant\n"
)
CHUNKS = [
    "A warm-up fence repeats a dummy batch until two ratios agree.",
    "A cache rotation happens after 8192 tokens when no other job is running.",
]


def _history(**entries):
    return {"internal": [["What does the fence do?", ""]], "metadata": entries}


def _attached(prompt, history):
    return attachment_snippets(pieces_of(prompt, history).attachments)


NOTES = "The warm-up fence runs ten tokens.\n\nTitle\n=====\nIt is repeated until two ratios agree."


def test_attachments_are_read_from_the_prompt_with_the_history_deciding_where_they_end():
    attached = [
        {"name": "notes.txt", "type": "text/plain", "content": NOTES},
        {"name": "A page", "type": "text/html", "url": "https://example.org/a", "content": "On fences."},
        {"name": "cat.png", "type": "image", "image_data": "data:"},
    ]
    notes, page = _attached(ATTACHED, _history(user_0={"attachments": attached}))
    assert (notes.text, notes.section_id, notes.origin) == (NOTES, "notes.txt", Origin.ATTACHMENT)
    assert notes.source_url.startswith("sha256:")
    assert "source_url" in notes.derived
    assert (page.text, page.source_url, page.origin) == (
        "On fences.",
        "https://example.org/a",
        Origin.WEB_SEARCH,
    )
    assert (notes.snippet_id, page.snippet_id) == ("s1", "s2")


def test_attachments_are_read_without_a_history_too():
    notes, page = in_prompt(ATTACHED)
    assert notes == Attachment("notes.txt", NOTES)
    assert page == Attachment("A page", "On fences.", "https://example.org/a")


def test_an_attachment_that_the_host_cut_to_fit_is_given_as_far_as_the_model_saw_it():
    content = "A long text that goes on. " * 20
    prompt = f"user\nQ?\n\nATTACHMENTS:\n\nName: a.txt\nContents:\n\n=====\n{content[:200]}<|im_end|>\n"
    history = _history(user_0={"attachments": [{"name": "a.txt", "type": "text/plain", "content": content}]})
    (snippet,) = _attached(prompt, history)
    assert snippet.text == content[:200].strip()


def test_a_long_attachment_becomes_passages_with_exact_offsets():
    content = "The fence waits for two equal runs, and then it lets the request pass. " * 40
    prompt = f"ATTACHMENTS:\n\nName: a.txt\nContents:\n\n=====\n{content}\n=====\n\n"
    snippets = _attached(prompt, {})
    assert len(snippets) >= 4
    assert len({snippet.source_url for snippet in snippets}) == 1
    for snippet in snippets:
        assert content[snippet.offsets.start : snippet.offsets.end] == snippet.text


def test_the_word_attachments_in_a_message_is_no_attachment():
    assert in_prompt("user\nI sent ATTACHMENTS:\nbut they are lost.\nassistant\n") == ()
    assert from_history({"metadata": {"user_0": {"timestamp": "now"}}}) == ()


@pytest.mark.parametrize(
    "written",
    [
        "The run took 3 tries.",
        json.dumps("The run took 3 tries.")[1:-1],
        'tool said: "The run took 3 tries."',
    ],
)
def test_a_tool_result_counts_only_where_the_prompt_has_it(written):
    sequence = [
        {"tool_calls": [{"id": "c1", "function": {"name": "runs", "arguments": "{}"}}]},
        {"role": "tool", "content": "The run took 3 tries.", "tool_call_id": "c1"},
    ]
    history = _history(assistant_0={"tool_sequence": sequence})
    (snippet,) = tool_snippets(f"<|im_start|>tool\n{written}<|im_end|>", history)
    assert (snippet.text, snippet.section_id) == ("The run took 3 tries.", "runs")
    assert tool_snippets("a template that drops tools", history) == ()


def test_a_json_result_is_found_where_the_template_wrote_it_in_its_own_way():
    history = {"internal": [["", "", '{"a":1,"b":"ü"}', {"tool_call_id": "c1"}]]}
    (snippet,) = tool_snippets('<tool_response>{"a": 1, "b": "ü"}</tool_response>', history)
    assert snippet.origin is Origin.TOOL_RESULT


@pytest.mark.parametrize("prompt", [V1, V2])
def test_chunks_of_superbooga_are_found_one_by_one(prompt):
    snippets = injected_snippets(prompt, ["What is it?"], ["{{ messages }}"])
    assert [snippet.text for snippet in snippets] == CHUNKS
    assert all(snippet.origin is Origin.SUPERBOOGA for snippet in snippets)


def test_messages_system_text_and_the_templates_own_words_are_not_injected():
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    prompt = (
        f"<|im_start|>system\n{system}<|im_end|>\n"
        "<|im_start|>user\nTell me at length what the fence is there for, please.<|im_end|>\n"
        "<|im_start|>assistant\nIt waits until two runs in a row took the same time.<|im_end|>\n"
    )
    known = [
        "Tell me at length what the fence is there for, please.",
        "It waits until two runs in a row took the same time.",
    ]
    assert unaccounted(prompt, known, [f"{{% if not system %}}{system}{{% endif %}}"]) == ()


@given(st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "one", "two"]), min_size=8, max_size=30))
def test_whatever_is_put_in_is_found_again(words):
    chunk = " ".join(words)
    prompt = f"<|im_start|>user\nQ?\n\n{chunk}<|im_end|>\n"
    assert unaccounted(prompt, ["Q?"], [""]) == (chunk,)


def test_all_sources_come_in_one_order_with_unique_ids_and_no_doubles():
    block = format_block([make_snippet("From the block.", position=0, section_id="B", source_url="b.md")])
    prompt = ATTACHED.replace("What does the fence do?", f"{block}\n\nWhat does the fence do?")
    handed = make_snippet("From the block.", position=0, origin=Origin.HANDED_OVER)
    other = make_snippet("Handed over.", position=0, origin=Origin.HANDED_OVER)
    found = collect_snippets(
        Gathered(prompt, _history(), "What does the fence do?", (handed, other), look_for_injected=True)
    )
    assert [s.origin for s in found] == [
        Origin.HANDED_OVER,
        Origin.HANDED_OVER,
        Origin.ATTACHMENT,
        Origin.WEB_SEARCH,
        Origin.SUPERBOOGA,
    ]
    assert found[-1].text.startswith("You are a helpful AI assistant")  # no template was given to know it by
    assert len({s.snippet_id for s in found}) == len(found)


def test_our_own_knowledge_snippets_keep_what_they_know():
    ours = make_snippet("The fence waits.", position=0, section_id="F", source_url="f.md", score=0.7)
    (found,) = collect_snippets(Gathered(format_block([ours]) + "\n\nQ?", knowledge=(ours,)))
    assert (found.origin, found.score) == (Origin.KNOWLEDGE, 0.7)


def test_a_short_block_of_an_earlier_turn_is_completed_from_the_folder():
    known = make_snippet(
        "The fence waits.", position=0, snippet_id="f.md:5-21", section_id="F", source_url="f.md"
    )
    shown = replace(known, snippet_id="s3")
    other = make_snippet("Nobody knows me.", position=1, snippet_id="s4", source_url="gone.md")
    prompt = format_block([shown, other], short=True)
    assert "section_id" not in prompt and "start=" not in prompt
    found = collect_snippets(Gathered(prompt, lookup={known.text: known}.get))
    assert found[0] == replace(known, snippet_id="s3", origin=Origin.KNOWLEDGE)
    assert (found[1].snippet_id, found[1].source_url, found[1].origin) == (
        "s4",
        "gone.md",
        Origin.MARKED_BLOCK,
    )
