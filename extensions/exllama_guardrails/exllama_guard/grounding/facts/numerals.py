"""Numbers as people write them: digits in every locale's form, and words of ten languages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from exllama_guard.grounding.facts.script import has_other_script

_DIGITS = {ord(c): str(i % 10) for i, c in enumerate("٠١٢٣٤٥٦٧٨٩०१२३४५६७८९۰۱۲۳۴۵۶۷۸۹０１２３４５６７８９")}
_SIGNS = {
    ord("−"): "-", ord("‐"): "-", ord("‑"): "-", ord("－"): "-", ord("\u00a0"): " ", ord("\u202f"): " ",
    ord("\u2009"): " ", ord("٫"): ".", ord("٬"): ",", ord("％"): "%", ord("٪"): "%", ord("："): ":", ord("，"): ",",
    ord("．"): ".", ord("（"): "(", ord("）"): ")", ord("／"): "/", ord("～"): "–", ord("〜"): "–", ord("’"): "'",
    ord("＋"): "+", ord("＝"): "=", ord("￥"): "¥", ord("；"): ";", ord("\u3000"): " ", ord("\u2007"): " ",
    ord("⁄"): "/", ord("\t"): " ",
}  # fmt: skip
_SAME_LENGTH = _DIGITS | _SIGNS


@lru_cache(maxsize=8192)
def plain(text: str) -> str:
    """`text` with digits and marks of all scripts as ASCII ones; every character keeps its place."""
    return text.translate(_SAME_LENGTH)


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number at [start, end). `readings`: what it may stand for, the likeliest first; `step`: its last digit."""

    start: int
    end: int
    readings: tuple[float, ...]
    step: float
    digits: int  # significant digits that are written; trailing zeros of a whole number count only alone
    ordinal: bool = False
    in_words: bool = False


_DIGIT_NUMBER = re.compile(
    r"(?<![\w.])(?:"
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)"
    r"|\d{1,2}(?:,\d{2}){1,4},\d{3}(?:\.\d+)?(?!\d)"
    r"|\d{1,3}(?:\.\d{3})+(?:,\d+)?(?!\d)"
    r"|\d{1,3}(?:['\u2019]\d{3})+(?:[.,]\d+)?(?!\d)"
    r"|\d{1,3}(?: \d{3}){1,4}(?:[.,]\d{1,2})?(?![\d.]|[ ]\d)"
    r"|\d+(?:[.,]\d+)?)"
)
_INNER = re.compile(
    r"(?<=[^\W\d_])(?<=[\u0600-\u06ff\u0900-\u097f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])\d+(?:[.,]\d+)*"
)
_MOST_DIGITS = 18
_DOT_GROUPS = frozenset(("de", "es", "it", "pt", "nl", "fr", "ru", "tr", "da", "id"))


def readings_of(written: str, language: str = "en") -> tuple[tuple[float, ...], float, int] | None:
    """Values, step of the last digit and significant digits of a written number, or None where it is too long."""
    bare = written.replace("'", "").replace(" ", "")
    if len(bare) > _MOST_DIGITS:
        return None
    separators = [c for c in bare if c in ".,"]
    kinds = set(separators)
    if len(kinds) == 2:
        decimal = separators[-1]
        forms = [bare.replace("," if decimal == "." else ".", "").replace(",", ".")]
    elif len(separators) > 1:
        forms = [re.sub("[.,]", "", bare)]
    elif separators:
        forms = _one_separator(bare, separators[0], language)
    else:
        forms = [bare]
    values = tuple(float(form) for form in forms)
    decimals = len(forms[0].partition(".")[2])
    digits = forms[0].replace(".", "").lstrip("0")
    significant = len(digits) if decimals else len(digits.rstrip("0")) or 1
    return values, 10.0**-decimals, significant


def _one_separator(bare: str, mark: str, language: str) -> list[str]:
    before, _, after = bare.partition(mark)
    as_decimal, grouped = f"{before}.{after}", before + after
    if len(after) != 3 or len(before) > 3 or before in ("", "0"):
        return [as_decimal]
    commas = mark == ","
    if commas and language not in _DOT_GROUPS:
        return [grouped]
    groups_first = commas != (language in _DOT_GROUPS)
    return [grouped, as_decimal] if groups_first else [as_decimal, grouped]


def digit_numerals(text: str, language: str = "en") -> list[Numeral]:
    """The numbers that `text` (made plain) writes in digits, also those that stand right behind a sign of a script without spaces."""
    out = []
    for pattern in (_DIGIT_NUMBER, _INNER):
        for match in pattern.finditer(text):
            read = readings_of(match.group(), language)
            if read is not None:
                out.append(Numeral(match.start(), match.end(), *read))
    return out


# --- words

_EASTERN = {c: i for i, c in enumerate("〇一二三四五六七八九")} | {"零": 0, "两": 2, "兩": 2}
_EASTERN_SCALE = {"十": 10, "百": 100, "千": 1000}
_EASTERN_GROUP = {"万": 10_000, "萬": 10_000, "亿": 100_000_000, "億": 100_000_000}
_EASTERN_NUMBER = re.compile("[〇零一二三四五六七八九两兩十百千万萬亿億]+")
_MEASURE_WORDS = "个個名人年月日天周週分時时点點岁歳本枚台次回度块塊元円件种種章条條页页項项号號位家层層倍"


def eastern_value(text: str) -> float | None:
    """The value of a Chinese or Japanese numeral, or None."""
    if all(c in _EASTERN for c in text):
        return float("".join(str(_EASTERN[c]) for c in text))
    total = section = digit = 0
    for c in text:
        if c in _EASTERN:
            digit = _EASTERN[c]
        elif c in _EASTERN_SCALE:
            section += (digit or 1) * _EASTERN_SCALE[c]
            digit = 0
        else:
            total = (
                (total + section + digit) * _EASTERN_GROUP[c]
                if section or digit
                else (total or 1) * _EASTERN_GROUP[c]
            )
            section = digit = 0
    return float(total + section + digit)


def _eastern(text: str) -> list[Numeral]:
    out = []
    for match in _EASTERN_NUMBER.finditer(text):
        word = match.group()
        counted = text[match.end() : match.end() + 1]
        before = text[match.start() - 1 : match.start()]
        if before.isdigit() or (
            len(word) == 1 and (counted not in _MEASURE_WORDS or not counted or word in "万千百亿一")
        ):
            continue
        value = eastern_value(word)
        if value is not None:
            out.append(Numeral(match.start(), match.end(), (value,), 1.0, 2, in_words=True))
    return out


_OTHER_WORDS = {
    "ru": "один одна одно одного одной=1 два две двух двумя=2 три трёх трех тремя=3 четыре четырёх четырех=4 пять пяти=5 "
    "шесть шести=6 семь семи=7 восемь восьми=8 девять девяти=9 десять десяти=10 одиннадцать=11 двенадцать двенадцати=12 "
    "тринадцать=13 четырнадцать=14 пятнадцать пятнадцати=15 шестнадцать=16 семнадцать=17 восемнадцать=18 девятнадцать=19 "
    "двадцать двадцати=20 тридцать тридцати=30 сорок=40 пятьдесят=50 шестьдесят=60 семьдесят=70 восемьдесят=80 "
    "девяносто=90 сто ста=100 двести=200 триста=300 четыреста=400 пятьсот=500 тысяча тысячи тысяч=1000",
    "ar": "واحد واحدة=1 اثنان اثنين اثنتان اثنتين=2 ثلاث ثلاثة=3 أربع أربعة=4 خمس خمسة=5 ست ستة=6 سبع سبعة=7 ثمان ثماني ثمانية=8 "
    "تسع تسعة=9 عشر عشرة=10 عشرون عشرين=20 ثلاثون ثلاثين=30 أربعون أربعين=40 خمسون خمسين=50 ستون ستين=60 سبعون سبعين=70 "
    "ثمانون ثمانين=80 تسعون تسعين=90 مئة مائة=100 ألف=1000",
    "hi": "एक=1 दो दोनों=2 तीन=3 चार=4 पाँच पांच=5 छह छः छ=6 सात=7 आठ=8 नौ=9 दस=10 ग्यारह=11 बारह=12 तेरह=13 चौदह=14 पंद्रह=15 सोलह=16 "
    "सत्रह=17 अठारह=18 उन्नीस=19 बीस=20 पच्चीस=25 तीस=30 चालीस=40 पैंतालीस=45 पचास=50 साठ=60 सत्तर=70 अस्सी=80 नब्बे=90 सौ=100 "
    "हज़ार हजार=1000 डेढ़=1.5 ढाई=2.5",
}


def _other_table() -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for language, rows in _OTHER_WORDS.items():
        pending: list[str] = []
        table = out.setdefault(language, {})
        for part in rows.split():
            word, _, value = part.partition("=")
            pending.append(word)
            if value:
                table.update(dict.fromkeys(pending, float(value)))
                pending = []
    return out


_OTHER = _other_table()
_SCRIPTS = {
    "ru": re.compile("[\u0400-\u04ff]+"),
    "ar": re.compile("[\u0600-\u06ff]+"),
    "hi": re.compile("[\u0900-\u097f]+"),
}
_DUALS = re.compile(
    "(?<![\u0600-\u06ff])(?:ال)?(سنت|يوم|ساعت|دقيقت|شهر|أسبوع|مرت|عام)(?:ان|ين)(?![\u0600-\u06ff])"
)


def _other_language(text: str) -> list[Numeral]:
    out: list[Numeral] = []
    for language, script in _SCRIPTS.items():
        words = [
            (m.start(), m.end(), _OTHER[language].get(m.group().casefold())) for m in script.finditer(text)
        ]
        out += _runs(text, words)
    return out


def _runs(text: str, words: list[tuple[int, int, float | None]]) -> list[Numeral]:
    """Neighbouring number words as one number: "сто двадцать" is 120."""
    out: list[Numeral] = []
    at = 0
    while at < len(words):
        start, end, value = words[at]
        at += 1
        if value is None:
            continue
        while at < len(words) and words[at][2] is not None and text[end : words[at][0]] == " ":
            following = words[at][2] or 0.0
            if following >= 1000 or (following == 100 and value < 10):
                value *= following
            elif following < value and value >= 20 and value % 10 == 0:
                value += following
            else:
                break
            end = words[at][1]
            at += 1
        out.append(Numeral(start, end, (value,), 1.0, 2, in_words=True))
    return out


_WESTERN = ("en", "de", "fr", "es", "it", "pt", "nl")
# A word that may begin or be a number in the language; text2num is only asked where one stands.
_MAYBE = {
    "en": re.compile(
        r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|"
        r"nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|billion|first|second|third|"
        r"(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|"
        r"nineteen|twentie|thirtie)th|ninth|dozen)(?:ths?|s)?\b", re.IGNORECASE),
    "de": re.compile(
        r"\b\w{0,24}(?:zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|zwanzig|dreißig|ßig|zig|hundert|tausend|"
        r"million|eins)\w{0,24}\b", re.IGNORECASE),
    "fr": re.compile(
        r"\b(?:deux|trois|quatre|cinq|six|sept|huit|neuf|dix|onze|douze|treize|quatorze|quinze|seize|vingts?|trente|"
        r"quarante|cinquante|soixante|cents?|mille|million|milliard)", re.IGNORECASE),
    "es": re.compile(
        r"\b(?:dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|once|doce|trece|catorce|quince|veint|treinta|cuarenta|"
        r"cincuenta|sesenta|setenta|ochenta|noventa|cien|mil)", re.IGNORECASE),
    "it": re.compile(
        r"\b(?:due|tre|quattro|cinque|sei|sette|otto|nove|dieci|undici|dodici|tredici|quattordici|quindici|sedici|venti|"
        r"trenta|quaranta|cinquanta|sessanta|settanta|ottanta|novanta|cento|mille|mila)", re.IGNORECASE),
    "pt": re.compile(
        r"\b(?:dois|duas|três|quatro|cinco|seis|sete|oito|nove|dez|onze|doze|treze|catorze|quinze|vinte|trinta|quarenta|"
        r"cinquenta|sessenta|setenta|oitenta|noventa|cem|cento|mil)", re.IGNORECASE),
    "nl": re.compile(
        r"\b(?:twee|drie|vier|vijf|zes|zeven|acht|negen|tien|elf|twaalf|dertien|veertien|twintig|dertig|veertig|vijftig|"
        r"honderd|duizend)", re.IGNORECASE),
}  # fmt: skip
_LETTERED = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d[\d.,]*|[^\w\s]|\n")
_NO_NUMBER_ALONE = frozenset(
    "one ones firsts a an un une uno una ein eine einen einem einer um uma sei sette nova nine's second seconds seconde neuf acht "
    "tre's eins die tenth's mil sept million billion hundred thousand hundreds thousands six's".split()
) - {"sette", "sept", "neuf", "acht"}


class _Token:
    """A token as text2num asks for it, with its place."""

    __slots__ = ("_text", "end", "start")

    def __init__(self, match: re.Match[str]) -> None:
        self._text = match.group().casefold()
        self.start, self.end = match.span()

    def text(self) -> str:
        return self._text

    def nt_separated(self, previous: object) -> bool:
        return self._text == "\n"

    def not_a_number_part(self) -> bool:
        return self._text[0].isdigit()


def _western(text: str, language: str) -> list[Numeral]:
    pattern = _MAYBE.get(language)
    if pattern is None or pattern.search(text) is None:
        return []
    from text_to_num import find_numbers

    tokens = [_Token(match) for match in _LETTERED.finditer(text)]
    out = []
    for found in find_numbers(tokens, language, 0.0):
        first, last = tokens[found.start], tokens[found.end - 1]
        written = text[first.start : last.end]
        if written.casefold() in _NO_NUMBER_ALONE or found.value == 0 or written[0].isdigit():
            continue
        value = float(found.value)
        round_one = value >= 100 and value % 10 == 0
        out.append(
            Numeral(first.start, last.end, (value,), 10.0 if round_one else 1.0, 1 if round_one else 2,
                    bool(found.is_ordinal), True)
        )  # fmt: skip
    return out


_EN_LIKE = re.compile(r"\b(?:the|of|is|and|with|for|are|to)\b")


def word_numerals(text: str, language: str = "en") -> list[Numeral]:
    """The numbers that `text` writes in words; a lone "one" or "a" counts nothing."""
    out: list[Numeral] = []
    if has_other_script(text):
        out += _eastern(text) + _other_language(text)
    languages = [language] if language in _WESTERN else []
    if "en" not in languages and (not languages or _EN_LIKE.search(text)):
        languages.append("en")
    for one in languages:
        out += [n for n in _western(text, one) if not any(n.start < o.end and o.start < n.end for o in out)]
    return out
