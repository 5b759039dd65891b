"""Times of day in a text, in ten languages, with their zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from exllama_guard.grounding.facts.numerals import plain
from exllama_guard.grounding.facts.script import has_other_script
from exllama_guard.grounding.facts.terms import words_of

_HOUR, _MINUTE = r"(?P<h>[01]?\d|2[0-4])", r"(?P<m>[0-5]\d)"
_HALF = r"(?P<half>[ap])(?:\.\s?m\.?|m(?!\w))"
_ZONE = r"(?:\s?\(?(?P<z>UTC|GMT|CEST|CET|EST|EDT|PST|PDT|CST|CDT|MST|BST|IST|JST|AEST|MSK|Z)(?![\w]))?"
_WORDS = "one two three four five six seven eight nine ten eleven twelve".split()
_WORD = "|".join(_WORDS)
_DAYPART_EN = r"(?:\s(?:in the|at)\s(?P<part>morning|afternoon|evening|night))?"
_AT = "|".join(
    rf"(?<=\b{verb} at )"
    for verb in "open opens close closes start starts begin begins leave leaves arrive arrives".split()
)
_PARTS = {
    "morning": 0, "afternoon": 1, "evening": 1, "night": 1, "上午": 0, "早上": 0, "凌晨": 0, "下午": 1, "晚上": 1,
    "午前": 0, "午後": 1, "오전": 0, "오후": 1, "सुबह": 0, "दोपहर": 1, "शाम": 1, "रात": 1, "صباحا": 0, "مساء": 1,
    "morgens": 0, "früh": 0, "vormittags": 0, "nachmittags": 1, "abends": 1, "утра": 0, "вечера": 1, "дня": 1,
    "mañana": 0, "tarde": 1, "noche": 1, "mattina": 0, "pomeriggio": 1, "sera": 1, "manhã": 0, "noite": 1,
    "matin": 0, "soir": 1, "après-midi": 1,
}  # fmt: skip
_TIMES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:(?<![\w:.,/$€£+])|(?<=\dT)){_HOUR}[:٫]{_MINUTE}(?P<s>:[0-5]\d(?:[.,]\d{{1,6}})?)?(?![\d:]|[.,]\d)(?:\s?{_HALF})?(?:\s?(?:Uhr|h)\b)?{_ZONE}{_DAYPART_EN}",
        rf"(?<![\w:.,/$€£])(?P<h>1[0-2]|0?[1-9])(?:[.]{_MINUTE})?\s?{_HALF}{_ZONE}",
        rf"(?<![\w:.,/$€£]){_HOUR}(?:[.]{_MINUTE})?\s?(?:Uhr|o'clock|heures? précises?)(?!\w){_DAYPART_EN}{_ZONE}",
        rf"(?<![\w:.,/$€£])(?:{_HOUR}h{_MINUTE}|(?<=[àe] )(?P<h2>[01]?\d|2[0-3]) h (?P<m2>[0-5]\d))(?!\s?min|[\w])",
        rf"(?P<ph>上午|早上|凌晨|下午|晚上|午前|午後|오전|오후)?\s?{_HOUR}\s?(?:時|点|點|시)(?!間|间|간)(?:\s?{_MINUTE}\s?(?:分|분)|(?P<hf>半))?",
        rf"(?P<ph>सुबह|दोपहर|शाम|रात)(?: (?:के )?)?{_HOUR}(?::{_MINUTE})?(?:\s?बजे)?",
        rf"(?<![\w:.,]){_HOUR}(?::{_MINUTE})?\s?बजे",
        rf"(?<![\w:.,/$€£])(?P<n>{_WORD}|\d{{1,2}}) (?:o'clock){_DAYPART_EN}",
        rf"(?:{_AT})(?P<n>{_WORD}|1[0-2]|[1-9])(?![\w%]|[:.,-]\w| (?:percent|per|a|an)\b)",
        rf"\b(?P<rel>half|quarter|(?:five|ten|twenty|twenty-five)(?: minutes?)?|\d{{1,2}} minutes?) (?P<dir>past|to|after|before) (?P<n>{_WORD}|\d{{1,2}})(?![\w:])(?! (?:minutes|hours|days|percent|weeks|months|years|points|%)){_DAYPART_EN}",
        r"\b(?P<named>noon|midday|midnight|mittags|mitternacht|midi|minuit|mediodía|medianoche|mezzogiorno|mezzanotte|meio-dia|meia-noite)\b",
    )
)
_WORDS_OF_TIME = frozenset(
    "open opens close closes start starts begin begins leave leaves arrive arrives am pm a p uhr o clock h past to after before noon midday midnight mittags mitternacht midi minuit mezzogiorno mezzanotte".split()
) - {"a", "to", "after", "before"} | {"quarter", "half"}
_NOON = frozenset(("noon", "midday", "mittags", "midi", "mediodía", "mezzogiorno", "meio-dia"))
_AFTER = re.compile(
    r"\s?(صباحا|مساء|morgens|früh|abends|nachmittags|vormittags|утра|вечера|дня|de la mañana|de la tarde|de la noche|da manhã|da tarde|da noite|di mattina|di sera|du matin|du soir|de l'après-midi)"
)
_FORWARD = {"five": 5, "ten": 10, "twenty": 20, "twenty-five": 25, "half": 30, "quarter": 15}


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day at [start, end): minutes since midnight in [0, 1440]; `told` where the half of the day is known."""

    start: int
    end: int
    minutes: float
    told: bool
    zone: str = ""

    def same(self, other: Clock) -> bool:
        """Whether both may be one time of day; seconds count only where both have them."""
        gap = abs(self.minutes - other.minutes)
        if int(self.minutes) != self.minutes and int(other.minutes) != other.minutes:
            fits = gap < 1 / 60
        else:
            fits = int(self.minutes) == int(other.minutes) or gap in (1440, 0)
        if fits or (self.told and other.told):
            return fits
        return int(gap) % 720 == 0 and gap % 720 < 1


@lru_cache(maxsize=8192)
def clock_times(text: str) -> tuple[Clock, ...]:
    """The times of day of `text`, in order."""
    text = plain(text)
    if ":" not in text and not has_other_script(text) and words_of(text).isdisjoint(_WORDS_OF_TIME):
        return ()
    found: list[Clock] = []
    for pattern in _TIMES:
        for match in pattern.finditer(text):
            if any(match.start() < one.end and one.start < match.end() for one in found):
                continue
            one = _time(text, match)
            if one is not None:
                found.append(one)
    return tuple(sorted(found, key=lambda one: one.start))


def _time(text: str, match: re.Match[str]) -> Clock | None:
    parts = {key: value for key, value in match.groupdict().items() if value}
    if "named" in parts:
        return Clock(match.start(), match.end(), 720 if parts["named"].casefold() in _NOON else 0, True)
    hour, minute = _hour_and_minute(parts)
    if hour is None:
        return None
    half = {"a": 0, "p": 1}.get(parts.get("half", "").casefold())
    end = match.end()
    after = _AFTER.match(text, end) if half is None else None
    if after is not None:
        half, end = _PARTS.get(after[1].split()[-1].removeprefix("l'")), after.end()
    for key in ("part", "ph"):
        if half is None and key in parts:
            half = _PARTS.get(parts[key].casefold())
    told = half is not None or hour == 0 or hour > 12 or ("h" in parts and parts["h"].startswith("0"))
    if half is not None and hour <= 12:
        hour = hour % 12 + 12 * half
    total = hour * 60 + minute
    if "s" in parts:
        total += float(parts["s"][1:].replace(",", ".")) / 60
    start = match.start() + len(match.group()) - len(match.group().lstrip())
    return Clock(
        start, end, total, told, parts.get("z", "").upper().replace("Z", "UTC") if parts.get("z") else ""
    )


def _hour_and_minute(parts: dict[str, str]) -> tuple[int | None, float]:
    if "n" in parts:
        name = parts["n"].casefold()
        hour = _WORDS.index(name) + 1 if name in _WORDS else int(name)
        if hour > 24:
            return None, 0
        if "rel" not in parts:
            return hour, 0
        first = parts["rel"].casefold().split()[0]
        minutes = _FORWARD.get(first) or (int(first) if first.isdigit() else 0)
        if parts["dir"].casefold() in ("past", "after"):
            return hour, minutes
        return (hour - 1) % 12 or 12, 60 - minutes
    if "h2" in parts:
        return int(parts["h2"]), int(parts["m2"])
    minute = int(parts.get("m", 0)) if "hf" not in parts else 30
    return int(parts["h"]), minute
