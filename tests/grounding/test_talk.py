"""Messages that ask nothing of documents, and those that do: by form alone, in ten languages."""

from __future__ import annotations

import time

import pytest
from exllama_guard.grounding.talk import TalkKind, talk_of

TALK = [
    ("hey there", TalkKind.GREETING),
    ("Guten Morgen!", TalkKind.GREETING),
    ("Bonjour", TalkKind.GREETING),
    ("¡Hola!", TalkKind.GREETING),
    ("你好", TalkKind.GREETING),
    ("こんにちは", TalkKind.GREETING),
    ("Здравствуйте!", TalkKind.GREETING),
    ("مرحبا", TalkKind.GREETING),
    ("नमस्ते", TalkKind.GREETING),
    ("thanks a lot!", TalkKind.THANKS),
    ("Vielen Dank!", TalkKind.THANKS),
    ("ok bye", TalkKind.GOODBYE),
    ("Write a haiku about my toaster", TalkKind.POEM),
    ("Schreib ein Gedicht über den Herbst", TalkKind.POEM),
    ("Escribe un poema sobre el mar", TalkKind.POEM),
    ("Scrivi una poesia sulla luna", TalkKind.POEM),
    ("Escreva um poema sobre o sol", TalkKind.POEM),
    ("Tell me a story about a brave mouse", TalkKind.STORY),
    ("tell me a joke", TalkKind.JOKE),
    ("write a python function that sorts a list", TalkKind.CODE),
    ("Translate to German: where is the station?", TalkKind.TRANSLATION),
    ("what is 12% of 80", TalkKind.MATHS),
    ("act as a pirate", TalkKind.ROLEPLAY),
    ('rewrite this politely: "Send me the money today or I will call my lawyer"', TalkKind.REWRITE),
    ("who made you?", TalkKind.ASSISTANT),
]


@pytest.mark.parametrize(("message", "kind"), TALK)
def test_talk_is_known_by_its_form(message: str, kind: TalkKind) -> None:
    found = talk_of(message)
    assert found.kind is kind
    assert found.confidence >= 0.8


@pytest.mark.parametrize(
    "message",
    [
        "When does the library open?",
        "hi, what's the refund period?",
        "Hello! How long is the warranty?",
        "thanks, one more: what happens then?",
        "how do i reset the router",
        "Translate the warranty section of the manual",
        "Summarise the minutes please",
        "what does error E3 mean",
        "Write a summary of the document",
        "Which plan includes Ultra HD?",
        "Wie lange gilt die Garantie?",
        "¿Cuánto cuesta la entrada?",
        "退货期限是多久?",
        "Should I call the office before 9?",
        "Explain the code in the attached file",
        "",
    ],
)
def test_a_question_to_the_documents_is_not_taken_for_talk(message: str) -> None:
    assert talk_of(message).confidence <= 0.5


def test_more_of_the_same_is_talk_after_talk_only() -> None:
    assert talk_of("another one", "tell me a joke").kind is TalkKind.FOLLOWUP
    assert talk_of("another one", "Which plan includes Ultra HD?").confidence == 0.0


@pytest.mark.parametrize(
    "message", ["write " * 20000, "a" * 100000, "hi " * 30000, '"' * 100000, "what is " * 12000]
)
def test_a_hostile_message_is_read_in_time(message: str) -> None:
    started = time.perf_counter()
    talk_of(message)
    assert time.perf_counter() - started < 2
