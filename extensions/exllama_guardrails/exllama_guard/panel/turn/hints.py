"""What a reader may have missed about a turn, in one sentence; no markup."""

from __future__ import annotations

from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import Origin
from exllama_guard.core.turns import Finish, TurnReport

__all__ = ["hint"]

_PASTED_WORDS = 40  # a question so long holds more than a question
_GIVEN = (Origin.MARKED_BLOCK, Origin.PASTED, Origin.HANDED_OVER)


def hint(report: TurnReport) -> str:
    """What to do where a text stands in the question, which is no snippet; "" where none seems to."""
    if report.finish is Finish.STREAMING or report.verdict.gate is Gate.PASS:
        return ""
    request = report.request
    given = any(snippet.origin in _GIVEN for snippet in request.snippets)
    if given or len(request.question.split()) < _PASTED_WORDS:
        return ""
    return (
        "A text inside the question is not checked against. If the answer rests on one, attach it as a file, "
        "hand it over in a marked block (docs/handing_over.md), or use the tab Check."
    )
