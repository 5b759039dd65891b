"""Statements that a person can predict, and models that answer about them as they are made to."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import Span, make_snippet
from exllama_guard.core.turns import Evidence, Finish, TurnReport, TurnRequest
from exllama_guard.grounding import with_support
from exllama_guard.second_reader import KnownStatement, LoadedReader, assessed, measure_reader
from exllama_guard.testing import ReadingBackend, scored

TURNED = "Does the statement say anything that the text does not"


def known(count: int = 200) -> list[KnownStatement]:
    """Half of them right: the statement gives the pressure of the document, or ten more."""
    rows = []
    for number in range(count):
        right = number % 2 == 0
        document = f"Valve {number} opens at {number + 20} bar."
        said = f"It is valve {number} and {number + (20 if right else 30)} bar."
        rows.append(KnownStatement(f"When does valve {number} open?", document, said, said, right))
    return rows


def undecided_report(question: str, document: str, answer: str, support: float = 0.35) -> TurnReport:
    """A report with one statement between the limits, its evidence the document."""
    request = TurnRequest("turn", question, (make_snippet(document, position=0),))
    report = replace(scored(request, answer), finish=Finish.COMPLETE)
    snippet = report.request.snippets[0]
    evidence = Evidence(snippet.snippet_id, Span(0, len(document)), document, 0.8)
    claim = replace(report.support.claims[0], support=support, gate=Gate.REVIEW, evidence=evidence)
    return with_support(
        report,
        replace(report.support, support=support, gate=Gate.REVIEW, claims=(claim,), findings=()),
        "between the limits",
    )


def weakly(question: str, document: str, answer: str) -> TurnReport:
    """A check that is right in 7 of 10 cases, by the hash of what it reads."""
    right = is_right(f"{document}{answer}")
    good = right == (zlib.crc32(answer.encode()) % 10 < 7)
    return undecided_report(question, document, answer, 0.6 if good else 0.4)


def is_right(text: str) -> bool:
    """Whether the pressure of a statement stands in the text before it."""
    document, _, statement = text.rpartition("It is valve")
    return f"at {statement.split()[2]} bar" in document


def right_in(tenths: int) -> Callable[[str], float]:
    """A model that is right in so many of ten statements, whichever way it is asked."""

    def says(prompt: str) -> float:
        body = prompt.partition("\n\nDoes the ")[0]
        right = is_right(body)
        statement = body.rpartition("It is valve")[2]
        honest = zlib.crc32(statement.encode()[::-1]) % 10 < tenths
        supported = right == honest
        return 0.9 if supported != (TURNED in prompt) else 0.1

    return says


def at_random(prompt: str) -> float:
    """Nothing to do with what is asked, the same at each run."""
    return 0.05 + 0.9 * (zlib.crc32(prompt.encode()) % 1000) / 1000


def reader_of(says: Callable[[str], float]) -> LoadedReader:
    return LoadedReader("double", ReadingBackend(says), lambda message: f"{message}\n")


def report_of(says: Callable[[str], float]):
    """What the calibration says of such a model."""
    found = measure_reader(known(), reader_of(says), weakly)
    return assessed(found, model="double", model_hash="0" * 64, loader="fake")
