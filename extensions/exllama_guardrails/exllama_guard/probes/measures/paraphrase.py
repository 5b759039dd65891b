"""Other forms of a question, without a model and always the same: frames, order, synonyms, punctuation."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["forms_of"]


_SYNONYMS = {
    "big": "large", "large": "big", "begin": "start", "begins": "starts", "start": "begin",
    "starts": "begins", "began": "started", "started": "began", "show": "display", "shows": "displays",
    "fix": "repair", "happen": "occur", "happens": "occurs", "happened": "occurred", "allow": "permit",
    "allows": "permits", "allowed": "permitted", "need": "require", "needs": "requires", "use": "employ",
    "uses": "employs", "used": "employed", "buy": "purchase", "help": "assist", "get": "obtain",
    "gets": "obtains", "choose": "select", "make": "produce", "makes": "produces", "often": "frequently",
    "quickly": "rapidly", "maximum": "highest", "minimum": "lowest", "purpose": "aim", "reason": "cause",
    "kind": "type", "type": "kind", "error": "fault", "important": "significant",
    "difference": "distinction",
}  # fmt: skip
_ASKS = re.compile(
    r"(?P<word>what|which|who|whom|whose|where|when|why|how)\b|(?:is|are|was|were|do|does|did|can|could|will"
    r"|would|should|has|have|had|may|must)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"^(?P<first>(?:if|when|while|after|before|in|on|at|with|during|for|since)\b[^,?]+),\s+(?P<rest>.+)$",
    re.I,
)
_TAIL = re.compile(r"^(?P<rest>.+?)\s+(?P<last>(?:if|when|while|after|before|during|since)\b[^,?]+)$", re.I)
_WORD = re.compile(r"[^\W\d_]+")


def forms_of(question: str, count: int = 3) -> tuple[str, ...]:
    """At most `count` different forms, the original first; always the same for the same question.

    Names, numbers and quoted text are never touched; a request without words has no other form.
    """
    original = " ".join(question.split())
    if not _WORD.search(original):
        return (original,) if original else ()
    made = [original]
    for change in _CHANGES:
        form = change(original)
        if form and all(_key(form) != _key(other) for other in made):
            made.append(form)
        if len(made) >= count:
            break
    return tuple(made[:count])


def _key(text: str) -> str:
    return " ".join(text.split()).casefold()


def _reordered(text: str) -> str:
    """The leading clause at the end, or the trailing one in front; "" where there is none."""
    stem, end = _split_end(text)
    found = _CLAUSE.match(stem)
    if found:
        return f"{_upper_first(found['rest'])} {_lower_first(found['first'])}{end}"
    found = _TAIL.match(stem)
    if found and len(found["rest"].split()) > 2:
        return f"{_upper_first(found['last'])}, {_lower_first(found['rest'])}{end}"
    return ""


def _synonyms(text: str) -> str:
    """Up to two words of the list replaced, outside quotes and code; "" where none stands there."""
    left = 2

    def swap(match: re.Match[str]) -> str:
        nonlocal left
        other = _SYNONYMS.get(match.group())  # lower case only: a capital may be a name
        if other is None or left == 0:
            return match.group()
        left -= 1
        return other

    parts = re.split(r"(\"[^\"]*\"|“[^”]*”|`[^`]*`)", text)
    changed = [part if index % 2 else _WORD.sub(swap, part) for index, part in enumerate(parts)]
    return "" if left == 2 else "".join(changed)


def _polite(text: str) -> str:
    """The question inside a frame that asks for the same."""
    if _is_question(text):
        return f"Please answer this question: {text}"
    return f"Please do the following: {_lower_first(text)}"


def _colon(text: str) -> str:
    """The same words with another punctuation."""
    stem, end = _split_end(text)
    return f"Question: {stem}{end or '?'}" if _is_question(text) else f"Task: {stem}{end or '.'}"


def _sentence(text: str) -> str:
    """A frame at the end."""
    stem, end = _split_end(text)
    return f"{stem}{end or '.'} Tell me."


_CHANGES: tuple[Callable[[str], str], ...] = (_reordered, _synonyms, _polite, _colon, _sentence)


def _is_question(text: str) -> bool:
    return text.endswith("?") or _ASKS.match(text) is not None


def _split_end(text: str) -> tuple[str, str]:
    stem = text.rstrip("?!. ")
    return stem, text[len(stem) :].strip()


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower_first(text: str) -> str:
    """With a small first letter where the first word is not a name, an abbreviation or I."""
    first = text.split(maxsplit=1)[0] if text else ""
    known = _ASKS.match(text) or _CLAUSE.match(text + ", x") or first.casefold() in _OPENERS
    return text[:1].lower() + text[1:] if known else text


_OPENERS = frozenset(
    [
        "the",
        "a",
        "an",
        "this",
        "that",
        "these",
        "those",
        "explain",
        "describe",
        "list",
        "name",
        "summarise",
        "summarize",
        "give",
        "tell",
    ]
)
