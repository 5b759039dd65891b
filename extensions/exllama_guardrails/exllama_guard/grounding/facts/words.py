"""Facts of a statement that are words, not numbers: negation, roles, names, quotes and their like."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.grounding.facts.aligning import candidates, evidence_of
from exllama_guard.grounding.facts.answering import absence_facts, answer_facts
from exllama_guard.grounding.facts.modality import bound_facts
from exllama_guard.grounding.facts.name_checks import name_facts
from exllama_guard.grounding.facts.parsing import parsed
from exllama_guard.grounding.facts.polarity import polarity_facts
from exllama_guard.grounding.facts.roles import order_facts, role_facts
from exllama_guard.grounding.facts.slots import slot_facts
from exllama_guard.grounding.facts.sources import attribution_facts, citation_facts, quote_facts
from exllama_guard.grounding.facts.values import Fact, Unit
from exllama_guard.grounding.statements import Kind, statements_of

_MOST_CHARACTERS = 2000  # of a statement or a unit that are read; segments are cut below that


def word_facts(
    statement: str,
    units: Sequence[Unit],
    near: Sequence[int],
    *,
    question: str = "",
    before: str = "",
    language: str = "en",
) -> tuple[Fact, ...]:
    """The facts of one statement that are words, each held against the evidence in its place.

    Args:
        statement: One statement of the answer.
        units: All units of the evidence, some hundreds at most.
        near: Indices of the units that bear on the statement most, best first.
        question: What the user asked; "" where that is not known.
        before: The answer's text before the statement.
        language: ISO 639-1 code; a text that shows its own language is read in that.
    """
    statement = statement[:_MOST_CHARACTERS]
    read = parsed(statement, language)
    evidence = evidence_of(tuple(units), language)
    chosen = candidates(read, evidence, near)
    said = [one for one in statements_of(statement, language) if one.kind is Kind.ABSTENTION]
    if said:
        absent = " ".join(one.absent for one in said)
        return tuple(absence_facts(absent, read, evidence, chosen, question, language))
    return (
        *polarity_facts(read, evidence, chosen),
        *answer_facts(read, evidence, chosen, question, language),
        *slot_facts(read, evidence, chosen),
        *name_facts(read, evidence, chosen, question, before),
        *quote_facts(statement, evidence),
        *citation_facts(statement, read, evidence, chosen),
        *attribution_facts(read, evidence, chosen, before),
        *bound_facts(read, evidence, chosen),
        *role_facts(read, evidence, chosen),
        *order_facts(read, evidence, chosen, before),
    )
