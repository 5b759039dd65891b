"""What each part of an answer is, in both directions: no courtesy is a claim, no claim hides in one."""

from __future__ import annotations

import time

import pytest
from exllama_guard.grounding.statements import Kind, statements_of


def kinds(answer: str, language: str = "en") -> set[Kind]:
    return {one.kind for one in statements_of(answer, language)}


def claims(answer: str, language: str = "en") -> list[str]:
    return [one.text for one in statements_of(answer, language) if one.kind is Kind.CLAIM]


COURTESIES = [
    ("en", "Sure!"),
    ("en", "Sure, happy to help!"),
    ("en", "I'm happy to help."),
    ("en", "Let me check the document for you."),
    ("en", "Great question!"),
    ("en", "Hi there! I'd be happy to help you with that."),
    ("en", "I hope this helps!"),
    ("en", "Hope that clears things up!"),
    ("en", "Let me know if you'd like the rest of the first-aid steps too!"),
    ("en", "Please let me know if there is anything else I can help you with."),
    ("en", "Feel free to ask if you have more questions."),
    ("en", "If you have any other questions about the lease, just let me know."),
    ("en", "Would you like me to summarise the rest?"),
    ("en", "Have a great day!"),
    ("en", "You're welcome!"),
    ("en", "Thanks for asking!"),
    ("en", "Please don't hesitate to reach out."),
    ("en", "I'm sorry for the confusion."),
    (
        "en",
        "It's always best to check the original document, though I can look again."
        if False
        else "Please check the official documentation.",
    ),
    ("de", "Gerne!"),
    ("de", "Ich hoffe, das hilft dir weiter."),
    ("de", "Sag mir Bescheid, wenn du noch etwas brauchst!"),
    ("de", "Natürlich, gerne!"),
    ("de", "Bei weiteren Fragen stehe ich gerne zur Verfügung."),
    ("de", "Viel Spaß beim Besuch!"),
    ("fr", "Bien sûr !"),
    ("fr", "J'espère que cela vous aide !"),
    ("fr", "N'hésitez pas si vous avez d'autres questions."),
    ("fr", "Je vous souhaite un bon rétablissement !"),
    ("es", "¡Claro!"),
    ("es", "¡Por supuesto!"),
    ("es", "Espero que te sea útil."),
    ("es", "Si necesitas algo más, avísame."),
    ("it", "Certo!"),
    ("it", "Spero che ti sia utile!"),
    ("it", "Fammi sapere se hai altre domande."),
    ("pt", "Claro!"),
    ("pt", "Espero ter ajudado!"),
    ("pt", "Diga-me se precisar de mais alguma coisa!"),
    ("ru", "Конечно!"),
    ("ru", "Надеюсь, это поможет!"),
    ("ru", "Если у вас есть ещё вопросы, спрашивайте."),
    ("zh", "好的!"),
    ("zh", "希望对您有帮助。"),
    ("zh", "如果您还有其他问题,请随时告诉我。"),
    ("ja", "はい、お答えします。"),
    ("ja", "お役に立てれば幸いです。"),
    ("ja", "他にご質問があればお知らせください。"),
    ("ar", "بالتأكيد!"),
    ("ar", "أتمنى أن أكون قد أفدتك!"),
    ("hi", "ज़रूर!"),
    ("hi", "उम्मीद है इससे मदद मिलेगी।"),
    ("nl", "Natuurlijk!"),
    ("nl", "Laat het me weten als je nog vragen hebt."),
    ("pl", "Oczywiście!"),
    ("pl", "Mam nadzieję, że to pomoże."),
    ("ko", "물론입니다!"),
    ("ko", "도움이 되었기를 바랍니다."),
]


@pytest.mark.parametrize(("language", "text"), COURTESIES)
def test_a_courtesy_claims_nothing(language: str, text: str) -> None:
    answer = text + "\n\n42 is the limit."
    found = statements_of(answer, language)
    assert {one.kind for one in found if one.start < len(text)} <= {Kind.COURTESY, Kind.QUESTION}
    assert claims(answer, language) == ["42 is the limit."]


HIDDEN = [
    ("en", "Unfortunately, the cache loses 9000 tokens.", "the cache loses 9000 tokens."),
    ("en", "I'm sorry, the cache was raised to 9000.", "the cache was raised to 9000."),
    ("en", "Sure! The cache was raised to 9000.", "The cache was raised to 9000."),
    ("en", "Of course the cache was raised to 9000.", "cache was raised to 9000"),
    ("en", "I'm happy to say the cache was raised to 9000.", "the cache was raised to 9000."),
    ("en", "Feel free to ask; the limit is 9000 tokens.", "the limit is 9000 tokens."),
    ("en", "I hope this helps, because the limit is 9000 tokens.", "the limit is 9000 tokens."),
    ("en", "Let me know if you need more – the warranty lasts ten years.", "the warranty lasts ten years."),
    ("en", "Thanks for asking, the office closes at noon.", "the office closes at noon."),
    ("en", "As an AI model, I know the limit is 9000.", "the limit is 9000."),
    ("en", "Based on the document, the limit is 9000.", "the limit is 9000."),
    ("en", "Based on the NOTAM: It closes on 5 October.", "It closes on 5 October."),
    ("en", "Sure! Here's what the text says: No beavers were seen.", "No beavers were seen."),
    ("en", "According to the provided context, all drugs are safe.", "all drugs are safe."),
    ("de", "Leider verliert der Cache 9000 Token.", "verliert der Cache 9000 Token."),
    ("de", "Gerne! Die Bibliothek öffnet um 9 Uhr.", "Die Bibliothek öffnet um 9 Uhr."),
    ("fr", "Malheureusement, le cache perd 9000 jetons.", "le cache perd 9000 jetons."),
    ("es", "Lo siento, pero el límite es 9000.", "el límite es 9000."),
    ("it", "Purtroppo il limite è 9000.", "il limite è 9000."),
    ("pt", "Infelizmente, o limite é 9000.", "o limite é 9000."),
    ("ru", "К сожалению, лимит составляет 9000.", "лимит составляет 9000."),
    ("zh", "很抱歉,缓存上限是9000。", "缓存上限是9000。"),
    ("ja", "申し訳ありませんが、上限は9000です。", "上限は9000です。"),
    ("ar", "عذرًا، الحد الأقصى هو 9000.", "الحد الأقصى هو 9000."),
    ("hi", "माफ़ कीजिए, सीमा 9000 है।", "सीमा 9000 है।"),
]


@pytest.mark.parametrize(("language", "text", "said"), HIDDEN)
def test_a_claim_does_not_hide_behind_a_courtesy(language: str, text: str, said: str) -> None:
    assert any(said in claim for claim in claims(text, language)), statements_of(text, language)


@pytest.mark.parametrize(
    "text",
    [
        "Did you know that the limit is 9000 tokens?",
        "The limit is 9000, right?",
        "The limit is 9000 tokens, isn't it?",
        "Isn't it true that the limit is 9000?",
        "The limit is 9000 tokens, would you like to raise it?",
        "Das Limit ist 9000, nicht wahr?",
        "Wussten Sie, dass das Limit 9000 ist?",
        "La limite est 9000, n'est-ce pas ?",
        "¿Sabías que el límite es 9000?",
        "Lo sapevi che il limite è 9000?",
        "Знаете ли вы, что лимит 9000?",
    ],
)
def test_a_statement_behind_a_question_is_a_claim(text: str) -> None:
    assert any("9000" in claim for claim in claims(text))


@pytest.mark.parametrize(
    "text",
    [
        "What is the limit?",
        "Do you want the old limit or the new one?",
        "Which of the two do you mean, the router or the modem?",
        "Did you know?",
        "Welches Gerät meinen Sie?",
    ],
)
def test_a_question_claims_nothing(text: str) -> None:
    assert Kind.CLAIM not in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "No.",
        "Yes.",
        "Sure.",
        "Absolutely!",
        "Nein.",
        "Oui.",
        "不是。",
        "いいえ。",
        "14 days.",
        "Cmd+K.",
        "**12 months.**",
    ],
)
def test_a_bare_answer_is_a_claim(text: str) -> None:
    assert claims(text) == [text.strip("*")]


def test_an_assent_stays_with_its_sentence() -> None:
    assert claims("No, the limit is 9000.") == ["No, the limit is 9000."]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("## The limit is 9000", Kind.CLAIM),
        ("## Limit: 9000", Kind.CLAIM),
        ("### The cache loses tokens when it is full", Kind.CLAIM),
        ("## Step 2: Install", Kind.HEADING),
        ("## Penalties under § 5", Kind.HEADING),
        ("## How to reset the router", Kind.HEADING),
        ("## Summary", Kind.HEADING),
        ("## Overview of 2024", Kind.HEADING),
    ],
)
def test_a_heading_that_states_is_a_claim(text: str, kind: Kind) -> None:
    assert statements_of(text + "\n\nThe rest is here.")[0].kind is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("You have 30 days to:", Kind.CLAIM),
        ("The drug is safe for:", Kind.CLAIM),
        ("Three things void it:", Kind.CLAIM),
        ("Members must not:", Kind.CLAIM),
        ("Here are the steps:", Kind.LEAD_IN),
        ("Sure! Here is how to do it:", Kind.LEAD_IN),
        ("Follow these steps:", Kind.LEAD_IN),
        ("Here's what applies to you:", Kind.LEAD_IN),
        ("Based on the agreement, here is how the dates work out:", Kind.LEAD_IN),
        ("The steps are as follows:", Kind.LEAD_IN),
        ("In summary:", Kind.LEAD_IN),
        ("Hier sind die Schritte:", Kind.LEAD_IN),
        ("Voici les étapes :", Kind.LEAD_IN),
        ("Aquí tienes los datos:", Kind.LEAD_IN),
        ("步骤如下:", Kind.LEAD_IN),
    ],
)
def test_a_list_introduction_that_states_is_a_claim(text: str, kind: Kind) -> None:
    found = statements_of(text + "\n\n- one thing\n- another thing")
    first = [one for one in found if one.end <= len(text)]
    assert (Kind.CLAIM in {one.kind for one in first}) == (kind is Kind.CLAIM)


def test_prose_in_a_code_block_is_a_claim_and_code_is_none() -> None:
    answer = (
        "```\nThe limit is 9000 tokens and it never changes.\n```\n\n```python\nconnect(host, port=5432)\n```"
    )
    found = statements_of(answer)
    assert [one.kind for one in found] == [Kind.CLAIM, Kind.CODE]


def test_sources_and_footnotes_are_no_claims_unless_they_state() -> None:
    answer = (
        "The tower is 84 metres tall [1].\n\nSources:\n- handbook.pdf, p. 12\n- Lake Ostrovo, section “Fauna”"
    )
    assert claims(answer) == ["The tower is 84 metres tall [1]."]
    assert claims("It is tall.[^2]\n\n[^2]: tower-notes.md") == ["It is tall.[^2]"]
    assert claims("It is tall [1].\n\n[1] The tower has been raised to 900 metres.")[1:] != []


ABSTENTIONS = [
    ("en", "The document doesn't mention a refund period.", "refund period"),
    ("en", "The provided context does not contain opening hours.", "opening hours"),
    ("en", "I couldn't find any mention of a gym in the guest information.", "gym"),
    ("en", "There is no information about parking in the text.", "parking"),
    ("en", "Battery life isn't mentioned anywhere in the statement.", "Battery life"),
    ("en", "Unfortunately, the minutes don't say who voted against it.", "who voted against it"),
    ("en", "The source contains no answer to the question.", "answer to the question"),
    ("de", "Das Dokument enthält keine Angaben zum Preis.", "Preis"),
    ("de", "Der Text erwähnt den Preis nicht.", ""),
    ("fr", "Le document ne mentionne pas le prix.", "prix"),
    ("es", "El documento no menciona el precio.", "precio"),
    ("it", "Il testo non parla di sconti.", "sconti"),
    ("pt", "O documento não menciona o preço.", "preço"),
    ("ru", "В документе не указана цена.", "цена"),
    ("zh", "文档中没有提到价格。", "价格"),
    ("ja", "文書には価格についての記載がありません。", ""),
    ("ar", "لم أجد سعر السخان في النص.", "سعر"),
    ("hi", "नियमावली में कूलर का कोई उल्लेख नहीं है।", ""),
    ("nl", "De tekst vermeldt geen prijs.", "prijs"),
]


@pytest.mark.parametrize(("language", "text", "absent"), ABSTENTIONS)
def test_an_abstention_is_told_with_what_is_absent(language: str, text: str, absent: str) -> None:
    found = [one for one in statements_of(text, language) if one.kind is not Kind.COURTESY]
    assert [one.kind for one in found] == [Kind.ABSTENTION]
    assert absent in found[0].absent


@pytest.mark.parametrize(
    "text",
    [
        "The monitor doesn't show a warning.",
        "Lunch is not included.",
        "The policy does not cover water damage.",
        "There is no lift.",
        "I couldn't agree more: the limit is 9000.",
        "The plan has no setup fee.",
        "He didn't mention it to his wife.",
    ],
)
def test_a_denial_is_a_claim_not_an_abstention(text: str) -> None:
    assert Kind.ABSTENTION not in kinds(text)


def test_what_follows_an_abstention_is_a_claim() -> None:
    answer = "I could not find anything about silk in the cheat sheet; it only lists cotton and wool."
    assert [one.kind for one in statements_of(answer)] == [Kind.ABSTENTION, Kind.CLAIM]


def test_every_word_stands_in_exactly_one_statement() -> None:
    answer = (
        "Sure! Based on the page, it is **open**.\n\n1. One thing. Two.\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )
    at = 0
    for one in statements_of(answer):
        assert one.start >= at
        assert answer[one.start : one.end] == one.text
        assert not any(sign.isalnum() for sign in answer[at : one.start].replace("1.", ""))
        at = one.end


@pytest.mark.parametrize(
    "text",
    [
        "i hope " * 14000,
        "the document " * 8000,
        "sure, " * 17000,
        "according to the " * 6000,
        "不" * 100000,
        "no information about " * 5000,
        "```\n" + "is it a b c. " * 8000,
        "| a " * 25000,
        "?" * 100000,
        "the very same old text " * 4500 + "x",
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text_is_read_in_time(text: str) -> None:
    started = time.perf_counter()
    statements_of(text)
    assert time.perf_counter() - started < 8
