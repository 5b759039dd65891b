"""Dates in a text, in ten languages, of which any part may be missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

from exllama_guard.grounding.facts.numerals import plain
from exllama_guard.grounding.facts.script import has_other_script
from exllama_guard.grounding.facts.terms import has_digit, words_of

_MONTH_NAMES = (
    "january february march april may june july august september october november december",
    "jan feb mar apr may jun jul aug sep oct nov dec",
    "januar februar märz april mai juni juli august september oktober november dezember",
    "jänner feber mrz apr mai jun jul aug sep okt nov dez",
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "januari februari maart april mei juni juli augustus september oktober november december",
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь",
    "январе феврале марте апреле мае июне июле августе сентябре октябре ноябре декабре",
    "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
    "जनवरी फरवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर",
    "जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितम्बर अक्तूबर नवम्बर दिसम्बर",
)
MONTHS = {name: n for names in _MONTH_NAMES for n, name in enumerate(names.split(), 1)} | {"sept": 9}
_WEEKDAY_NAMES = (
    "monday tuesday wednesday thursday friday saturday sunday",
    "mondays tuesdays wednesdays thursdays fridays saturdays sundays",
    "mon tue wed thu fri sat sun",
    "montag dienstag mittwoch donnerstag freitag samstag sonntag",
    "montags dienstags mittwochs donnerstags freitags samstags sonntags",
    "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "lunes martes miércoles jueves viernes sábado domingo",
    "lunedì martedì mercoledì giovedì venerdì sabato domenica",
    "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
    "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
    "понедельник вторник среда четверг пятница суббота воскресенье",
    "понедельника вторника среды четверга пятницы субботы воскресенья",
    "понедельникам вторникам средам четвергам пятницам субботам воскресеньям",
    "الاثنين الثلاثاء الأربعاء الخميس الجمعة السبت الأحد",
    "सोमवार मंगलवार बुधवार गुरुवार शुक्रवार शनिवार रविवार",
)
WEEKDAYS = {name: n for names in _WEEKDAY_NAMES for n, name in enumerate(names.split())} | {
    "tues": 1, "thur": 3, "thurs": 3, "weds": 2, "среду": 2, "пятницу": 4, "субботу": 5, "sonnabend": 5,
    "вторникам": 1, "sábados": 5, "domingos": 6, "lundis": 0, "samedis": 5, "dimanches": 6,
}  # fmt: skip
_AMBIGUOUS = frozenset(
    (
        "may",
        "mar",
        "mai",
        "sat",
        "sun",
        "mon",
        "wed",
        "mars",
        "март",
        "march",
        "dec",
        "jan",
        "august",
        "mei",
        "mae",
    )
)
_WORDLIKE = frozenset(
    (
        "may",
        "mar",
        "mai",
        "mars",
        "march",
        "sat",
        "sun",
        "mon",
        "mei",
        "mae",
        "mag",
        "set",
        "out",
        "dez",
        "ago",
        "ene",
        "jan",
    )
)
_MONTH = "|".join(sorted(map(re.escape, MONTHS), key=len, reverse=True))
_WEEKDAY = "|".join(sorted(map(re.escape, WEEKDAYS), key=len, reverse=True))
_DAY_WORDS = frozenset(word for name in WEEKDAYS for word in name.split("-"))
_NAMES = frozenset(MONTHS) | _DAY_WORDS | {"quarter"}
_YEAR = r"(?:1[0-9]{3}|20[0-9]{2}|2100)"
_DAY = r"(?:3[01]|[12][0-9]|0?[1-9])"
_MON = r"(?:1[0-2]|0?[1-9])"
_OF = r"(?:of |de |del |do |في |den )?"
_FULL = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?<![\d.\-/])(?P<y>{_YEAR})[-/.](?P<m>{_MON})[-/.](?P<d>{_DAY})(?![\d-]|[./]\d)",
        rf"(?P<y>{_YEAR})\s?[年년]\s?(?P<m>{_MON})\s?[月월](?:\s?(?P<d>{_DAY})\s?[日号號일])?",
        rf"(?<!\d)(?P<m>{_MON})\s?[月월]\s?(?P<d>{_DAY})\s?[日号號일]",
        rf"(?<![\d.:])(?P<d>{_DAY})(?:st|nd|rd|th|\.|er|º|°)?,? {_OF}(?P<mn>{_MONTH})(?!\w)\.?(?:,? {_OF}(?P<y>{_YEAR})(?!\d))?",
        rf"(?<!\w)(?P<mn>{_MONTH})(?!\w)\.? (?:the )?(?P<d>{_DAY})(?:st|nd|rd|th)?(?![\w%:]|[.,]\d)(?!\s?(?:%|percent|million|billion|years?\b|days?\b|hours?\b|points?\b|people\b))(?:,? (?P<y>{_YEAR})(?!\d))?",
        rf"(?<!\w)(?P<mn>{_MONTH})(?!\w)\.?,?[ -]{_OF}(?P<y>{_YEAR})(?!\d)",
        rf"(?<![\d.])(?P<d>{_DAY})[/.\-](?P<m>{_MON})[/.\-](?P<y>{_YEAR})(?!\d)",
        rf"(?<![\d.])(?P<m>{_MON})/(?P<d>{_DAY})/(?P<y>{_YEAR})(?!\d)",
        rf"(?<![\d.\w$€£¥])(?<![$€£¥] )(?P<d>{_DAY})\.\s?(?P<m>0?[1-9]|1[0-2])\.(?=\s(?:[a-zäöü(–-]|\d))",
    )
)
_MONTH_ALONE = re.compile(
    rf"(?<![\w\-])(?P<part>mid|early|late|mitte|anfang|ende)?[ \-]?(?P<mn>{_MONTH})(?!\w)|(?<![\d年])(?P<m>{_MON})月(?!\s?\d)",
    re.IGNORECASE,
)
_WEEKDAYS = re.compile(
    rf"(?<!\w)(?P<w>{_WEEKDAY})(?!\w)|(?:星期|周|週)(?P<c>[一二三四五六日天])|(?P<j>[月火水木金土日])曜",
    re.IGNORECASE,
)
_QUARTER = re.compile(
    rf"(?<!\w)(?:Q(?P<q>[1-4])|(?P<n>first|second|third|fourth) quarter)(?:,? (?:of )?(?P<y>{_YEAR})(?!\d))?",
    re.IGNORECASE,
)
_LONE_YEAR = re.compile(
    r"(?<![\w.,:/$€£#])(?P<y>1[5-9]\d\d|20\d\d)(?P<s>s)?(?![\w%°]|[.,:]\d)|(?<!\d)(?P<c>1[5-9]\d\d|20\d\d)\s?(?:年|годах?|году|года|عام)"
)
_RANGE_BETWEEN = re.compile(
    r"\A\s?(?:-|–|—|to|bis|au?|till|until|through|thru|до|to the|—|and|al|ao|a|から|至|到|से)\s?\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Date:
    """One date at [start, end), of which any part may be missing. `weekday`: 0 is Monday; `quarter`: 1 to 4."""

    start: int
    end: int
    year: int | None = None
    month: int | None = None
    day: int | None = None
    weekday: int | None = None
    quarter: int | None = None
    other: tuple[int, int] | None = None  # (month, day) where 04/05/2024 may be read both ways

    def parts(self) -> tuple[int | None, ...]:
        """Year, month, day, weekday, quarter."""
        return (self.year, self.month, self.day, self.weekday, self.quarter)

    def clashes(self, other: Date) -> bool:
        """True when some part is in both and differs, however an ambiguous one is read."""
        return not any(_agree(a, b) for a in self.forms() for b in other.forms())

    def forms(self) -> tuple[Date, ...]:
        """The ways to read it."""
        if self.other is None:
            return (self,)
        month, day = self.other
        return (self, Date(self.start, self.end, self.year, month, day, self.weekday, self.quarter))

    def shares(self, other: Date) -> bool:
        """True when some part is in both."""
        return any(a is not None and b is not None for a, b in zip(self.parts(), other.parts(), strict=True))

    def is_full(self) -> bool:
        """True when year, month and day are there."""
        return None not in (self.year, self.month, self.day)

    def as_day(self, year: int | None = None) -> date | None:
        """The calendar day, with `year` where its own is missing; None where there is no such day."""
        try:
            return date(self.year or year or 0, self.month or 0, self.day or 0)
        except ValueError:
            return None


def _agree(a: Date, b: Date) -> bool:
    if any(x is not None and y is not None and x != y for x, y in zip(a.parts(), b.parts(), strict=True)):
        return False
    if a.weekday is not None and b.weekday is None:
        day = b.as_day(a.year)
        return day is None or day.weekday() == a.weekday or a.month is not None
    if a.quarter is not None and b.month is not None:
        return (b.month - 1) // 3 + 1 == a.quarter
    if b.quarter is not None and a.month is not None:
        return (a.month - 1) // 3 + 1 == b.quarter
    return True


@lru_cache(maxsize=8192)
def dates_of(text: str) -> tuple[Date, ...]:
    """The dates of `text` in order, a weekday beside a date as part of it, lone years, months and weekdays too."""
    text = plain(text)
    words, digits = words_of(text), has_digit(text)
    named = not words.isdisjoint(_NAMES) or has_other_script(text)
    if not named and not digits:
        return ()
    found: list[Date] = []
    taken: list[tuple[int, int]] = []
    readers = [_full_dates] if digits else []
    readers += [_quarters, _lone_months] if named or digits else []
    for read in (*readers, *([_lone_years] if digits else [])):
        for one in read(text):
            if not any(one.start < end and start < one.end for start, end in taken):
                found.append(one)
                taken.append((one.start, one.end))
    found = _days_before_a_range(text, found)
    weekdays = [w for w in _lone_weekdays(text) if not any(w.start < e and s < w.end for s, e in taken)]
    return tuple(sorted(_joined(text, found, weekdays), key=lambda one: one.start))


def _full_dates(text: str) -> list[Date]:
    out = []
    named = not words_of(text).isdisjoint(MONTHS)
    for index, pattern in enumerate(_FULL):
        if (index in (3, 4, 5) and not named) or (
            index in (1, 2) and "月" not in text and "월" not in text and "年" not in text
        ):
            continue
        for match in pattern.finditer(text):
            parts = match.groupdict()
            month = int(parts["m"]) if parts.get("m") else MONTHS.get((parts.get("mn") or "").casefold())
            if month is None:
                continue
            day = int(parts["d"]) if parts.get("d") else None
            name = parts.get("mn") or ""
            if name.casefold() in _AMBIGUOUS and name.islower() and not parts.get("y"):
                continue
            year = int(parts["y"]) if parts.get("y") else None
            both = (
                (day, month)
                if index in (6, 7) and day is not None and day <= 12 and "/" in match.group()
                else None
            )
            out.append(Date(match.start(), match.end(), year, month, day, other=both))
    return out


def _quarters(text: str) -> list[Date]:
    if "Q" not in text and "uarter" not in text:
        return []
    names = {"first": 1, "second": 2, "third": 3, "fourth": 4}
    return [
        Date(
            m.start(),
            m.end(),
            int(m["y"]) if m["y"] else None,
            quarter=int(m["q"]) if m["q"] else names[m["n"].casefold()],
        )
        for m in _QUARTER.finditer(text)
    ]


def _lone_months(text: str) -> list[Date]:
    out: list[Date] = []
    if words_of(text).isdisjoint(MONTHS) and "月" not in text:
        return out
    for match in _MONTH_ALONE.finditer(text):
        name = match["mn"] or ""
        if name and (name.casefold() in _AMBIGUOUS or len(name) < 4):
            before = text[max(0, match.start("mn") - 9) : match.start("mn")].casefold()
            known = re.search(
                r"(?:in|until|since|by|during|of|from|and|to|between|next|last|every|mid|early|late)[ -]\Z",
                before,
            )
            after = text[match.end("mn") : match.end("mn") + 2]
            known = known or re.search(r"[-–(/|] ?\Z", before) or re.match(r"\.?[-–/)|]", after)
            sure = name.casefold() not in _WORDLIKE
            if not name[0].isupper() or (known is None and not sure):
                continue
        if match["mn"] is None and match["m"] is None:
            continue
        start = match.start() if match["part"] or match["m"] else match.start("mn")
        out.append(Date(start, match.end(), month=MONTHS[name.casefold()] if name else int(match["m"])))
    return out


def _lone_years(text: str) -> list[Date]:
    return [Date(m.start(), m.end(), year=int(m["y"] or m["c"])) for m in _LONE_YEAR.finditer(text)]


def _lone_weekdays(text: str) -> list[Date]:
    out: list[Date] = []
    if words_of(text).isdisjoint(_DAY_WORDS) and not has_other_script(text):
        return out
    for match in _WEEKDAYS.finditer(text):
        name = match["w"]
        if name:
            if name.isascii() and not name[0].isupper() and len(name) < 5:
                continue
            day = WEEKDAYS[name.casefold()]
        else:
            day = (
                "一二三四五六日".find(match["c"].replace("天", "日"))
                if match["c"]
                else "月火水木金土日".find(match["j"])
            )
        out.append(Date(match.start(), match.end(), weekday=day))
    return out


def _days_before_a_range(text: str, found: list[Date]) -> list[Date]:
    """As in "8 - 22 June": the first day has the month of the second; "12 May to 13 June 2025": the year too."""
    extra = []
    for one in found:
        if one.day is None or one.month is None:
            continue
        match = re.search(
            r"(?<![\d.:])(\d{1,2})(?:st|nd|rd|th|\.)?\s?(?:-|–|and|to|bis|und|et|y|e|,)\s?(?:the )?(?:[^\W\d]{3,10} )?\Z",
            text[max(0, one.start - 24) : one.start],
        )
        if match and 1 <= int(match[1]) <= 31:
            base = max(0, one.start - 24)
            start = base + match.start(1)
            if not any(o.start <= start < o.end for o in found):
                extra.append(Date(start, base + match.end(1), one.year, one.month, int(match[1])))
    found = sorted(found + extra, key=lambda one: one.start)
    extra = _chained(text, found)
    for first, second in pairwise(found):
        if (
            first.end < second.start
            and first.year is None
            and second.year
            and first.day
            and second.day
            and first in found
        ):
            gap = text[first.end : second.start]
            if len(gap) < 8 and _RANGE_BETWEEN.match(gap):
                found[found.index(first)] = Date(first.start, first.end, second.year, first.month, first.day)
    return found + extra


_EARLIER_DAY = re.compile(r"(?<![\d.:])(\d{1,2}),\s?\Z")


def _chained(text: str, found: list[Date]) -> list[Date]:
    """As in "5, 6 and 7 October": the days further ahead as well."""
    out: list[Date] = []
    for one in found:
        start = one.start
        while one.day is not None and one.month is not None:
            match = _EARLIER_DAY.search(text, max(0, start - 6), start)
            if (
                match is None
                or not 1 <= int(match[1]) <= 31
                or any(o.start <= match.start(1) < o.end for o in found)
            ):
                break
            start = match.start(1)
            out.append(Date(start, match.end(1), one.year, one.month, int(match[1])))
    return out


def _joined(text: str, found: list[Date], weekdays: list[Date]) -> list[Date]:
    out = list(found)
    for weekday in weekdays:
        for index, one in enumerate(out):
            gap = text[weekday.end : one.start]
            if (
                one.day is not None
                and one.weekday is None
                and weekday.end <= one.start
                and len(gap) <= 6
                and re.fullmatch(r"[.,]?\s?(?:the |den |le |el |il )?", gap)
            ):
                out[index] = Date(
                    weekday.start, one.end, one.year, one.month, one.day, weekday.weekday, other=one.other
                )
                break
        else:
            out.append(weekday)
    return out


def is_span(gap: str) -> bool:
    """Whether the text between two dates makes them the ends of a span."""
    return _RANGE_BETWEEN.match(plain(gap)) is not None and gap.strip() != "and"


def weekday_spans(text: str, dates: tuple[Date, ...]) -> frozenset[int]:
    """The weekdays that `text` names or that lie in a span of it ("Mon-Fri", "weekdays", "Friday to Sunday")."""
    named = [d for d in dates if d.weekday is not None]
    days = {d.weekday for d in named if d.weekday is not None}
    for first, second in pairwise(named):
        gap = plain(text)[first.end : second.start]
        if (
            len(gap) < 12
            and _RANGE_BETWEEN.match(gap)
            and gap.strip() != "and"
            and first.weekday is not None
            and second.weekday is not None
        ):
            days |= {(first.weekday + i) % 7 for i in range((second.weekday - first.weekday) % 7 + 1)}
    if re.search(
        r"\bweekdays?\b|\bworking days?\b|\bworkdays?\b|wochentags|werktags|平日|工作日", text, re.IGNORECASE
    ):
        days |= set(range(5))
    if re.search(r"\bweekends?\b|wochenende|周末|週末", text, re.IGNORECASE):
        days |= {5, 6}
    return frozenset(days)


def moved(day: date, days: float, months: float = 0) -> date | None:
    """`day` moved by whole days and months; the last of a month where the day is missing; None out of range."""
    try:
        if months:
            index = day.year * 12 + day.month - 1 + int(months)
            year, month = divmod(index, 12)
            for last in (day.day, 30, 29, 28):
                try:
                    day = date(year, month + 1, last)
                    break
                except ValueError:
                    continue
        return day + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
