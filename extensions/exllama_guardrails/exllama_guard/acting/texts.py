"""The texts that acting writes: a line under an answer, a refusal in its place, the message of a repair.

They hold words of answers and snippets, which anybody may have written, and stand in the host's Markdown and
HTML, so every quoted text loses what either could read as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.core.snippets import Snippet
from exllama_guard.core.turns import ClaimSupport, Severity, TurnReport

_MARK = "⚠ Guardrails: "
# What stays: letters and digits of every script, and signs that neither Markdown, HTML nor TeX reads.
_UNSAFE = re.compile(r"[^\w\s.,;:!?%'’‘“”()/+=°€£¥§…–—-]|(?<![^\W_])_|_(?![^\W_])", re.UNICODE)
_ADDRESS = re.compile(
    r"\b(?:https?|ftp)://|\bwww\.|\bmailto:", re.IGNORECASE
)  # made a link by some renderers
_LINE = re.compile(rf"(?<!\n)\n*^{re.escape(_MARK)}[^\n]*(?:\n+|\Z)", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_QUOTED_CHARACTERS = 80
_PASSAGE_CHARACTERS = 280
_CLAIMS_NAMED = 2
_PASSAGES_NAMED = 3
_CITED_NAMED = 8


def plain(text: str, most: int) -> str:
    """`text` on one line, at most `most` characters, without anything that Markdown, HTML or TeX reads."""
    text = " ".join(_UNSAFE.sub(" ", _ADDRESS.sub("", text)).split())
    text = re.sub(r"-{2,}|={2,}", " ", text).strip()
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def counted(report: TurnReport) -> tuple[ClaimSupport, ...]:
    """The statements that count for or against the answer."""
    return tuple(claim for claim in report.support.claims if isinstance(claim.support, float))


def annotation(report: TurnReport, *, citations: bool = False) -> str:
    """One line for under the answer, with the blank line before it; closes a code block left open."""
    cited = f" {_cited(report)}" if citations else ""
    return f"{_closed(report.answer)}\n\n{_MARK}{_what_is_wrong(report)}{cited}"


def _closed(answer: str) -> str:
    """What ends a code block that the answer left open."""
    return "\n```" if len(_FENCE.findall(answer)) % 2 else ""


def unchecked_line(answer: str, why: str) -> str:
    """The line for under an answer without a verdict, the blank line before it; `why` is a sentence."""
    return f"{_closed(answer)}\n\n{_MARK}this answer was not checked. {plain(why, _PASSAGE_CHARACTERS)}"


def unchecked_refusal(why: str) -> str:
    """What stands in the place of an answer that had no verdict and is not to be shown without one."""
    return (
        f"The model's answer was held back, because it was not checked. {plain(why, _PASSAGE_CHARACTERS)}"
        f"\n\n{_ORIGINAL}"
    )


AWAITED = "The check is still being loaded; this answer waits for its verdict."


def second_try(report: TurnReport) -> str:
    """What the page says while a repair of that first answer runs."""
    why = "failed" if report.verdict.gate is Gate.FAIL else "needs a second look"
    return f"The first answer {why}; another one is being written from the passages."


def without_annotation(text: str) -> str:
    """`text` without the lines that `annotation` writes: an API client sends them back as history."""
    if _MARK not in text:
        return text
    return _LINE.sub(lambda found: "\n\n" if found.end() < len(text) else "", text)


def _what_is_wrong(report: TurnReport) -> str:
    claims = counted(report)
    wrong = [claim for claim in claims if claim.gate is Gate.FAIL]
    how = "not in your documents"
    if not wrong:
        wrong = [claim for claim in claims if claim.gate is Gate.REVIEW]
        how = "not clearly in your documents"
    if not wrong:
        return _doubt(report)
    verb = "is" if len(wrong) == 1 else "are"
    noun = "statement" if len(claims) == 1 else "statements"
    named = ", ".join(f"“{plain(claim.text, _QUOTED_CHARACTERS)}”" for claim in wrong[:_CLAIMS_NAMED])
    more = ", …" if len(wrong) > _CLAIMS_NAMED else "."
    return f"{len(wrong)} of {len(claims)} {noun} {verb} {how}: {named}{more}"


def _doubt(report: TurnReport) -> str:
    """Why an answer without an unsupported statement is no pass."""
    if report.relevance.gate is Gate.REVIEW:
        return "this may be beside the question: it takes up little of what was asked."
    if report.distance_gate is Gate.FAIL:
        return "what was found in your documents may be about something else than the question."
    return "look at this answer again; the guardrails' panel says why."


def _cited(report: TurnReport) -> str:
    """Which snippet supports which statement, such as `Supported: statement 1 [s1], 2 [s3]`."""
    supported = [
        f"{number} [{plain(claim.evidence.snippet_id, 40)}]"
        for number, claim in enumerate(counted(report), start=1)
        if claim.gate is Gate.PASS and claim.evidence is not None
    ]
    if not supported:
        return "No statement is supported."
    more = ", …" if len(supported) > _CITED_NAMED else "."
    return f"Supported: statement {', '.join(supported[:_CITED_NAMED])}{more}"


# --- refuse ---------------------------------------------------------------------------------------------


_ORIGINAL = "The answer itself is in the guardrails' panel of the WebUI: Details, under the chat."


def refusal(report: TurnReport) -> str:
    """What stands in the answer's place: what was measured, the nearest passages, where the answer is."""
    claims = counted(report)
    missing = [claim for claim in claims if claim.gate is not Gate.PASS]
    missing.sort(key=lambda claim: claim.support if isinstance(claim.support, float) else 1.0)
    listed = [f"- {_measured(claim)}" for claim in missing[:_CLAIMS_NAMED]]
    parts = [f"The model's answer was held back: {_held_back_for(missing, len(claims), report)}"]
    parts += ["\n".join(listed)] if listed else []
    passages = nearest_passages(report)
    if passages:
        quoted = (f"- “{plain(text, _PASSAGE_CHARACTERS)}” {_name(snippet)}" for snippet, text in passages)
        parts += ["The passages nearest to the question:", "\n".join(quoted)]
    return "\n\n".join([*parts, _ORIGINAL])


def _held_back_for(missing: Sequence[ClaimSupport], claims: int, report: TurnReport) -> str:
    if not missing:
        return _doubt(report)
    verb = "was" if len(missing) == 1 else "were"
    noun = "statement" if claims == 1 else "statements"
    how = "not" if any(claim.gate is Gate.FAIL for claim in missing) else "only partly"
    shown = ":" if len(missing) <= _CLAIMS_NAMED else f"; the {_CLAIMS_NAMED} least supported:"
    return (
        f"{len(missing)} of {claims} {noun} {verb} measured as {how} supported by what was retrieved{shown}"
    )


def _measured(claim: ClaimSupport) -> str:
    """A statement with what was found of it, such as `“It takes 4 hours.” (support 0.08: …)`."""
    value = f"support {claim.support:.2f}" if isinstance(claim.support, float) else "not measured"
    found = next((f for f in claim.findings if f.severity is not Severity.NOTE), None)
    why = f": {plain(found.message, _QUOTED_CHARACTERS * 2)}" if found is not None else ""
    return f"“{plain(claim.text, _QUOTED_CHARACTERS)}” ({value}{why})"


def nearest_passages(report: TurnReport, most: int = _PASSAGES_NAMED) -> tuple[tuple[Snippet, str], ...]:
    """The snippets nearest to the question, each with the part that came closest to what was said."""
    snippets = report.request.snippets
    each = report.distances.question_context.each
    far = [2.0 if isinstance(value, NotScored) else value for value in each] or [2.0] * len(snippets)
    order = sorted(range(len(snippets)), key=lambda index: (far[index], index))[:most]
    best = _best_evidence(report.support.claims)
    return tuple((snippets[i], best.get(snippets[i].snippet_id, snippets[i].text)) for i in order)


def _best_evidence(claims: Iterable[ClaimSupport]) -> dict[str, str]:
    found: dict[str, tuple[float, str]] = {}
    for claim in claims:
        evidence = claim.evidence
        if evidence is not None and evidence.overlap > found.get(evidence.snippet_id, (0.0, ""))[0]:
            found[evidence.snippet_id] = (evidence.overlap, evidence.text)
    return {snippet_id: text for snippet_id, (_, text) in found.items()}


def _name(snippet: Snippet) -> str:
    """Its id and file, such as `[s1] notes.md`; an attached file's name is its section."""
    source = snippet.source_url.rstrip("/").rsplit("/", 1)[-1]
    named = "" if "section_id" in snippet.derived else snippet.section_id
    shown = named if source.startswith("sha256:") else source
    return f"[{plain(snippet.snippet_id, 40)}] {plain(shown, 60)}".rstrip()


# --- repair ---------------------------------------------------------------------------------------------

SAYS_NOT = "The documents do not say."


def repair_message(question: str, snippets: Sequence[Snippet]) -> str:
    """The user's message of a new try: passages under their ids, the question, and what to do with them."""
    passages = "\n\n".join(f"[{snippet.snippet_id}] {snippet.text.strip()}" for snippet in snippets)
    first = snippets[0].snippet_id if snippets else "s1"
    return (
        f"{passages}\n\n"
        "Answer the question below from these passages only. After each sentence name the passage that says "
        f'it, such as [{first}]. If the passages do not hold the answer, write: "{SAYS_NOT}"\n\n'
        f"Question: {question.strip()}"
    )
