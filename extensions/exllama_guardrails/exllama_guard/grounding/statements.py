"""What each part of an answer is: a claim on the documents, or something that claims nothing.

Nothing that states a thing escapes by its form: no claim hides in a courtesy, a heading or a code block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from exllama_guard.grounding.phrases import Phrase, pattern
from exllama_guard.grounding.segments import Form, segments_of
from exllama_guard.grounding.stating import is_prose, states, words_in


class Kind(str, Enum):
    """What a part of an answer does."""

    CLAIM = "claim"
    COURTESY = "courtesy"
    QUESTION = "question"
    HEADING = "heading"
    LEAD_IN = "lead-in"
    TABLE_HEAD = "table head"
    SOURCE = "source"
    CODE = "code"
    ABSTENTION = "abstention"  # says that the documents do not hold something


@dataclass(frozen=True, slots=True)
class Statement:
    """Characters [start, end) of an answer and what they are.

    `absent` is what an abstention says the documents do not hold, else "".
    """

    start: int
    end: int
    text: str
    form: Form
    kind: Kind
    absent: str = ""


_MARKS = re.compile(r"[*`]")  # emphasis; an underscore belongs to names
_SPACE = " \t\n\r*"
_QUESTION_END = re.compile(r"[?？؟][\s*\"'”’»)\]】]*\Z")
_TAIL = re.compile(
    r"[,，、;–—-]\s{0,4}([^\s,，、;–—?？؟][^,，、;–—?？؟]{0,29})[?？؟][\s*\"'”’)]{0,8}\Z|([^\s,，?？؟]{1,4})[?？؟]\Z"
)
_BOLD_LINE = re.compile(r"\s*(?:\*\*|__)[^*_\n]{1,100}(?:\*\*|__):?\s*\Z")
_VALUE_AFTER_COLON = re.compile(r"[:：]\s*\S")
_MOST_COURTESY_DIGITS = 1


def statements_of(answer: str, language: str = "en") -> tuple[Statement, ...]:
    """The statements of `answer` in order; every word of it stands in exactly one.

    Args:
        answer: What the model wrote, with its Markdown.
        language: ISO 639-1 code of the answer; chooses where sentences end.
    """
    return tuple(_statements(answer, language))


def _statements(answer: str, language: str) -> Iterator[Statement]:
    segments = segments_of(answer, language)
    in_sources = False
    for index, segment in enumerate(segments):
        text = answer[segment.start : segment.end]
        after = answer[segments[index - 1].end : segment.start] if index else ""
        in_sources = _in_sources(text, segment.form, in_sources, "\n" in after)
        alone = len(segments) == 1
        follows = index + 1 < len(segments)
        for start, end, kind, absent in _parts(text, segment.form, in_sources, follows, alone):
            low, high = segment.start + start, segment.start + end
            yield Statement(low, high, answer[low:high], segment.form, kind, absent)


def _in_sources(text: str, form: Form, before: bool, new_line: bool) -> bool:
    """Whether a segment belongs to a list of sources that a heading has opened."""
    bare = text.strip(" \t\n*_#:：()")
    if pattern(Phrase.SOURCE_HEADING).fullmatch(bare):
        return True
    return before and (form in (Form.ITEM, Form.SOURCE) or not new_line)


_Part = tuple[int, int, Kind, str]


def _parts(text: str, form: Form, in_sources: bool, follows: bool, alone: bool) -> Iterator[_Part]:
    """The parts of one segment with what they are, in order; they cover it."""
    if form is Form.CODE:
        yield from _code(text)
    elif form is Form.TABLE_HEAD:
        yield 0, len(text), Kind.TABLE_HEAD, ""
    elif in_sources or form is Form.SOURCE:
        yield 0, len(text), Kind.CLAIM if _source_states(text) else Kind.SOURCE, ""
    elif form is Form.HEADING or (_BOLD_LINE.match(text) and follows):
        yield 0, len(text), Kind.CLAIM if _heading_states(text) else Kind.HEADING, ""
    elif form is Form.ROW:
        yield 0, len(text), Kind.CLAIM, ""
    else:
        yield from _sentence(text, form, alone)


def _code(text: str) -> Iterator[_Part]:
    """Runs of lines of a code block: prose in it claims what it says, code claims nothing by itself."""
    at = 0
    start, prose = 0, False
    for line in text.splitlines(keepends=True):
        mine = is_prose(line)
        if at and mine is not prose and line.strip():
            yield start, at, Kind.CLAIM if prose else Kind.CODE, ""
            start = at
        if line.strip():
            prose = mine
        at += len(line)
    yield start, len(text), Kind.CLAIM if prose else Kind.CODE, ""


def _source_states(text: str) -> bool:
    """Whether an entry of a list of sources says more than where something stands."""
    if re.search(r"https?://|www\.|\.(?:pdf|md|txt|html?|docx?|csv)\b", text):
        return False
    bare = re.sub(r"\A[\s\[\](){}【】^\d:.*_-]+", "", text)
    return bare.rstrip("*_) ").endswith((".", "!", "。")) and words_in(bare) >= 5 and states(bare)


def _heading_states(text: str) -> bool:
    bare = pattern(Phrase.HEADING_NUMBER).sub("", text.strip(" *_#"))
    if _QUESTION_END.search(bare) or _announces(bare.rstrip(":： ")):
        return False
    if words_in(bare) >= 3 and states(bare) and not _is_asking(bare):
        return True
    numbered = re.search(r"\d", bare) is not None
    return numbered and (_VALUE_AFTER_COLON.search(bare) is not None or not re.search(r"[^\W\d_]{4}", bare))


def _is_asking(text: str) -> bool:
    return pattern(Phrase.ASKING).match(text) is not None


def _sentence(text: str, form: Form, alone: bool) -> Iterator[_Part]:
    """The parts of one sentence: courtesy before it, the claim, an abstention and what it goes on to say."""
    plain = _MARKS.sub(" ", text).replace("’", "'").replace("‘", "'")
    if alone and pattern(Phrase.ASSENT).match(plain):
        yield 0, len(text), Kind.CLAIM, ""
        return
    start = _opened(plain)
    if start >= len(plain.rstrip(_SPACE + ".!?,:。！")):
        yield 0, len(text), Kind.COURTESY, ""
        return
    parts = [(0, start, Kind.COURTESY, "")] if start else []
    rest = plain[start:]
    parts += [(start + low, start + high, kind, absent) for low, high, kind, absent in _rest(rest, form)]
    yield from parts


def _opened(plain: str) -> int:
    """Where openers that say nothing end: "Sure! Based on the document, …" opens at its claim."""
    at = _skip(plain, 0)
    for _ in range(6):
        match = pattern(Phrase.OPENER).match(plain, at)
        after = _skip(plain, match.end()) if match else at
        if match and _closed(plain, match.end()):
            at = after
            continue
        lead = pattern(Phrase.SOURCE_LEAD).match(plain, at)
        if lead and not re.search(r"\d", lead.group()) and _closed(plain, lead.end(), strictly=True):
            at = _skip(plain, lead.end())
            continue
        break
    return at if at > _skip(plain, 0) else 0


def _closed(plain: str, end: int, *, strictly: bool = False) -> bool:
    """Whether an opener is set off from what follows; a lead needs a mark, an interjection a word's end."""
    rest = plain[end : end + 3]
    marked = (
        not rest.strip()
        or rest.lstrip(" *")[:1] in ",.!:;…—–-，。！、：；،؛।?"
        or ord(rest.lstrip(" *")[0]) > 0x2E80
    )
    return marked or (not strictly and rest[:1] == " ")


def _skip(plain: str, at: int) -> int:
    match = pattern(Phrase.BETWEEN).match(plain, at)
    return match.end() if match else at


def _rest(plain: str, form: Form) -> Iterator[_Part]:
    """What a sentence is once its openers are gone; places count from where they end."""
    end = len(plain)
    if _QUESTION_END.search(plain):
        yield from _question(plain)
        return
    bare = plain.strip(_SPACE)
    if form is Form.LEAD_IN:
        yield 0, end, _lead_in(bare.rstrip(":：* ")), ""
        return
    courtesy = _courtesy_end(plain)
    if courtesy:
        yield 0, courtesy, Kind.COURTESY, ""
        if courtesy < end:
            yield from (
                (courtesy + a, courtesy + b, kind, absent)
                for a, b, kind, absent in _rest(plain[courtesy:], form)
            )
        return
    yield from _stated(plain)


def _stated(plain: str) -> Iterator[_Part]:
    """A claim, or an abstention with the claim that it may go on to make."""
    end = len(plain)
    match = _abstains(plain)
    if match is None:
        yield 0, end, Kind.CLAIM, ""
        return
    cut = pattern(Phrase.ABSTENTION_TURN).search(plain, match.end())
    last = cut.start() if cut and words_in(plain[cut.end() :]) >= 3 else end
    before = next(
        (text for name, text in match.groupdict().items() if name.startswith("before") and text), ""
    )
    absent = before or plain[match.end() : last]
    if not words_in(absent):
        absent = match.group()
    yield 0, last, Kind.ABSTENTION, absent.strip(" .,:;!。，、")
    if last < end:
        yield last, end, Kind.CLAIM, ""


def _abstains(plain: str) -> re.Match[str] | None:
    lead = pattern(Phrase.ABSTENTION_LEAD).match(plain)
    return pattern(Phrase.ABSTENTION).match(plain, lead.end() if lead else 0)


def _question(plain: str) -> Iterator[_Part]:
    """A question asks; one with a statement in it ("Did you know that …?", "…, right?") states that."""
    end = len(plain)
    asked = pattern(Phrase.ASKED_CLAIM).match(plain)
    if asked and words_in(plain[asked.end() :]) >= 2:
        yield 0, end, Kind.CLAIM, ""
        return
    offer = pattern(Phrase.OFFER).search(plain)
    if (
        offer
        and words_in(plain[: offer.start()]) >= 3
        and not _is_asking(plain)
        and states(plain[: offer.start()])
        and not _conditional(plain)
    ):
        yield 0, offer.start(), Kind.CLAIM, ""
        yield offer.start(), end, Kind.QUESTION, ""
        return
    tail = _TAIL.search(plain)
    word = (tail.group(1) or tail.group(2) or "").strip() if tail else ""
    if (
        tail
        and not _is_asking(plain)
        and words_in(plain[: tail.start()]) >= 2
        and pattern(Phrase.TAG).fullmatch(word)
    ):
        yield 0, end, Kind.CLAIM, ""
        return
    yield 0, end, Kind.COURTESY if pattern(Phrase.CLOSING).match(plain) else Kind.QUESTION, ""


def _conditional(plain: str) -> bool:
    return re.match(r"\W*(?:if|when|wenn|falls|si|se|quando|если)\b", plain, re.IGNORECASE) is not None


def _courtesy_end(plain: str) -> int:
    """Where a courtesy at the start of a sentence ends, 0 without one; a claim behind it stays one."""
    match = pattern(Phrase.CLOSING).match(plain)
    if match is None:
        return 0
    turn = pattern(Phrase.COURTESY_TURN).search(plain, match.end())
    last = len(plain)
    if turn and words_in(plain[turn.end() :]) >= 3:
        last = turn.start()
    if len(re.findall(r"\d+", plain[:last])) > _MOST_COURTESY_DIGITS:
        return 0
    return last


_COUNTS = re.compile(
    r"\d|\A\W*(?:both|two|three|four|five|six|seven|eight|nine|ten|zwei|drei|vier|fünf|deux|trois|quatre|cinq|dos|tres|cuatro|cinco|due|tre"
    r"|quattro|cinque|dois|três|два|три|четыре|пять)\s",
    re.IGNORECASE,
)


def _announces(bare: str) -> bool:
    return pattern(Phrase.ANNOUNCEMENT).match(bare) is not None


def _lead_in(bare: str) -> Kind:
    """A lead-in that states ("You have 30 days to:") is a claim; one that only announces is none."""
    if _announces(bare) or pattern(Phrase.SOURCE_LEAD).fullmatch(bare) or _is_asking(bare):
        return Kind.LEAD_IN
    last = re.split(r"[.,;–—]\s", bare)[-1]
    if last != bare and _announces(last) and not states(bare[: -len(last)]):
        return Kind.LEAD_IN
    counted = _COUNTS.search(bare) is not None and words_in(bare) >= 4
    return Kind.CLAIM if (words_in(bare) >= 3 and states(bare)) or counted else Kind.LEAD_IN
