"""Where an answer cites its snippets: [1], [s1], (s1), [1, 2], [1-3], (source or file name), snippet ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlparse

from exllama_guard.core.places import Taken
from exllama_guard.core.snippets import Snippet, Span

_BRACKETS = re.compile(r"(?P<open>[\[(【〔（])(?P<inside>[^\[\]()【】〔〕（）\n]{1,200})[\])】〕）]")
_PART = re.compile(r"[^,;，、；]+")
_NUMBERS = re.compile(
    r"(?:source|sources|snippet|doc|document|ref|s|#|\^)?[\s.:]{0,9}(\d{1,3})"
    r"(?:\s{0,9}(?:-|–|—|to)\s{0,9}s?(\d{1,3}))?(?:\s{0,9}†.*)?",
    re.IGNORECASE,
)
_MOST_IN_RANGE = 50
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Citation:
    """One reference. `span` counts characters of the answer; without an id it resolves to no snippet."""

    span: Span
    text: str
    snippet_id: str | None


def find_citations(answer: str, snippets: Sequence[Snippet]) -> tuple[Citation, ...]:
    """Every citation in `answer`, in order; one entry for each snippet that a list or a range names.

    A number counts the snippets in their order, from 1, unless it is itself a snippet's id. Only in square
    brackets may it resolve to no snippet; in round ones it is then a year or an amount, not a citation.
    """
    names = _names(snippets)
    found: list[Citation] = []
    taken = Taken(len(answer))
    for code in _CODE.finditer(answer) if "`" in answer else ():
        taken.take(*code.span())
    for match in _BRACKETS.finditer(answer):
        if not taken.meets(match.start(), match.start() + 1):
            found.extend(_of_brackets(answer, match, names, snippets))
    for citation in found:
        taken.take(citation.span.start, citation.span.end)
    found.extend(c for c in _bare_ids(answer, snippets) if not taken.meets(c.span.start, c.span.start + 1))
    return tuple(sorted(found, key=lambda citation: (citation.span.start, citation.span.end)))


def _of_brackets(
    answer: str, match: re.Match[str], names: dict[str, str], snippets: Sequence[Snippet]
) -> list[Citation]:
    """Citations inside one pair of brackets; none where any part is neither a name nor a number."""
    whole = Span(match.start(), match.end())
    square = match["open"] in "[【〔"
    if not square and match.start() and answer[match.start() - 1].isalnum():
        return []  # "f(s1)" is an argument
    key = _key(match["inside"])
    if key in names and not key.isdigit():
        return [Citation(whole, match.group(), names[key])]
    out: list[Citation] = []
    parts = list(_PART.finditer(match["inside"]))
    for part in parts:
        resolved = _of_part(part.group(), names, snippets)
        if resolved is None:
            return []
        text = part.group().strip()
        start = match.start("inside") + part.start() + part.group().index(text)
        span = Span(start, start + len(text)) if len(parts) > 1 else whole
        out += [Citation(span, answer[span.start : span.end], snippet_id) for snippet_id in resolved]
    if square:
        return out
    # "(2)" is as often an item of a list, "(2019)" a year.
    resolves = all(citation.snippet_id is not None for citation in out)
    lettered = any(character.isalpha() for character in match["inside"])
    return out if resolves and (lettered or len(out) > 1) else []


def _of_part(part: str, names: dict[str, str], snippets: Sequence[Snippet]) -> list[str | None] | None:
    """Ids that one item of a list names; [None] for a number without a snippet; None: it is no citation."""
    key = _key(part)
    if key in names:
        return [names[key]]
    number = _NUMBERS.fullmatch(part.strip())
    if number is None:
        return None
    first, last = int(number[1]), int(number[2] or number[1])
    if last < first or last - first > _MOST_IN_RANGE:
        return None
    return [
        names.get(str(n)) or (snippets[n - 1].snippet_id if 1 <= n <= len(snippets) else None)
        for n in range(first, last + 1)
    ]


def _bare_ids(answer: str, snippets: Sequence[Snippet]) -> Iterator[Citation]:
    """Ids written without brackets ("as s2 says"); only ids that carry a digit and a letter."""
    ids = [s.snippet_id for s in snippets if _has_letter_and_digit(s.snippet_id)]
    if not ids:
        return
    pattern = "|".join(re.escape(i) for i in sorted(set(ids), key=len, reverse=True))
    known = {snippet_id.casefold(): snippet_id for snippet_id in ids}
    for match in re.finditer(rf"(?<![\w/.-])(?<!\w\()(?:{pattern})(?![\w/-]|\.\w)", answer, re.IGNORECASE):
        span = Span(match.start(), match.end())
        yield Citation(span, match.group(), known.get(match.group().casefold()))


def _has_letter_and_digit(name: str) -> bool:
    return any(sign.isalpha() for sign in name) and any(sign.isdigit() for sign in name)


def _names(snippets: Sequence[Snippet]) -> dict[str, str]:
    """Normalised ids, addresses and file names; the first snippet of a source stands for it."""
    names: dict[str, str] = {}
    for snippet in snippets:
        names.setdefault(_key(snippet.snippet_id), snippet.snippet_id)
    for snippet in snippets:
        url = snippet.source_url
        if url.startswith("sha256:"):
            continue
        path = PurePosixPath(unquote(_path_of(url)).replace("\\", "/"))
        for name in (url, path.name, path.stem if len(path.stem) > 2 and not path.stem.isdigit() else ""):
            if name:
                names.setdefault(_key(name), snippet.snippet_id)
    return names


def _path_of(url: str) -> str:
    """The path of an address; of what is none (`http://[`), all of it."""
    try:
        return urlparse(url).path
    except ValueError:
        return url


def _key(text: str) -> str:
    text = " ".join(text.strip().strip("\"'`“”").split()).casefold()
    return re.sub(r"^(?:source|see|from|file|snippet|quelle|fuente)\s*[:.]?\s+(?=\S)", "", text)
