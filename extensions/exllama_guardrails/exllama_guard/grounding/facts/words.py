"""Facts of a statement that are words, not numbers: negation, opposites, roles, names, quotes and their like."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.grounding.facts.aligning import candidates, evidence_of
from exllama_guard.grounding.facts.bounds import bound_facts
from exllama_guard.grounding.facts.name_checks import name_facts
from exllama_guard.grounding.facts.parsing import parsed
from exllama_guard.grounding.facts.polarity import polarity_facts
from exllama_guard.grounding.facts.roles import order_facts, role_facts
from exllama_guard.grounding.facts.slots import slot_facts
from exllama_guard.grounding.facts.sources import attribution_facts, citation_facts, quote_facts
from exllama_guard.grounding.facts.values import Fact, Unit


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
    read = parsed(statement, language)
    evidence = evidence_of(tuple(units), language)
    chosen = candidates(read, evidence, near)
    return (
        *polarity_facts(read, evidence, chosen),
        *slot_facts(read, evidence, chosen),
        *name_facts(read, evidence, chosen, question, before),
        *quote_facts(statement, evidence),
        *citation_facts(statement, read, evidence, chosen),
        *attribution_facts(read, evidence, chosen, before),
        *bound_facts(read, evidence, chosen),
        *role_facts(read, evidence, chosen),
        *order_facts(read, evidence, chosen, before),
    )
