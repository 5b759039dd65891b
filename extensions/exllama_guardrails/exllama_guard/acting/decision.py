"""What to do with an answer because of its verdict, what not, and which of several tries to keep.

Pure decisions over a report; the host's side (host/acting/acting.py) carries them out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.snippets import Snippet
from exllama_guard.core.turns import Action, ClaimKind, Finish, Try, TurnReport


@dataclass(frozen=True, slots=True)
class Way:
    """What the way of a turn through the host allows."""

    continued: bool = False  # the reply goes on with an answer that is already there
    tool_turn: bool = False  # it answers a tool's result, or could call a tool
    bound: bool = False  # a grammar or a JSON Schema holds its form
    notebook: bool = False  # the text on the page is the next prompt
    sent: bool = False  # what was generated is with the client and cannot be taken back


@dataclass(frozen=True, slots=True)
class Decision:
    """What the settings ask for, what will be done, and why it is less than asked ("" where it is not)."""

    wanted: Action
    action: Action
    why: str = ""


def wanted_for(gate: Gate, on_fail: str, on_review: str) -> Action:
    """What the settings ask for at this verdict; a PASS and an answer that was not measured are shown."""
    if gate is Gate.FAIL:
        return Action(on_fail)
    return Action(on_review) if gate is Gate.REVIEW else Action.SHOW


def decide(report: TurnReport, way: Way, *, on_fail: str, on_review: str) -> Decision:
    """What is to be done with the answer of `report`.

    A greeting, a refusal, code and a tool call state nothing, so their verdict is NOT_MEASURED and nothing
    is done.
    """
    wanted = wanted_for(report.verdict.gate, on_fail, on_review)
    if wanted is Action.SHOW:
        return Decision(wanted, Action.SHOW)
    if report.finish is not Finish.COMPLETE:
        return Decision(wanted, Action.SHOW, "The reply ended early, so it stands as it is.")
    if way.bound or _is_json(report.answer):
        why = "The answer is JSON, or bound to a grammar or a JSON Schema, which other text would break."
        return Decision(wanted, Action.SHOW, why)
    action, why = _allowed(wanted, way)
    if action is Action.ANNOTATE and way.notebook:
        line = "The page's text is its next prompt here, so no line is written into it."
        return Decision(wanted, Action.SHOW, line)
    return Decision(wanted, action, why)


def decide_unchecked(answer: str, way: Way, wanted: Iterable[Action], why: str, *, refuse: bool) -> Decision:
    """What is to be done with an answer whose verdict did not come: `why` says so in one sentence.

    `refuse` is the user's choice for an answer that could have been refused; else a line under it tells.
    """
    asked = max(wanted, key=_MOST.index)
    if asked is Action.SHOW:
        return Decision(asked, Action.SHOW)
    if way.bound or _is_json(answer):
        return Decision(asked, Action.SHOW, why)
    if asked is Action.REFUSE and refuse and not (way.continued or way.sent):
        return Decision(asked, Action.REFUSE, why)
    return Decision(asked, Action.SHOW if way.notebook else Action.ANNOTATE, why)


_MOST = (Action.SHOW, Action.ANNOTATE, Action.REPAIR, Action.REFUSE)


def _is_json(answer: str) -> bool:
    text = answer.strip()
    if not text.startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _allowed(wanted: Action, way: Way) -> tuple[Action, str]:
    """`wanted`, or a line under the answer where the way does not allow it, with the reason."""
    if wanted is Action.ANNOTATE:
        return wanted, ""
    done = "repaired" if wanted is Action.REPAIR else "refused"
    if way.continued:
        return Action.ANNOTATE, f"An answer that continues another is not {done}, only annotated."
    if way.sent:
        return Action.ANNOTATE, f"A streamed answer was sent already; it is not {done}, only annotated."
    if way.tool_turn and wanted is Action.REPAIR:
        return Action.ANNOTATE, "A turn with tools is not repaired, because a tool could run twice."
    return wanted, ""


# --- tries ----------------------------------------------------------------------------------------------


def repair_snippets(report: TurnReport, farthest: float = 0.60) -> tuple[Snippet, ...]:
    """The snippets for a new try: the anchor first, the others in their order, those too far left out.

    Source: the seed study's variance clamp; a snippet whose ΔS(question, snippet) exceeds `farthest` is
    left out, one that was not scored stays. The anchor always stays.
    """
    snippets = report.request.snippets
    distances = dict(enumerate(report.distances.question_context.each))
    near = [
        index
        for index in range(len(snippets))
        if isinstance(distance := distances.get(index, 0.0), NotScored) or distance <= farthest
    ]
    first = anchor_index(report)
    order = [first] if first is not None else []
    return tuple(snippets[index] for index in [*order, *(i for i in near if i != first)])


def anchor_index(report: TurnReport) -> int | None:
    """Index of the snippet that an answer must rest on: the given anchor, else the nearest to the question.

    What an unsupported answer happens to resemble is no anchor, so without scores it is the first one.
    """
    snippets = report.request.snippets
    given = report.request.anchor
    if given is not None:
        ids = [snippet.snippet_id for snippet in snippets]
        return ids.index(given.snippet_id) if given.snippet_id in ids else None
    each = report.distances.question_context.each
    scored = [(value, index) for index, value in enumerate(each) if not isinstance(value, NotScored)]
    if scored:
        return min(scored)[1]
    return 0 if snippets else None


_RANK = {Gate.PASS: 4, Gate.REVIEW: 3, Gate.FAIL: 1, Gate.NOT_MEASURED: 0}
# Of two answers with the same verdict that the same documents support equally, nine in ten pairs differ by
# less than this (read on the SummEdits rows of the development data: tests/bench/repair_margin.py).
SUPPORT_NOISE = 0.11


def standing(report: TurnReport) -> tuple[int, float]:
    """How good a try is: by verdict, then by support; higher is better.

    An answer that says the snippets do not hold it stands between REVIEW and FAIL: it claims nothing wrong.
    """
    support = report.support.support
    if isinstance(support, NotScored):
        says_so = support.reason is Reason.NO_CLAIMS and any(
            claim.kind is ClaimKind.REFUSAL for claim in report.support.claims
        )
        return (2 if says_so else 0), 0.0
    return _RANK[report.verdict.gate], support


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try as it went: its report where it could be scored, else why it could not."""

    answer: str
    report: TurnReport | None
    took_s: float = 0.0
    problem: str = ""


def choose(attempts: tuple[Attempt, ...]) -> tuple[int, tuple[Try, ...]]:
    """Index of the attempt to keep, the best supported of those that were scored, and all as tries.

    The first attempt must be scored. A later one takes its place with a better verdict, or with the same
    one and support that is higher by more than `SUPPORT_NOISE`.
    """
    standings = [standing(one.report) if one.report is not None else (-1, 0.0) for one in attempts]
    kept = 0
    for index, (rank, support) in enumerate(standings):
        kept_rank, kept_support = standings[kept]
        if rank > kept_rank or (rank == kept_rank and support > kept_support + SUPPORT_NOISE):
            kept = index
    return kept, tuple(_try(one, kept=index == kept) for index, one in enumerate(attempts))


def _try(attempt: Attempt, *, kept: bool) -> Try:
    report = attempt.report
    if report is None:
        why = NotScored(Reason.FAILED, attempt.problem)
        return Try(attempt.answer, why, Gate.NOT_MEASURED, why, attempt.took_s, kept, attempt.problem)
    return Try(
        answer=report.answer,
        support=report.support.support,
        gate=report.verdict.gate,
        relevance=report.relevance.relevance,
        took_s=attempt.took_s,
        kept=kept,
        problem=attempt.problem,
    )
