"""Detectors of a prompt by a model's files: chat template (PC4), start and end tokens (P1), context (P2)."""

from __future__ import annotations

import re

from exllama_guard.core.measures import Gate
from exllama_guard.probes.doctor.detectors.version_skew import observe_templates
from exllama_guard.probes.doctor.prompt_facts import PromptFacts, fill
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved

__all__ = ["context_length", "observe_template", "observe_tokens"]

_ASKED, _ANSWERED = "What does the fence do?", "It waits until the model is warm."
_USER = {"role": "user", "content": _ASKED}
_REPLY = {"role": "assistant", "content": _ANSWERED}
_OWN = "take the template of the model's own source"
_MARKER = re.compile(r"<\|[^|<>\s]{2,30}\|>|<(?:start|end)_of_turn>|\[/?INST\]")
# Tokens that open or close a turn in the families of today; a model that has one was made for chats with it.
_TURNS = frozenset(
    [
        "<|im_start|>",
        "<|im_end|>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<|start_header_id|>",
        "<|eot_id|>",
        "<|end|>",
        "<|user|>",
        "<|assistant|>",
        "<|turn|>",
        "[INST]",
        "[/INST]",
        "<|start_of_role|>",
        "<|end_of_role|>",
        "<|START_OF_TURN_TOKEN|>",
    ]
)
_TURN_ENDS = frozenset(["<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|end|>", "<|END_OF_TURN_TOKEN|>"])
_CHAT_NAME = re.compile(r"(?i)(?<![a-z])(?:instruct|chat|it)(?![a-z])")
# tokens = (base / 0.0424)^(1 / 1.628): what a RoPE base can tell apart (Men et al. 2024, arXiv 2405.14591).
# Models that were made for it stay within 4.2 times (Gemma 1: 8192 with base 10000).
_BOUND, _POWER, _BEYOND = 0.0424, 1.628, 8.0


def observe_template(facts: PromptFacts) -> Observation:
    """PC4: the template is filled with a sample chat and looked through."""
    if facts.template is None:
        return _no_template(facts)
    try:
        prompt = fill(facts, [_USER], opening=True)
    except ValueError as error:
        sentence = f"The chat template cannot be filled ({error}); {_OWN}."
        return observed("PC4", Gate.FAIL, sentence)
    if _ASKED not in prompt:
        return observed("PC4", Gate.FAIL, f"The chat template leaves the user's message out; {_OWN}.")
    foreign = _foreign(prompt, facts)
    if foreign:
        return observed("PC4", Gate.FAIL, foreign)
    return _opening(prompt, facts) or observe_templates(prompt, (_ASKED,))


def _no_template(facts: PromptFacts) -> Observation:
    ends = [text for text in {*facts.end_texts(), facts.end} if text in _TURN_ENDS]
    if not ends and not _CHAT_NAME.search(facts.name):
        return unobserved(
            "PC4", "there is no chat template, as is usual for models that were not made for chats"
        )
    why = f"its replies end with {ends[0]}" if ends else "its name says so"
    sentence = (
        f"There is no chat template, and this model was made for chats ({why}): the loader takes a general "
        "one. Copy chat_template.jinja (or the chat_template of tokenizer_config.json) from the "
        "model's source."
    )
    return observed("PC4", Gate.REVIEW, sentence)


def _foreign(prompt: str, facts: PromptFacts) -> str:
    """A sentence where the template's turn tokens are none of the tokenizer's, which has others."""
    used = set(_MARKER.findall(prompt.removeprefix(facts.start)))
    own = sorted(_TURNS & set(facts.words))
    if not used or not own or used & set(facts.words):
        return ""
    return (
        f"The chat template is that of another model: it writes {', '.join(sorted(used)[:3])}, which this "
        f"tokenizer cuts into pieces; its own turn tokens are {', '.join(own[:3])}. Copy the chat template "
        "from the model's own source."
    )


def _opening(prompt: str, facts: PromptFacts) -> Observation | None:
    """FAIL where a reply is left out, or the prompt ends before the line that begins one."""
    try:
        asked, whole = fill(facts, [_USER], opening=False), fill(facts, [_USER, _REPLY], opening=False)
    except ValueError:
        return None  # a template may refuse such a chat
    if _ANSWERED not in whole:
        sentence = f"The chat template leaves the assistant's replies out; {_OWN}."
        return observed("PC4", Gate.FAIL, sentence)
    before = whole.partition(_ANSWERED)[0]
    head = before[len(asked) :].strip() if before.startswith(asked) else ""
    if head and prompt == asked:
        sentence = (
            f"The chat template does not open the reply: the prompt ends without {head!r}, so that the model "
            f"first has to write it itself, or goes on as the user; {_OWN} (it uses add_generation_prompt)."
        )
        return observed("PC4", Gate.FAIL, sentence)
    return None


def observe_tokens(facts: PromptFacts) -> Observation:
    """P1: does the token that closes a reply end the generation, do the files name the same tokens."""
    missing = [t for t in (facts.start, facts.end) if t and facts.words and t not in facts.words]
    if missing and facts.template is not None:
        sentence = (
            f"tokenizer_config.json names {missing[0]} as start or end token, and tokenizer.json has no such "
            "token: copy the tokenizer's files from one source."
        )
        return observed("P1", Gate.FAIL, sentence)
    for found in (_doubled(facts), _never_ends(facts), _disagree(facts)):
        if found is not None:
            return found
    if not facts.end_ids and not facts.end:
        return unobserved("P1", "neither the configuration nor the tokenizer names an end token")
    return observed("P1", Gate.PASS, f"A reply ends with {', '.join(facts.end_texts()) or facts.end}.")


def _doubled(facts: PromptFacts) -> Observation | None:
    if not facts.start or facts.template is None:
        return None
    try:
        prompt = fill(facts, [_USER], opening=True)
    except ValueError:
        return None
    if not prompt.startswith(facts.start * 2):
        return None
    sentence = (
        f"The chat template writes the start token {facts.start} twice (doubled BOS), which the model never "
        f"saw: remove one of the two from the template, or {_OWN}."
    )
    return observed("P1", Gate.FAIL, sentence)


def _never_ends(facts: PromptFacts) -> Observation | None:
    """FAIL where the template closes a reply with a token that does not end a generation."""
    if facts.template is None or not facts.words or not facts.end_ids:
        return None
    try:
        whole = fill(facts, [_USER, _REPLY, _USER], opening=False)
    except ValueError:
        return None
    rest = whole.partition(_ANSWERED)[2]
    places = {
        rest.find(word): word for word in facts.words if word and rest.startswith(word, rest.find(word))
    }
    places = {at: word for at, word in places.items() if at >= 0 and not rest[:at].strip()}
    if not places:
        return None
    closing = places[min(places)]
    if facts.words[closing] in facts.end_ids:
        return None
    told = ", ".join(map(str, sorted(facts.end_ids)))
    sentence = (
        f"A reply never stops: the chat template closes it with {closing} (id {facts.words[closing]}), and "
        f"{facts.end_source} has eos_token_id {told}. Add {facts.words[closing]} to its eos_token_id."
    )
    return observed("P1", Gate.FAIL, sentence, closing=closing)


def _disagree(facts: PromptFacts) -> Observation | None:
    for what, text, ids in (
        ("end token (eos)", facts.end, facts.end_ids),
        ("start token (bos)", facts.start, frozenset([facts.start_id] if facts.start_id is not None else [])),
    ):
        id_ = facts.words.get(text)
        if id_ is not None and ids and id_ not in ids:
            told = ", ".join(map(str, sorted(ids)))
            sentence = (
                f"The tokenizer's {what} is {text} (id {id_}), the configuration names {told}: "
                "loaders disagree "
                "on which counts. Take all files from the model's own source."
            )
            return observed("P1", Gate.REVIEW, sentence)
    return None


def context_length(tokens: int | None, base: float | None, scaled: bool, window: int | None) -> Observation:
    """P2: the context that is claimed, against what the RoPE base can tell apart without scaling."""
    if tokens is None or base is None:
        return unobserved("P2", "the files tell no context length or no RoPE base")
    reach = (base / _BOUND) ** (1 / _POWER)
    inputs = {"context_tokens": float(tokens), "reach_tokens": reach}
    if scaled or (window and window < tokens):
        return observed("P2", Gate.PASS, f"A context of {tokens} tokens, with scaling or a window.", **inputs)
    if tokens > _BEYOND * reach:
        sentence = (
            f"A context of {tokens} tokens is claimed. RoPE base {base:g} tells about {reach:.0f} positions "
            "apart, and no scaling (rope_scaling) is set: either the context is not this model's or its "
            "scaling was lost. Take max_position_embeddings and rope_scaling from the model's "
            "own source, and "
            "load it with a shorter context until then."
        )
        return observed("P2", Gate.REVIEW, sentence, **inputs)
    return observed("P2", Gate.PASS, f"A context of {tokens} tokens fits the RoPE base {base:g}.", **inputs)
