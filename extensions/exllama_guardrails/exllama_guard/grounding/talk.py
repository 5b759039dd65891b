"""Whether a user's message asks anything of documents, or is talk: a greeting, a poem, code, a sum.

By form alone, in fourteen languages. A question about the world ("When did Rome fall?") has the form of one
to a document; there the confidence is low, and how near the snippets are must decide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path

from exllama_guard.grounding.phrases import Phrase, pattern

_FILE = Path(__file__).parent / "data" / "talk.txt"
_MOST_CHARACTERS = 600  # of a message that are read: what it wants is said at its start
_AFTER_TALK = 0.8  # confidence of "another one" after a message that was talk
_EARLIER = 0.5  # confidence from which the message before was talk
_OWN_TEXT = re.compile(r"[:：\n][^\S\n]*\S.{24,}|[\"“«「].{24,}[\"”»」]?", re.DOTALL)
_OWN = frozenset({"rewrite", "translation", "code-explain", "maths"})


class TalkKind(str, Enum):
    """What a message is, as far as its form tells; ASKS may be a question to the documents."""

    ASKS = "asks"
    GREETING = "greeting"
    THANKS = "thanks"
    GOODBYE = "goodbye"
    POEM = "poem"
    STORY = "story"
    JOKE = "joke"
    CODE = "code"
    CODE_EXPLAIN = "code-explain"
    TRANSLATION = "translation"
    MATHS = "maths"
    NAMES = "names"
    ROLEPLAY = "roleplay"
    REWRITE = "rewrite"
    PLAN = "plan"
    ADVICE = "advice"
    SMALLTALK = "smalltalk"
    ASSISTANT = "assistant"
    WORDGAME = "wordgame"
    KNOWLEDGE = "knowledge"
    FOLLOWUP = "followup"


@dataclass(frozen=True, slots=True)
class Talk:
    """What a message is, and how sure its form makes that: 0 asks of documents, 1 certainly does not."""

    kind: TalkKind
    confidence: float


@dataclass(frozen=True, slots=True)
class _Form:
    kind: TalkKind
    confidence: float
    pattern: re.Pattern[str]
    anywhere: bool


@lru_cache(maxsize=1)
def _forms() -> tuple[_Form, ...]:
    out = []
    kind = TalkKind.ASKS
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            kind = TalkKind(line.strip("[]"))
        elif line and not line.startswith("#"):
            confidence, form = line.split(" ", 1)
            anywhere = form.startswith("~")
            read = re.compile(form.removeprefix("~"), re.IGNORECASE)
            out.append(_Form(kind, float(confidence), read, anywhere))
    return tuple(out)


def talk_of(question: str, before: str = "") -> Talk:
    """What a message is by its form.

    Args:
        question: The user's message.
        before: The user's message before it; "another one" after a joke is talk as well.
    """
    text = question[:_MOST_CHARACTERS].replace("’", "'").strip().lstrip("¿¡*_ ")
    if not text:
        return Talk(TalkKind.ASKS, 0.0)
    found = max(_matches(text), key=lambda one: one.confidence, default=Talk(TalkKind.ASKS, 0.0))
    if found.kind is TalkKind.FOLLOWUP:
        earlier = talk_of(before) if before else Talk(TalkKind.ASKS, 0.0)
        sure = _AFTER_TALK if earlier.confidence >= _EARLIER else 0.0
        return Talk(TalkKind.FOLLOWUP if sure else TalkKind.ASKS, sure)
    if pattern(Phrase.OF_DOCUMENTS).search(text) and not (
        found.kind.value in _OWN and _OWN_TEXT.search(text)
    ):
        return Talk(found.kind, min(found.confidence, 0.3))
    return found


def _matches(text: str) -> list[Talk]:
    return [
        Talk(form.kind, form.confidence)
        for form in _forms()
        if (form.pattern.search(text) if form.anywhere else form.pattern.match(text))
    ]
