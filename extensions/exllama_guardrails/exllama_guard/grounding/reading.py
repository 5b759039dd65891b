"""What of the snippets a reader is given: all where it is short, else what bears on the answer."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from exllama_guard.core.snippets import Snippet, Span
from exllama_guard.grounding.facts.values import Unit
from exllama_guard.grounding.segments import Form, segments_of

_TERM = re.compile(r"\d+(?:[.,:]\d+)*|[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]|[^\W\d_]+")
_STEM = 6  # letters of a word that count
_WIDE = "\u2e80"  # from here on signs stand without spaces
_DEPTH = 12  # units a text asks for at most
_LEAST = 15  # words that must be left for another unit
_TELLING = 4  # letters from which a term tells something
_MOST_UNITS = 3000
_BY_LENGTH = 0.02  # what each term of a unit takes from its score


@dataclass(frozen=True, slots=True)
class Placed:
    """A unit and where it stands: its snippet's index, its characters, the unit above it (-1: none)."""

    unit: Unit
    owner: int
    span: Span
    above: int


def terms_of(text: str) -> list[str]:
    """Index terms: numbers whole, words cut to six letters, pairs of signs where no spaces part words."""
    out: list[str] = []
    before = ""
    for match in _TERM.finditer(text.casefold()):
        term = match.group()
        if len(term) == 1 and term > "\u0e00":
            out.append(before + term)
            before = term
            continue
        before = ""
        out.append(term if term[0].isdigit() else term[:_STEM])
    return out


def words_in(text: str) -> int:
    """Length in words; two signs of a script without spaces count as one."""
    return len(text.split()) + sum(1 for sign in text if sign > _WIDE) // 2


class Evidence:
    """The snippets cut into units, indexed by their terms."""

    def __init__(self, snippets: Sequence[Snippet], language: str = "en") -> None:
        """Cuts and indexes at once: some milliseconds for five snippets."""
        self.snippets = tuple(snippets)
        self.placed: list[Placed] = []
        for owner, snippet in enumerate(self.snippets):
            self._add(owner, snippet, language)
        self._bags = [set(terms_of(one.unit.text)) for one in self.placed]
        count = Counter(term for bag in self._bags for term in bag)
        self._rarity = {term: math.log(1 + len(self._bags) / n) for term, n in count.items()}
        self._holders: dict[str, list[int]] = defaultdict(list)
        for index, bag in enumerate(self._bags):
            for term in bag:
                self._holders[term].append(index)
        self.units = tuple(one.unit for one in self.placed)

    def _add(self, owner: int, snippet: Snippet, language: str) -> None:
        head = table = -1
        for segment in segments_of(snippet.text, language):
            if len(self.placed) >= _MOST_UNITS:
                return
            above = table if segment.form is Form.ROW else head
            context = tuple(
                self.placed[index].unit.text
                for index in (head, table if above == table else -1)
                if index >= 0
            )
            if segment.form is Form.HEADING:
                head, table = len(self.placed), -1
            if segment.form is Form.TABLE_HEAD:
                table = len(self.placed)
            text = snippet.text[segment.start : segment.end]
            span = Span(segment.start, segment.end)
            self.placed.append(Placed(Unit(snippet.snippet_id, text, context), owner, span, above))

    def nearest(self, text: str, most: int = 8) -> tuple[int, ...]:
        """Indices of the units that share most with `text`, best first; none where none shares a term."""
        score: dict[int, float] = defaultdict(float)
        for term in dict.fromkeys(terms_of(text)):
            for index in self._holders.get(term, ()):
                score[index] += self._rarity[term] / (1 + _BY_LENGTH * len(self._bags[index]))
        return tuple(sorted(score, key=lambda index: (-score[index], index))[:most])

    def held(self, text: str) -> float:
        """Share [0, 1] of the rarity of `text`'s terms that its nearest unit and its neighbours hold."""
        wanted = dict.fromkeys(terms_of(text))  # in their order: the same sum in each process
        total = sum(self._rarity.get(term, self._unseen) for term in wanted)
        best = self.nearest(text, 1)
        if not best or not total:
            return 0.0
        near = set().union(
            *(self._bags[i] for i in range(max(0, best[0] - 1), min(len(self._bags), best[0] + 2)))
        )
        return sum(self._rarity[term] for term in wanted if term in near) / total

    def known(self, text: str) -> float:
        """Share [0, 1] of the telling terms of `text` (numbers, four letters and more) that stand there."""
        telling = {
            term for term in terms_of(text) if len(term) >= _TELLING or term[0].isdigit() or term > _WIDE
        }
        return sum(term in self._rarity for term in telling) / len(telling) if telling else 1.0

    @property
    def _unseen(self) -> float:
        return math.log(2 + len(self._bags))

    def reading(self, asked: Sequence[str], budget: int) -> str:
        """Some `budget` words at most for the statements and the question in `asked`, in order."""
        whole = [snippet.text.strip() for snippet in self.snippets]
        if sum(words_in(text) for text in whole) <= budget:
            return "\n\n".join(whole)
        taken = self._chosen([self.nearest(text, _DEPTH) for text in asked], budget)
        out: list[str] = []
        last: int | None = None
        for index in sorted(taken):
            if last is not None:
                same = self.placed[index].owner == self.placed[last].owner
                out.append(("\n" if index == last + 1 else "\n… ") if same else "\n\n")
            out.append(self.placed[index].unit.text)
            last = index
        return "".join(out)

    def _chosen(self, queues: Sequence[Sequence[int]], budget: int) -> set[int]:
        """Units by turns of the queues, each with what stands above and beside it, then from the start."""
        taken: set[int] = set()
        left = budget
        wanted = (queue[depth] for depth in range(_DEPTH) for queue in queues if depth < len(queue))
        order = [near for index in wanted for near in self._with_neighbours(index)]
        for index in [*order, *range(len(self.placed))]:
            if left < _LEAST:
                break
            size = words_in(self.placed[index].unit.text)
            if index not in taken and (size <= left or not taken):
                taken.add(index)
                left -= size
        return taken

    def _with_neighbours(self, index: int) -> list[int]:
        owner = self.placed[index].owner
        beside = [
            near
            for near in (index - 1, index + 1)
            if 0 <= near < len(self.placed) and self.placed[near].owner == owner
        ]
        above = self.placed[index].above
        return [index, *([above] if above >= 0 else []), *beside]
