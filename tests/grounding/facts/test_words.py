"""Facts that are words, kind by kind: what contradicts, and what only says it otherwise."""

from __future__ import annotations

import time

import pytest
from exllama_guard.grounding.facts.values import Fact, FactKind, Status, Unit
from exllama_guard.grounding.facts.words import word_facts


def facts(
    statement: str, *evidence: str, question: str = "", before: str = "", language: str = "en"
) -> tuple[Fact, ...]:
    units = [Unit(f"s{number}", text) for number, text in enumerate(evidence, 1)]
    return word_facts(
        statement, units, range(len(units)), question=question, before=before, language=language
    )


def conflicts(statement: str, *evidence: str, **keys: str) -> list[FactKind]:
    return [one.kind for one in facts(statement, *evidence, **keys) if one.status is Status.CONFLICT]


POLARITY = [
    ("en", "The drug is safe for children under six.", "The drug is not safe for children under six."),
    ("en", "Deleted points can be restored by the admin.", "Deleted points cannot be restored by the admin."),
    ("en", "Parking fees are never refunded to visitors.", "Parking fees are refunded to visitors."),
    (
        "en",
        "The offer does not include free delivery to islands.",
        "The offer does include free delivery to islands.",
    ),
    ("en", "Dogs are not forbidden in the park.", "Dogs are forbidden in the park."),
    ("en", "The company never made a profit.", "The company made a profit."),
    ("es", "El registro no es obligatorio.", "El registro es obligatorio."),
    ("de", "Der Zug hält am Sonntag in Neustadt.", "Der Zug hält am Sonntag nicht in Neustadt."),
    ("de", "Kinder brauchen für die Fähre keine Fahrkarte.", "Kinder brauchen für die Fähre eine Fahrkarte."),
    (
        "fr",
        "Les billets achetés en ligne sont remboursés.",
        "Les billets achetés en ligne ne sont pas remboursés.",
    ),
    ("es", "Los pendientes de oro se pueden devolver.", "Los pendientes de oro no se pueden devolver."),
    ("it", "I biglietti scontati vengono rimborsati.", "I biglietti scontati non vengono rimborsati."),
    (
        "pt",
        "Os bilhetes com desconto podem ser trocados.",
        "Os bilhetes com desconto não podem ser trocados.",
    ),
    ("ru", "Студенческая скидка действует летом.", "Студенческая скидка не действует летом."),
    ("zh", "滤芯可以水洗后重复使用。", "滤芯不可以水洗后重复使用。"),
    ("ja", "犬は塔の中に入れます。", "犬は塔の中に入れません。"),
    ("ar", "يغطي الضمان أضرار التركيب الخاطئ.", "لا يغطي الضمان أضرار التركيب الخاطئ."),
    ("hi", "सदस्यों को पार्किंग शुल्क में छूट मिलेगी।", "सदस्यों को पार्किंग शुल्क में छूट नहीं मिलेगी।"),
]


@pytest.mark.parametrize(("language", "statement", "unit"), POLARITY)
def test_a_negation_dropped_or_added_contradicts(language: str, statement: str, unit: str) -> None:
    assert FactKind.POLARITY in conflicts(statement, unit, language=language)
    assert FactKind.POLARITY in conflicts(unit, statement, language=language)


@pytest.mark.parametrize(("language", "statement", "unit"), POLARITY)
def test_the_same_sentence_never_contradicts_itself(language: str, statement: str, unit: str) -> None:
    assert conflicts(statement, statement, language=language) == []
    assert conflicts(unit, unit, language=language) == []
    assert conflicts(statement, unit, statement, language=language) == []


SAME = [
    ("Breakfast doesn't count against your allowance.", "Breakfast is not deducted from your allowance."),
    ("dF isn't a malfunction.", "dF is shown while defrosting. This is not a fault."),
    ("The motion passed with no votes against.", "Nobody voted against the motion."),
    ("Not only members may use the pool, guests may too.", "Members and guests may use the pool."),
    ("The tour has no guide.", "The tour is without a guide."),
    ("The tractor driver was not hurt in the crash.", "The tractor driver was unhurt in the crash."),
    ("You must file the claim no later than Monday.", "You must file the claim by Monday."),
    ("Only the chair can lift a hold.", "Members cannot lift a hold; the chair can."),
    (
        "Use the printer, not the scanner, for the form.",
        "For the form use the printer instead of the scanner.",
    ),
    ("It is not high.", "It is low."),
]


@pytest.mark.parametrize(("statement", "unit"), SAME)
def test_the_same_in_other_words_does_not_contradict(statement: str, unit: str) -> None:
    assert conflicts(statement, unit) == []


OPPOSITES = [
    ("Prices for adult tickets increased in May.", "Prices for adult tickets decreased in May."),
    ("The upper spray arm of the machine is blocked.", "The lower spray arm of the machine is blocked."),
    (
        "The training course in spring is optional for staff.",
        "The training course in spring is mandatory for staff.",
    ),
    ("Smoking on the terrace is allowed after dinner.", "Smoking on the terrace is forbidden after dinner."),
    ("Submit the form before the first payment arrives.", "Submit the form after the first payment arrives."),
    ("The oldest reading of the user is replaced.", "The newest reading of the user is replaced."),
]


@pytest.mark.parametrize(("statement", "unit"), OPPOSITES)
def test_an_opposite_in_the_same_place_contradicts(statement: str, unit: str) -> None:
    assert conflicts(statement, unit) != []
    assert conflicts(unit, statement) != []
    assert conflicts(statement, unit, statement) == []


def test_not_only_affirms() -> None:
    unit = "The tax covers not only cars but also motorcycles."
    assert FactKind.POLARITY in conflicts("The tax does not cover cars.", unit)
    assert conflicts("The tax covers cars and motorcycles.", unit) == []


def test_two_opposites_in_one_text_are_a_list_not_a_contradiction() -> None:
    assert (
        conflicts("The upper arm and the lower arm turn.", "Both the lower arm and the upper arm turn.") == []
    )


def test_a_question_of_the_evidence_says_nothing() -> None:
    assert conflicts("The dial does not exist on the 300.", "Does the dial exist on the 300?") == []


NAMES = [
    ("The WHO published the report.", "The World Health Organization published the report."),
    ("The office is in NYC.", "The office is in New York City."),
    ("The US DOE paid for the plant.", "The U.S. Department of Energy paid for the plant."),
    ("In EMEA it takes 30 days.", "In Europe, the Middle East and Africa it takes 30 days."),
    ("The HRB signed it.", "The Harbour Review Board signed it."),
    ("It closes on Monday in March.", "It closes on the first day of the week in the third month."),
    ("Sundays are free.", "On Sunday entry is free."),
    ("Müller signed.", "Muller signed."),
    ("Tomorrow Lena Vogt opens it.", "Lena Vogt opens it."),
]


@pytest.mark.parametrize(("statement", "unit"), NAMES)
def test_a_name_shortened_or_written_otherwise_is_held(statement: str, unit: str) -> None:
    assert [one for one in facts(statement, unit) if one.kind is FactKind.NAME] == []


def test_a_name_that_nothing_holds_is_absent_and_one_that_the_user_said_is_not() -> None:
    found = facts("The tower was designed by Amir Saleh.", "The tower is 84 metres tall.")
    assert [(one.kind, one.status, one.text) for one in found] == [
        (FactKind.NAME, Status.ABSENT, "Amir Saleh")
    ]
    asked = facts("Amir Saleh is not named.", "The tower is tall.", question="Did Amir Saleh build it?")
    assert [one for one in asked if one.kind is FactKind.NAME] == []


def test_german_nouns_are_no_names() -> None:
    assert facts("Die Rechnung kommt mit der Lieferung.", "Der Beleg liegt bei.", language="de") == ()


def test_a_name_in_the_place_of_another_contradicts() -> None:
    evidence = ("The tower was designed by Lena Vogt.", "Otto Keller paid for the roof.")
    found = facts("The tower was designed by Otto Keller.", *evidence)
    assert [(one.kind, one.status) for one in found] == [(FactKind.NAME, Status.CONFLICT)]
    assert "Lena Vogt" in found[0].reason
    assert facts("The tower was designed by Lena Vogt.", *evidence) == ()


@pytest.mark.parametrize(
    ("statement", "unit", "kind"),
    [
        ("Union beat Hertha in the final.", "Hertha beat Union in the final.", FactKind.ROLE),
        ("The church is older than the tower.", "The tower is older than the church.", FactKind.ROLE),
    ],
)
def test_swapped_roles_contradict(statement: str, unit: str, kind: FactKind) -> None:
    assert conflicts(statement, unit) == [kind]
    assert conflicts(unit, unit) == []


def test_active_and_passive_say_the_same() -> None:
    assert conflicts("Beer Ltd was acquired by Falk AG.", "Falk AG acquired Beer Ltd.") == []


def test_steps_in_the_wrong_order_contradict() -> None:
    units = [Unit("s1", "Restart the computer."), Unit("s1", "Log in with the staff card.")]
    before = "Do this:\n\n1. Log in with the staff card.\n2. "
    turned = word_facts("Restart the computer.", units, (0, 1), before=before)
    assert [one.kind for one in turned] == [FactKind.ORDER]
    right = "Do this:\n\n1. Restart the computer.\n2. "
    assert word_facts("Log in with the staff card.", units, (1, 0), before=right) == ()


@pytest.mark.parametrize(
    ("statement", "unit", "held"),
    [
        ('He said "It ran all week ... without a leak."', '"It ran all week, then, without a leak."', True),
        ('It says "uptime >= 99.9 % - measured monthly".', "“uptime ≥ 99.9 % — measured monthly…”", True),
        ('He called it "a disgrace".', 'He called it "a joke".', False),
        ('The page says "all users may edit every page".', "Only admins may edit a page.", False),
    ],
)  # fmt: skip
def test_a_quotation_is_held_word_for_word_or_told(statement: str, unit: str, held: bool) -> None:
    assert (not [one for one in facts(statement, unit) if one.kind is FactKind.QUOTE]) == held


def test_a_citation_of_no_snippet_is_a_gap_and_a_wrong_one_is_told_the_right_one() -> None:
    evidence = ("The tower was designed by Lena Vogt.", "The tower is 84 metres tall.")
    ghost = facts("The tower was designed by Lena Vogt [7].", *evidence)
    assert [(one.status, one.reason) for one in ghost] == [
        (Status.ABSENT, "The answer cites [7]; there are only 2 snippets.")
    ]
    wrong = facts("The tower was designed by Lena Vogt [2].", *evidence)
    assert [(one.status, one.reason) for one in wrong] == [
        (Status.CONFLICT, "The answer cites [2]; the words stand in s1.")
    ]
    for right in ("[1]", "(s1)", "【1†source】", "[^1]"):
        assert facts(f"The tower was designed by Lena Vogt {right}.", *evidence) == ()


def test_a_claim_of_somebody_is_not_a_fact() -> None:
    unit = "Critics claim that the new bridge will cost the city twice the budget."
    assert FactKind.ATTRIBUTION in conflicts("The new bridge will cost the city twice the budget.", unit)
    assert conflicts("Critics say that the new bridge will cost the city twice the budget.", unit) == []


def test_another_mouth_contradicts() -> None:
    said = "said that the ramp is missing on the eastern side."
    evidence = (f"Darya Zimina {said}", "Mayor Igor Veshnyakov opened the bridge.")
    found = conflicts(f"Igor Veshnyakov {said}", *evidence)
    assert {FactKind.ATTRIBUTION, FactKind.NAME} & set(found)
    assert conflicts("According to Darya Zimina, the ramp is missing on the eastern side.", *evidence) == []


@pytest.mark.parametrize(
    ("statement", "unit"),
    [
        ("Visitors must register at the front desk.", "Visitors may register at the front desk."),
        ("All hydrologists blame the canal for the fall.", "Most hydrologists blame the canal for the fall."),
        (
            "The vendor has already shipped the fix for the meter.",
            "The vendor will ship the fix for the meter in June.",
        ),
    ],
)
def test_how_bound_and_how_many_is_compared(statement: str, unit: str) -> None:
    assert conflicts(statement, unit) != []
    assert conflicts(unit, unit) == []


def test_a_bare_yes_or_no_is_read_with_its_question() -> None:
    unit = "Opened items can be returned within 14 days."
    assert FactKind.POLARITY in conflicts("No.", unit, question="Can I return an opened item?")
    assert conflicts("Yes.", unit, question="Can I return an opened item?") == []
    denied = "Opened items cannot be returned."
    assert FactKind.POLARITY in conflicts("Yes, you can.", denied, question="Can opened items be returned?")
    assert conflicts("No.", denied, question="Can opened items be returned?") == []


def test_an_abstention_is_wrong_where_the_evidence_answers() -> None:
    held = "The museum opens at 10:00 from Tuesday to Sunday."
    question = "When does the museum open?"
    assert conflicts("The text does not mention when the museum opens.", held, question=question) != []
    assert (
        conflicts("The text does not mention who the director is.", held, question="Who is the director?")
        == []
    )


def test_a_reason_names_what_both_texts_say() -> None:
    for _, statement, unit in POLARITY:
        for one in facts(statement, unit):
            for quoted in one.reason.split("“")[1:]:
                word = quoted.split("”")[0]
                assert word in statement or word in unit
            assert one.text == statement[one.start : one.end]


@pytest.mark.parametrize(
    "text",
    [
        "not " * 25000,
        "A" * 100000,
        "“a b c " * 16000,
        "[1" * 50000,
        "不" * 100000,
        "Aa Bb " * 16000,
        "before " * 14000,
    ],
)
def test_hostile_text_is_read_in_time(text: str) -> None:
    started = time.perf_counter()
    facts(text, "The limit is not 9000 for Lena Vogt.", text[:2000])
    assert time.perf_counter() - started < 10
