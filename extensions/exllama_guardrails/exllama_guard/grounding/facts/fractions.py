"""Parts and multiples in words and signs: "half", "a quarter of an hour", "one in five", "doubled", "3x", "½"."""

from __future__ import annotations

import re

from exllama_guard.grounding.facts.script import has_other_script
from exllama_guard.grounding.facts.terms import words_of

_GLYPHS = {
    "½": 0.5,
    "¼": 0.25,
    "¾": 0.75,
    "⅓": 1 / 3,
    "⅔": 2 / 3,
    "⅛": 0.125,
    "⅜": 0.375,
    "⅝": 0.625,
    "⅞": 0.875,
    "⅕": 0.2,
    "半": 0.5,
}
_WORDS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "twenty": 20,
}  # fmt: skip
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
    "twentieth": 20, "hundredth": 100,
}  # fmt: skip
_NUMBER = "|".join(_WORDS)
_UNIT = r"(?:hours?|minutes?|days?|weeks?|months?|years?|seconds?|percent|percentage points?|points?|tonnes?|kilos?|metres?|meters?|miles?|km|litres?|liters?|pounds?|million|billion)"
_MIXED = re.compile(
    rf"\b(?P<n>{_NUMBER}|\d{{1,4}}) and (?P<k>a|one|two|three) (?P<p>half|quarters?|thirds?)(?:[ -](?P<u>{_UNIT})\b)?",
    re.IGNORECASE,
)
_UNIT_MIXED = re.compile(
    rf"\b(?P<n>an?|one|two|three) (?P<u>{_UNIT}) and (?:a|one) (?P<p>half|quarter)\b", re.IGNORECASE
)
_OF_UNIT = re.compile(
    rf"\b(?:(?P<n>{_NUMBER})[ -])?(?P<p>half|quarters?|thirds?|fifths?|tenths?)(?: of)? an? (?P<u>{_UNIT})\b|\bhalf-(?P<v>hour|day|year|month)\b|\b(?P<n2>{_NUMBER}) (?P<p2>tenths|hundredths) of a (?P<u2>second|percent)\b",
    re.IGNORECASE,
)
_SHARE = re.compile(
    r"\b(?P<n>a|an|one|two|three|four|five|six|seven|eight|nine)[ -](?P<p>half|third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twentieth|hundredth|halve)s?(?![\w-])(?! (?:party|place|floor|time|edition|person|round|step|of \d|and|day|hour|year))|\b(?P<h>half)(?= (?:of|the|as|that|their|its|his|her|our|all|what|price|full)\b)|\b(?P<t>three)[ -]quarters\b",
    re.IGNORECASE,
)
_IN = re.compile(
    rf"(?<![\w.,€$£])(?P<a>{_NUMBER}|\d{{1,3}})(?: (?!(?:million|billion|thousand|percent)\b)\w{{3,12}})? (?:in|out of)(?: every)? (?P<b>{_NUMBER}|\d{{1,3}}(?:,\d{{3}}){{1,2}}|\d{{1,6}}|a hundred|a thousand|one hundred|one thousand)(?![\w%:]|[.,]\d)(?! (?:minutes|hours|days|weeks|months|years|seconds))",
    re.IGNORECASE,
)
_SLASH = re.compile(
    r"(?<![\w./,-])(?:(?P<w>\d{1,3}) )?(?P<a>\d{1,2})/(?P<b>\d{1,3})(?![\w/]|[.,]\d)(?=\s?[^\W\d_])|\\frac\{(?P<c>\d{1,4})\}\{(?P<d>\d{1,4})\}"
)
_GLYPH = re.compile(r"(?:(?<![\w.,])(?P<n>\d{1,4}) ?)?(?P<g>[½¼¾⅓⅔⅛⅜⅝⅞⅕])")
_TIMES = re.compile(
    rf"\b(?P<n>{_NUMBER}|\d{{1,4}}(?:\.\d{{1,3}})?)[ -](?P<f>fold|times)(?! (?:in a row|zone|table|new|square))\b|\b(?P<n3>\d{{1,4}}(?:\.\d{{1,2}})?)[x×](?![\w]|\s?\d)",
    re.IGNORECASE,
)
_NAMED = {"twice": 2, "double": 2, "doubled": 2, "doubles": 2, "doubling": 2, "triple": 3, "tripled": 3, "triples": 3, "thrice": 3, "quadruple": 4, "quadrupled": 4, "quadruples": 4,
          "halved": 0.5, "halves": 0.5, "halving": 0.5, "twofold": 2, "threefold": 3, "fourfold": 4, "tenfold": 10,
          "doppelt": 2, "zweimal": 2, "dreimal": 3, "viermal": 4, "verdoppelt": 2, "halbiert": 0.5, "halb": 0.5, "hälfte": 0.5, "moitié": 0.5, "mitad": 0.5, "metà": 0.5, "metade": 0.5,
          "половина": 0.5, "половину": 0.5, "вдвое": 2, "втрое": 3, "вчетверо": 4, "دبل": 2, "ضعف": 2, "نصف": 0.5, "ربع": 0.25, "двое": 2, "double-double": 0}  # fmt: skip
_NAME = re.compile(
    r"(?<![\w-])(?:" + "|".join(sorted(map(re.escape, _NAMED), key=len, reverse=True)) + r")(?![\w-])",
    re.IGNORECASE,
)
_OTHER = tuple(
    (re.compile(pattern, re.IGNORECASE), value, unit)
    for pattern, value, unit in (
        (
            r"\b(?:halbe|halben) stunde\b|\bdemi-heure\b|\bmedia hora\b|\bmezz['’]ora\b|\bmeia hora\b|полчаса|半小时|半時間|आधा घंटा|आधे घंटे|نصف ساعة",
            0.5,
            "hour",
        ),
        (
            r"\bviertelstunde\b|\bquart d['’]heure\b|\bcuarto de hora\b|\bquarto d['’]ora\b|четверть часа|ربع ساعة|一刻钟",
            0.25,
            "hour",
        ),
        (
            r"\bdreiviertelstunde\b|\btrois quarts d['’]heure\b|\btres cuartos de hora\b|\btre quarti d['’]ora\b",
            0.75,
            "hour",
        ),
        (r"\banderthalb stunden\b|\beineinhalb stunden\b|डेढ़ घंटे|डेढ़ घंटा|полтора часа", 1.5, "hour"),
        (
            r"\bviertel\b(?! (?:vor|nach))|\bun quart\b|\bun cuarto\b|\bun quarto\b|на четверть|четверть|四分之一|चौथाई",
            0.25,
            "",
        ),
        (
            r"\bein drittel\b|\bun tiers\b|\bun tercio\b|\bun terzo\b|\bum terço\b|треть\b|三分之一|तिहाई",
            1 / 3,
            "",
        ),
        (r"\bzwei drittel\b|\bdeux tiers\b|\bdos tercios\b|\bdue terzi\b|三分之二|दो तिहाई", 2 / 3, ""),
    )
)
_HINDI_HALF = re.compile(r"(?:साढ़े) (?P<n>\d{1,2}|[\u0900-\u097f]{2,8})(?: (?P<u>घंटे|घंटा|बजे|साल|महीने|लाख))?")
_HINDI = {
    "तीन": 3,
    "चार": 4,
    "पाँच": 5,
    "पांच": 5,
    "छह": 6,
    "सात": 7,
    "आठ": 8,
    "नौ": 9,
    "दस": 10,
    "ग्यारह": 11,
    "बारह": 12,
}
_GERMAN_HALF = re.compile(
    r"\b(zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn)einhalb (\w{3,10})", re.IGNORECASE
)
_GERMAN = dict(zip("zwei drei vier fünf sechs sieben acht neun zehn".split(), range(2, 11), strict=True))
_ARABIC_LESS = re.compile(
    r"(?P<n>[\u0600-\u06ff]{3,8}) ساعات إلا (?:ربعا|ربعًا|ربع)|(?P<m>[\u0600-\u06ff]{3,8}) ساعات ونصف"
)
_ARABIC = {"ثلاث": 3, "أربع": 4, "خمس": 5, "ست": 6, "سبع": 7, "ثماني": 8, "تسع": 9, "عشر": 10}
_ARABIC_DUAL = re.compile(
    r"(?<![\u0600-\u06ff])(?:ال)?(?P<w>سنت|يوم|ساعت|دقيقت|شهر|أسبوع|مرت)(?:ان|ين)(?![\u0600-\u06ff])"
)
_ARABIC_UNIT = {
    "سنت": "year",
    "يوم": "day",
    "ساعت": "hour",
    "دقيقت": "minute",
    "شهر": "month",
    "أسبوع": "week",
    "مرت": "times",
}
_SINGLE = re.compile(
    rf"\b(?P<n>one|an?|ein|eine|einen|einem|einer|un|une|una|uno|um|uma|один|одна|одну|एक)(?: (?P<f>full|whole|single|further|extra|working|business))?[ -](?P<u>{_UNIT}|stunde|minute|tag|woche|monat|jahr|heure|jour|semaine|mois|an|hora|día|semana|mes|año|ora|giorno|settimana|mese|anno|dia|mês|ano|час|день|неделю|месяц|год|घंटा|घंटे|दिन|साल)(?![\w])",
    re.IGNORECASE,
)
_LAP = re.compile(r"(?<![\w:.])(?:(\d{1,2}):)?(\d{1,2}):(\d{2}[.,]\d{1,3})(?![\w:]|[.,]\d)")
Part = tuple[int, int, float, str, bool]


def fractions_of(text: str, language: str) -> list[Part]:
    """(start, end, value, unit, soft) of each part or multiple of a plain text; unit "" is a share, "times" a multiple."""
    found: list[Part] = []
    words = words_of(text)
    readers = [_laps] if ":" in text else []
    readers += [_mixed, _of_units, _shares] if not words.isdisjoint(_SHARE_WORDS) or "-half" in text else []
    readers += [_dozens] if "dozen" in words else []
    readers += [_written] if "/" in text or "\\frac" in text or not text.isascii() else []
    readers += (
        [_multiples]
        if not words.isdisjoint(_TIME_WORDS) or "x" in words or "×" in text or has_other_script(text)
        else []
    )
    readers += [_singles] if not words.isdisjoint(_SINGLE_WORDS) else []
    if language != "en" or has_other_script(text):
        readers.insert(0, _others)
    for reader in readers:
        for part in reader(text):
            if not any(part[0] < end and start < part[1] for start, end, *_ in found):
                found.append(part)
    return found


_SHARE_WORDS = frozenset(_PARTS) | {name + "s" for name in _PARTS} | {"in", "out"}
_TIME_WORDS = frozenset(_NAMED) | {"times", "fold", "x"}
_SINGLE_WORDS = frozenset(
    "one a an ein eine einen einem einer un une una uno um uma один одна одну एक".split()
)


def _word(written: str) -> float:
    return float(
        _WORDS.get(written.casefold()) or (float(written) if written.replace(".", "").isdigit() else 1)
    )


def _part(written: str) -> float:
    folded = written.casefold()
    return 1.0 / (_PARTS.get(folded) or _PARTS.get(folded.rstrip("s"), 1))


def _mixed(text: str) -> list[Part]:
    out: list[Part] = []
    for m in _MIXED.finditer(text):
        value = _word(m["n"]) + _word(m["k"]) * _part(m["p"])
        out.append((m.start(), m.end(), value * _scale(m["u"]), _unit(m["u"]) or "count", False))
    out += [
        (m.start(), m.end(), _word(m["n"]) + _part(m["p"]), m["u"], False) for m in _UNIT_MIXED.finditer(text)
    ]
    return out


def _scale(unit: str | None) -> float:
    return {"million": 1e6, "billion": 1e9}.get((unit or "").casefold(), 1.0)


def _unit(unit: str | None) -> str:
    return "" if (unit or "").casefold() in ("million", "billion", "points", "point") else (unit or "")


def _of_units(text: str) -> list[Part]:
    out: list[Part] = []
    for m in _OF_UNIT.finditer(text):
        if m["v"]:
            out.append((m.start(), m.end(), 0.5, m["v"], False))
        elif m["p2"]:
            out.append(
                (
                    m.start(),
                    m.end(),
                    _word(m["n2"]) / (10 if m["p2"].casefold() == "tenths" else 100),
                    m["u2"],
                    False,
                )
            )
        else:
            unit = _unit(m["u"])
            if unit.casefold().startswith("pound") and text.startswith(" of ", m.end()):
                unit = "lb"
            out.append((m.start(), m.end(), _word(m["n"] or "one") * _part(m["p"]), unit, False))
    return out


def _shares(text: str) -> list[Part]:
    out: list[Part] = []
    for m in _SHARE.finditer(text):
        if m["h"]:
            out.append((m.start(), m.end(), 0.5, "", True))
        elif m["t"]:
            out.append((m.start(), m.end(), 0.75, "", False))
        else:
            name = m["p"].casefold()
            value = _word(m["n"]) * _part("half" if name == "halve" else name)
            out.append(
                (
                    m.start(),
                    m.end(),
                    value,
                    "",
                    name in ("half", "quarter", "third") and m["n"].casefold() in ("a", "an"),
                )
            )
    for m in _IN.finditer(text):
        below = {"a hundred": 100.0, "one hundred": 100.0, "a thousand": 1000.0, "one thousand": 1000.0}.get(
            m["b"].casefold()
        )
        divisor = below or _word(m["b"].replace(",", ""))
        yearlike = len(m["b"]) == 4 and m["b"].isdigit() and 1000 <= divisor <= 2100
        if divisor > _word(m["a"]) and divisor >= 3 and not yearlike:
            out.append((m.start(), m.end(), _word(m["a"]) / divisor, "", True))
    return out


def _written(text: str) -> list[Part]:
    out: list[Part] = []
    for m in _SLASH.finditer(text):
        top, below = float(m["a"] or m["c"]), float(m["b"] or m["d"])
        if below > top:
            out.append((m.start(), m.end(), float(m["w"] or 0) + top / below, "count", m["w"] is None))
    if not text.isascii():
        out += [
            (m.start(), m.end(), float(m["n"] or 0) + _GLYPHS[m["g"]], _unit_word(text, m.end()), False)
            for m in _GLYPH.finditer(text)
        ]
    return out


def _unit_word(text: str, end: int) -> str:
    word = re.compile(r"\s?([^\W\d_]{1,12})").match(text, end)
    return word[1] if word else "count"


def _multiples(text: str) -> list[Part]:
    out: list[Part] = [
        (m.start(), m.end(), _word(m["n"] or m["n3"]), "times", False) for m in _TIMES.finditer(text)
    ]
    for m in _NAME.finditer(text):
        value = _NAMED[m.group().casefold()]
        if value:
            out.append((m.start(), m.end(), float(value), "times" if value >= 1 else "", True))
    return out


_DOZENS = re.compile(rf"\b(?:(?P<n>{_NUMBER}|half a) )dozen\b", re.IGNORECASE)


def _dozens(text: str) -> list[Part]:
    return [
        (m.start(), m.end(), 12 * (0.5 if m["n"].casefold() == "half a" else _word(m["n"])), "count", False)
        for m in _DOZENS.finditer(text)
    ]


def _laps(text: str) -> list[Part]:
    """Times of a race: 00:56.12, 1:02:03.5."""
    if ":" not in text:
        return []
    return [
        (
            m.start(),
            m.end(),
            3600 * int(m[1] or 0) + 60 * int(m[2]) + float(m[3].replace(",", ".")),
            "s",
            False,
        )
        for m in _LAP.finditer(text)
    ]


def _singles(text: str) -> list[Part]:
    return [
        (m.start(), m.end(), 1.0, m["u"], m["n"].casefold() != "one")
        for m in _SINGLE.finditer(text)
        if _unit(m["u"])
    ]


def _others(text: str) -> list[Part]:
    out: list[Part] = []
    for pattern, value, unit in _OTHER:
        out += [(m.start(), m.end(), value, unit, not unit) for m in pattern.finditer(text)]
    for m in _HINDI_HALF.finditer(text):
        number = float(m["n"]) if m["n"].isdigit() else _HINDI.get(m["n"])
        if number:
            out.append((m.start(), m.end(), number + 0.5, m["u"] or "count", False))
    for m in _GERMAN_HALF.finditer(text):
        out.append((m.start(), m.end(), _GERMAN[m[1].casefold()] + 0.5, m[2], False))
    for m in _ARABIC_LESS.finditer(text):
        number = _ARABIC.get(m["n"] or m["m"])
        if number:
            out.append((m.start(), m.end(), number - 0.25 if m["n"] else number + 0.5, "hour", False))
    out += [(m.start(), m.end(), 2.0, _ARABIC_UNIT[m["w"]], False) for m in _ARABIC_DUAL.finditer(text)]
    return out
