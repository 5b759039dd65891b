"""Names that the evidence does not hold, and names that stand where the evidence has another."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from exllama_guard.grounding.facts.aligning import Evidence, fit
from exllama_guard.grounding.facts.naming import Name, expansions, names_of
from exllama_guard.grounding.facts.parsing import Parsed
from exllama_guard.grounding.facts.values import Fact, FactKind, Place, Status

_LIKE = 84.0  # rapidfuzz ratio from which two spellings are one name
_SHARE = 0.5
_COUNT = 2


def name_facts(
    statement: Parsed, evidence: Evidence, near: Sequence[int], question: str, before: str
) -> Iterator[Fact]:
    """A gap for each name that nothing holds, a conflict for each that stands in the place of another."""
    names = names_of(statement)
    if not names or evidence.language != statement.language:  # another language writes names otherwise
        return
    known = (question + "\n" + before).casefold()
    for name in names:
        written = name.text.casefold() in evidence.text
        if not written and held(name, evidence):
            continue
        rival = _rival(name, names, statement, evidence, near)
        if rival is not None:
            index, other = rival
            reason = f"The answer says “{name.text}” where {evidence.name(index)} says “{other.text}”."
            place = (Place(index, other.start, other.end),)
            yield Fact(FactKind.NAME, Status.CONFLICT, name.text, name.start, name.end, place, reason, 0.8)
        elif not written and not _spoken_of(name, known):
            reason = f"The answer names “{name.text}”; no snippet does."
            yield Fact(FactKind.NAME, Status.ABSENT, name.text, name.start, name.end, (), reason, 0.8)


def held(name: Name, evidence: Evidence) -> bool:
    """Whether the evidence has a name, spelt like it, shortened or written out."""
    if name.text.casefold() in evidence.text:
        return True
    missing = [word for word in name.words if not _has(word, evidence)]
    if not missing:
        return True
    if len(name.words) > 1 and _initials_in("".join(word[0] for word in name.words), evidence):
        return True
    return all(_shortened(word, evidence) for word in missing)


def _has(word: str, evidence: Evidence) -> bool:
    if word in evidence.words or word.lstrip("@") in evidence.words:
        return True
    bare = word.removesuffix("'s").removesuffix("s")
    if len(bare) > 3 and (bare in evidence.words or f"{bare}s" in evidence.words):
        return True
    return len(word) > 4 and _like(word, evidence)


def _like(word: str, evidence: Evidence) -> bool:
    from rapidfuzz import process
    from rapidfuzz.distance import Levenshtein

    plain = _plain(word)
    near = [one for one in evidence.words if abs(len(one) - len(word)) <= 2 and _plain(one)[:1] == plain[:1]]
    found = process.extractOne(plain, [_plain(one) for one in near], scorer=Levenshtein.normalized_similarity)
    return found is not None and found[1] * 100 >= _LIKE


def _plain(word: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", word) if not unicodedata.combining(sign))


def _initials_in(letters: str, evidence: Evidence) -> bool:
    return len(letters) >= 2 and letters in evidence.words


def _shortened(word: str, evidence: Evidence) -> bool:
    """Whether a word is an abbreviation that everybody knows, or the initials of words of the evidence."""
    bare = word.replace(".", "")
    bare = bare.removesuffix("s") if len(bare) > 3 else bare
    if any(full in evidence.text for full in expansions(bare)):
        return True
    if not 2 <= len(bare) <= 6 or not bare.isalpha():
        return False
    between = r"[^\W\d_]*\W{1,3}(?:(?:of|the|and|for|de|du|des|et|y|di|für|und|der)\W{1,3})?"
    return re.search(rf"\b{between.join(re.escape(sign) for sign in bare)}", evidence.text) is not None


def _spoken_of(name: Name, known: str) -> bool:
    return all(word in known for word in name.words)


def _rival(
    name: Name, names: Sequence[Name], statement: Parsed, evidence: Evidence, near: Sequence[int]
) -> tuple[int, Name] | None:
    """The other name of the one unit that says the rest of the statement; None where that is not plain."""
    rest = [token for token in statement.content if not name.start <= token.start < name.end]
    clause = {token.clause for token in statement.tokens if name.start <= token.start < name.end}
    own = [token for token in rest if token.clause in clause]
    rest = own if len(own) >= 3 else rest
    found: tuple[int, Name] | None = None
    for index in near:
        unit = evidence.parsed[index]
        if unit.language != statement.language:
            continue
        close = fit(rest, unit, evidence.above[index], statement.language)
        inside = all(
            word in unit.text.casefold() or word in " ".join(evidence.units[index].context).casefold()
            for word in name.words
        )
        if inside and close.share >= 0.3:
            return None
        if found is None and not inside and close.at_least(_SHARE, _COUNT):
            other = _in_place(name, names, statement, unit)
            found = (index, other) if other else None
    return found


def _in_place(name: Name, names: Sequence[Name], statement: Parsed, unit: Parsed) -> Name | None:
    """The one name of a unit that stands beside the same words as the statement's name."""
    taken = {word for one in names for word in one.words}
    mine = _neighbours(name, statement)
    free = [one for one in names_of(unit) if taken.isdisjoint(one.words) and mine & _neighbours(one, unit)]
    return free[0] if len(free) == 1 else None


def _neighbours(name: Name, text: Parsed) -> set[tuple[int, str]]:
    before = [token for token in text.content if token.end <= name.start]
    after = [token for token in text.content if token.start >= name.end]
    return {(-1, token.stem) for token in before[-1:]} | {(1, token.stem) for token in after[:1]}
