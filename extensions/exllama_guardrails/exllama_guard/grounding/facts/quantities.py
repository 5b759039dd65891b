"""Amounts in a text: value, sign, unit, per-unit, bound, roughness and what is counted."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from exllama_guard.grounding.facts.bounds import bound_of, hedge_of
from exllama_guard.grounding.facts.fractions import fractions_of
from exllama_guard.grounding.facts.numerals import Numeral, digit_numerals, plain, word_numerals
from exllama_guard.grounding.facts.terms import is_stop, stem_of
from exllama_guard.grounding.facts.units import (
    CURRENCIES,
    DENOMINATORS,
    MONTHLY,
    NARROWING,
    SYMBOLS,
    Measure,
    is_ambiguous,
    measure_of,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One amount at [start, end). `readings` and `step` are in the base unit of `dimension`.

    `dimension` is "" for a count, "times" for a multiple; `per` is a dimension or "thing:" and a stem.
    """

    start: int
    end: int
    text: str
    readings: tuple[float, ...]
    step: float
    digits: int
    dimension: str = ""
    unit: str = ""
    size: float = 1.0  # of the unit in its base unit
    per: str = ""
    bound: str = ""
    hedge: str = ""
    in_range: bool = False
    ordinal: bool = False
    in_words: bool = False
    soft: bool = False  # "a day", "half": may be said without meaning an amount
    nouns: tuple[str, ...] = ()
    label: str = ""  # the word before it, as in "Round 6"
    shown: float = 0.0  # the number as written, with its sign and magnitude
    accepts: tuple[tuple[float, float], ...] = ()  # what it may stand for; filled where ways to it are sought

    @property
    def value(self) -> float:
        """The likeliest reading."""
        return self.readings[0]


_PREFIX = re.compile(
    rf"(?:(?<![^\W\d_])(?:{'|'.join(map(re.escape, SYMBOLS))}|USD|EUR|GBP|CHF|INR|JPY|CNY|RUB|BRL|SEK|NOK|DKK|Rs\.?|EL|TL|大さじ|小さじ))\s?\Z"
)
_SIGN = re.compile(
    r"(?:(?<![\w)\]%°])|(?<=[;,|(]))(?:-|–(?=\d|[$€£]))\s?\Z|(?:(?<=\bto )|(?<=\bof )|(?<=\bat )|(?<=\bis )|(?<=\bas )|(?<=was )|(?<=from )|(?<=about )|(?<=^))(?:minus|negative)\s\Z|(?:минус\s|零下|マイナス|minus (?=\d{1,3}(?:[.,]\d)? ?°))\Z",
    re.IGNORECASE,
)
_BELOW_ZERO = re.compile(
    r"\s?(?:degrees?|°[CF]?|grad|degrés|grados|graus?|gradi|graden|градус(?:ов|а)?)?\s?(?:celsius\s)?(?:below zero|unter null|below freezing|bajo cero|"
    r"abaixo de zero|sotto (?:lo )?zero|(?:au-dessous de|en dessous de|sous) zéro|onder nul|ниже нуля|تحت الصفر)",
    re.IGNORECASE,
)
_MAGNITUDES = {
    "hundred": 1e2, "thousand": 1e3, "k": 1e3, "million": 1e6, "mn": 1e6, "mio": 1e6, "m": 1e6, "mm": 1e6, "mln": 1e6, "bio": 1e12,
    "billion": 1e9, "bn": 1e9, "b": 1e9, "trillion": 1e12, "tn": 1e12, "dozen": 12.0, "lakh": 1e5, "lakhs": 1e5,
    "crore": 1e7, "crores": 1e7, "millionen": 1e6, "millones": 1e6, "millón": 1e6, "milliarde": 1e9, "milliarden": 1e9,
    "mrd": 1e9, "milliard": 1e9, "mil": 1e3, "tausend": 1e3, "mille": 1e3, "milioni": 1e6, "milione": 1e6, "miliardi": 1e9, "milhões": 1e6,
    "milhão": 1e6, "bilhões": 1e9, "тыс": 1e3, "тысяч": 1e3, "тысячи": 1e3, "млн": 1e6, "миллион": 1e6, "миллионов": 1e6, "миллиона": 1e6,
    "млрд": 1e9, "миллиардов": 1e9, "万": 1e4, "萬": 1e4, "亿": 1e8, "億": 1e8, "千": 1e3, "百万": 1e6, "ألف": 1e3,
    "آلاف": 1e3, "مليون": 1e6, "مليار": 1e9, "लाख": 1e5, "करोड़": 1e7, "हज़ार": 1e3, "हजार": 1e3, "miljoen": 1e6, "miljard": 1e9,
}  # fmt: skip
_MAGNITUDE = re.compile(
    r"[ -]?(?:(?:" + "|".join(sorted((k for k in _MAGNITUDES if k[0] < "\u2e80" and len(k) > 1), key=len, reverse=True))
    + r")s?(?![^\W\d_])|(?:[kKMB])(?![\w²³/])|(?<=\d)m(?!\w)|百万|[万萬亿億千])\.?",
    re.IGNORECASE,
)  # fmt: skip
_EXPONENT = re.compile(
    r"\s?(?:[×x*·]|\\times|\\cdot)\s?10\s?(?:\^\s?\{?([-+]?\d{1,3})\}?|([⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}))|[eE]([-+]?\d{1,3})(?!\w)|(?<=10)\^\{?(\d{1,2})\}?|(?<=10)([⁰¹²³⁴⁵⁶⁷⁸⁹]{1,2})"
)
_POWERS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
# A letter with the marks that some scripts write behind it (Devanagari's vowels), which are no letters to `re`.
_LETTERS = r"(?:[^\W\d_][\u0900-\u0903\u093a-\u094f\u0962\u0963]{0,4})+"
_UNIT_WORD = re.compile(
    _LETTERS + r"(?:\.m|[²³23](?!\w))?(?:/(?:h|s|km/h))?|[%‰°][CF]?(?!\w)|[℃℉]|[$€£¥₹₽₩₺]|°"
)
_LATEX = re.compile(r"(?:\\,|\\;|~|\s)?\\(?:text|mathrm)\{\s?([^{}]{1,12})\}")
_RANGE = re.compile(
    r"\s?(?:-|–|—|to|bis|à|a|until|and|through|bis zu|до|至|到|から|से|و|y|e|et|und)\s?(?:about |up to |[$€£¥₹]\s?)?-?\Z"
)
_RANGE_TO = re.compile(
    r"\b(?:between|from|zwischen|von|entre|de|desde|tra|fra|da|от|с|ranges? from|ranging from|از)\s(?:[$€£¥₹]|about )?\Z",
    re.IGNORECASE,
)
_PER = re.compile(
    r"\s?(?:\(?(?:incl\. |excl\. )?(?:VAT|MwSt)?\)?\s?)?(?:/\s?|\bper\s|\bper(?=\d)|\b(?:a|an)\s(?=(?:day|week|month|year|hour|night|minute|second|quarter|head|person|piece|pop|kg|litre|bottle|ticket)\b(?! (?:earlier|ago|later|before|after|old|older|and a)\b))|\beach\s|"
    r"\bfor each\s|\bfor every\s|\bevery\s|\bpro\s|\bje\s|\bpar\s|\bal(?:la|lo|l')?\s(?=giorno|mese|anno|día|mes|año|settimana|ora)|\bpor\s|\bà\sla\s|\bв\s(?=день|месяц|год|неделю|час|сутки)|\bза\s(?=день|месяц|год|час))(?:each |every |the |single |calendar |full |working |school |financial |started )?"
    r"([^\W\d_]{1,20}|\d{1,4}\s?[^\W\d_]{1,12})",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"(?: each(?= per)|(?: of)?(?: [^\W\d_]{3,16}){1,2}?)(?= (?:per|a|an|each|every|pro|par|al|por|в) )"
)
_PER_WORD = re.compile(r"\s([^\W\d_]{5,12})(?!\w)", re.IGNORECASE)
_EASTERN_PER = re.compile(r"每([年月周天日人份次])|(?:一|1)人(?:分|あたり)|毎([年月週日])|प्रति\s?(\w+)")
_WORD = re.compile(rf"[\u3400-\u9fff\u3040-\u30ff]{{1,3}}|{_LETTERS}(?:['-][^\W\d_]+)*")
_RUN_TOGETHER = re.compile(  # 1h09m49s, 38m12s, 2h 5min
    r"(?<![\w.,:])(?:(?P<h>\d{1,3})\s?h\s?)?(?:(?P<m>\d{1,2})\s?m(?:in)?(?![a-z]))(?:\s?(?P<s>\d{1,2})\s?s(?:ec)?)?(?!\w)",
    re.IGNORECASE,
)
_NP_STOP = re.compile(
    r"[\d=×+÷→.;:!?()|\n\"]|,\s|\s[-–—]\s|\bwhich\b|\bthat\b|\band\b|\bor\b|\bis\b|\bare\b|\bwas\b|\bwere\b|\bin\b|\bon\b|\bat\b|\bby\b|\bfrom\b|\bto\b|\bfor\b|\bwith\b|\bafter\b|\bbefore\b|\bper\b|\bif\b|\bwhen\b|\bhas\b|\bhave\b|\bhad\b|\bper\b|\bas\b|\binto\b|\bthan\b|\bduring\b|\bunder\b|\bbecause\b|\bwhile\b|\bso\b"
)
_MARKED = r"(?:(?:s|source|doc|ref|snippet|\^|#)\s?)?\d{1,3}(?:\s?†[^\]】\n,;]{0,30}(?=[\]】,;]))?"
_MARKER = re.compile(
    rf"[\[【]\s?{_MARKED}(?:(?:\s?[,;–-]\s?|\s){_MARKED}){{0,5}}\s?[,;–-]?\s?[\]】]"
    r"|\(s\d{1,2}\)|(?<=\w)[¹²³](?![\w/])(?<!m[²³])"
    r"|(?:according to |see )?(?:snippet|source|passage) \[?\d{1,2}\]?",
    re.IGNORECASE,
)
_ATTACHED = re.compile(r"[^\W\d]")


def without_markers(text: str) -> str:
    """`text` made plain, with citation markers such as [1], [s2] or 【3†a】 blanked; the rest keeps its place."""
    text = plain(text)
    if (
        not any(mark in text for mark in "[【(¹²³")
        and "snippet" not in text
        and "source" not in text.casefold()
    ):
        return text
    return _MARKER.sub(lambda match: " " * len(match.group()), text)


@lru_cache(maxsize=8192)
def numerals_of(text: str, language: str) -> tuple[Numeral, ...]:
    """All numerals of a plain text in order, none inside another."""
    digits = digit_numerals(text, language)
    words = [
        n
        for n in word_numerals(text, language)
        if not any(n.start < d.end and d.start < n.end for d in digits)
    ]
    return tuple(sorted(digits + words, key=lambda n: n.start))


def quantities_of(text: str, language: str, taken: tuple[tuple[int, int], ...]) -> list[Quantity]:
    """The amounts of a plain text outside of `taken` spans, in order; composed ones ("3 h 35 min") as one."""
    blocked = list(taken)
    out = [_from_fraction(text, *f) for f in fractions_of(text, language) if not _hits(f[0], f[1], blocked)]
    blocked += [(q.start, q.end) for q in out]
    out += [one for one in _run_together(text) if not _hits(one.start, one.end, blocked)]
    blocked += [(q.start, q.end) for q in out]
    for numeral in numerals_of(text, language):
        if _hits(numeral.start, numeral.end, blocked) or _is_part_of_a_word(text, numeral):
            continue
        one = _quantity(text, numeral)
        out.append(one)
        blocked.append((numeral.start, one.end))
    out.sort(key=lambda q: q.start)
    return _composed(text, _ranged(text, out))


def _run_together(text: str) -> list[Quantity]:
    """Durations whose parts stand together without a word, as machines write them."""
    out = []
    minute = measure_of("min")
    for match in _RUN_TOGETHER.finditer(text) if minute else ():
        if match["h"] is None and match["s"] is None:
            continue
        minutes = 60.0 * int(match["h"] or 0) + int(match["m"]) + int(match["s"] or 0) / 60.0
        base = Numeral(match.start(), match.end(), (minutes,), 1.0 / 60.0 if match["s"] else 1.0, 4)
        out.append(_finish(text, base, match.start(), match.end(), minute, 1.0, 0))
    return out


def _hits(start: int, end: int, spans: list[tuple[int, int]]) -> bool:
    return any(start < e and s < end for s, e in spans)


def _is_part_of_a_word(text: str, numeral: Numeral) -> bool:
    """B2B, m2, x86; but not 約50 or 200個, which scripts without spaces write."""
    before = text[numeral.start - 1 : numeral.start]
    if not before or numeral.in_words:
        return False
    return before == "_" or (
        bool(_ATTACHED.match(before))
        and before < "\u0600"
        and not text[: numeral.start].endswith(("CHF", "EUR", "USD", "Rs", "x", "×"))
    )


def _from_fraction(text: str, start: int, end: int, value: float, unit: str, soft: bool) -> Quantity:
    measure = measure_of(unit) if unit else None
    if measure is None:
        share = not unit
        base = Numeral(start, end, (value * (100 if share else 1),), 0.0, 3, in_words=True)
        kind = "times" if unit == "times" else "percent" if share else ""
        return replace(
            _finish(text, base, start, end, None, 1.0, 0),
            dimension=kind,
            soft=soft,
            step=0.0,
            unit="share" if share else "",
        )
    base = Numeral(start, end, (value,), 0.0, 3, in_words=True)
    return replace(_finish(text, base, start, end, measure, 1.0, 0), soft=soft)


def _quantity(text: str, numeral: Numeral) -> Quantity:
    """One amount from a numeral: its sign and currency before it, magnitude and unit behind it."""
    start, end, scale = numeral.start, numeral.end, 1.0
    exponent = _EXPONENT.match(text, end)
    if exponent is not None:
        power = next(g for g in exponent.groups() if g)
        scale, end = (
            10.0
            ** min(300, max(-300, int(power.translate(_POWERS)) - (1 if exponent[4] or exponent[5] else 0))),
            exponent.end(),
        )
    prefix = _PREFIX.search(text, max(0, start - 6), start) if "\\" not in text[start : start + 24] else None
    measure = measure_of(prefix.group().strip()) if prefix else None
    begin = prefix.start() if prefix else start
    magnitude = _MAGNITUDE.match(text, end)
    if (
        magnitude is not None
        and not (numeral.in_words and not magnitude.group().strip(" -"))
        and _is_magnitude(text, magnitude, measure)
    ):
        scale *= _magnitude(magnitude.group())
        end = magnitude.end()
    if measure is None:
        measure, end = _unit_behind(text, end, numeral.ordinal)
        if measure is None and not numeral.ordinal:
            measure, end = _attributed(text, end)
    elif text[end : end + 4].strip() in ("USD", "EUR"):
        end += 4
    signed = _SIGN.search(text, max(0, begin - 10), begin)
    sign = -1 if signed is not None and not _is_operator(text, signed) else 1
    if _BELOW_ZERO.match(text, numeral.end) is not None:
        sign = -1
    if signed is not None and sign < 0:
        begin = signed.start() + len(signed.group()) - len(signed.group().lstrip())
    return _finish(text, numeral, begin, end, measure, scale, sign)


def _is_operator(text: str, signed: re.Match[str]) -> bool:
    """A minus between two amounts takes one from the other; it is no sign."""
    before = text[: signed.start() + len(signed.group()) - len(signed.group().lstrip())]
    return (
        before != before.rstrip()
        and re.search(r"[\d%€£$)]\s+\Z|\d ?[^\W\d]{1,8}\s+\Z", before[-14:]) is not None
        and signed.group().endswith(" ")
    )


def _is_magnitude(text: str, match: re.Match[str], measure: Measure | None) -> bool:
    """As in "45 m" are metres unless money stands before; "8B" a size of models, "3 k" a thousand."""
    word = match.group().strip(" -.")
    if word in ("m", "M", "B", "b", "G"):
        return measure is not None and measure.dimension in CURRENCIES
    if word in ("K", "mm", "bio"):
        return measure is not None and measure.dimension in CURRENCIES
    return True


def _magnitude(written: str) -> float:
    word = written.strip(" -.").casefold()
    return _MAGNITUDES.get(word) or _MAGNITUDES.get(word.rstrip("s"), 1.0)


def _unit_behind(text: str, end: int, ordinal: bool) -> tuple[Measure | None, int]:
    """The unit that follows, past words that only narrow it ("5 business days"), and where it ends."""
    if ordinal:
        return None, end
    latex = _LATEX.match(text, end)
    if latex is not None:
        return measure_of(latex[1].strip()), latex.end()
    at = end
    for _ in range(3):
        gap = re.compile(r"[ \-]{0,2}\*{0,2}[ ]?").match(text, at)
        at = gap.end() if gap else at
        word = _UNIT_WORD.match(text, at)
        if word is None:
            return None, end
        measure, stop = _longest(text, word)
        if measure is not None and text[stop : stop + 2] == "'t":
            return None, end
        if measure is not None and measure.dimension == "GBP" and text.startswith(" of ", stop):
            measure = measure_of("lb")  # "two pounds of flour" are no money
        if measure is not None:
            return (None, end) if _is_no_unit(text, word, stop, at - end) else (measure, stop)
        if word.group().casefold() not in NARROWING and word.group().casefold() not in ("of", "a", "an"):
            return None, end
        at = word.end()
    return None, end


_ATTRIBUTED = re.compile(r"(?:[ -][a-zà-ÿ]{3,14}){1,2} ((?:hour|day|week|month|year|minute|second)s)(?!\w)")
_COMPOUND = re.compile(r"[ -][^\W\d_]{3,24}(tagen?|stunden|minuten|wochen|monaten?|jahren?)(?!\w)")


def _attributed(text: str, end: int) -> tuple[Measure | None, int]:
    """A unit behind words that say of which kind: "250 operating hours", "20 vacation days", "28 Urlaubstage"."""
    match = _ATTRIBUTED.match(text, end)
    if match is not None and not any(is_stop(w) or measure_of(w) for w in match.group().split()[:-1]):
        return measure_of(match[1]), match.end()
    match = _COMPOUND.match(text, end)
    return (measure_of(match[1]), match.end()) if match is not None else (None, end)


def _longest(text: str, first: re.Match[str]) -> tuple[Measure | None, int]:
    """The unit of the most words that begins with `first`: "square metres", "percentage points"."""
    best, stop, at, words = None, first.end(), first.end(), first.group()
    best = measure_of(words)
    for _ in range(2):
        following = re.compile(r"[ -]([^\W\d_]{2,14})(?!\w)").match(text, at)
        if following is None:
            break
        words, at = f"{words} {following[1]}", following.end()
        longer = measure_of(words)
        if longer is not None:
            best, stop = longer, at
    if best is None and first.group()[0] > "\u2e80":
        for size in (4, 3, 2, 1):
            best = measure_of(first.group()[:size])
            if best is not None:
                return best, first.start() + size
    return best, stop


def _is_no_unit(text: str, word: re.Match[str], stop: int, gap: int) -> bool:
    """Short names that are words as well: "5 in total", "3 a week", "12 B"."""
    written = word.group()
    if not is_ambiguous(written) or stop != word.end():
        return False
    if written == "p":
        return gap > 0
    if written.casefold() in ("b", "d", "a"):
        return True
    if written in ("in", "an", "as", "us", "et"):
        return text[stop : stop + 1] not in (".", ",", ")", ";", "") or gap == 0
    return False


def _finish(
    text: str, numeral: Numeral, start: int, end: int, measure: Measure | None, scale: float, sign: int
) -> Quantity:
    per, divisor, per_end = _per_behind(text, end)
    bound = bound_of(text[:start], text[max(end, per_end) :] if per else text[end:])
    hedge = hedge_of(text[:start], text[end:])
    factor = (measure.factor if measure else 1.0) * scale / divisor
    offset = measure.offset if measure and not per else 0.0
    sign = sign or 1
    readings = tuple(sign * r * factor + offset for r in numeral.readings)
    nouns = _nouns_behind(text, per_end if per else end)
    label = _label(text, start) if measure is None and not nouns else ""
    return Quantity(
        start, end, text[start:end], readings, numeral.step * factor, numeral.digits,
        measure.dimension if measure else "", measure.name if measure else "", factor,
        per, bound, hedge, False, numeral.ordinal, numeral.in_words, False, nouns, label, sign * numeral.readings[0] * scale,
    )  # fmt: skip


def _per_behind(text: str, end: int) -> tuple[str, float, int]:
    """What the amount is per, in the base unit of that dimension, and where its words end."""
    match = _PER.match(text, end)
    if match is None:
        counted = _COUNTED.match(text, end)
        match = _PER.match(text, counted.end()) if counted is not None else None
        match = (
            match
            if match is not None
            and match.group().strip().casefold().startswith(("per", "/", "a ", "an ", "every", "each"))
            else None
        )
    if match is not None:
        word = match[1]
        again = _PER.match(text, match.end())
        if again is not None and measure_of(again[1]) is None:
            again = None
        amount = re.match(r"(\d{1,4})\s?", word)
        number = float(amount[1]) if amount else 1.0
        name = word[amount.end() :] if amount else word
        measure = measure_of(name)
        if measure is not None and (measure.dimension in ("time", "month") or "/" in match.group()):
            return measure.dimension, measure.factor * number, match.end()
        if measure is not None or (not is_stop(name) and len(name) > 2):
            more, divisor, stop = _per_behind(text, match.end()) if again else ("", 1.0, match.end())
            return f"thing:{measure.name if measure else stem_of(name)} {more}".strip(), divisor, stop
    word = _PER_WORD.match(text, end)
    if word is not None:
        name = word[1].casefold()
        if name in DENOMINATORS:
            return "time", DENOMINATORS[name], word.end()
        if name in MONTHLY:
            return "month", MONTHLY[name], word.end()
    return "", 1.0, end


def _nouns_behind(text: str, end: int) -> tuple[str, ...]:
    """The stems of up to four content words behind an amount: what it counts or measures."""
    after = text[end : end + 60]
    out: list[str] = []
    first = re.match(
        r"[\s\-*_]{0,4}(?:of |de |von |di |d')?(?:the |our |its |their |these |those |all |his |her )?", after
    )
    at = first.end() if first else 0
    stop = _NP_STOP.search(after, at)
    limit = stop.start() if stop else len(after)
    for word in _WORD.finditer(after, at, limit):
        if is_stop(word.group()) and word.group() not in ("of",):
            break
        if word.group() != "of":
            out.append(stem_of(word.group()))
        if len(out) == 4 or word.group()[0] > "\u2e80":
            break
    return tuple(out)


def _label(text: str, start: int) -> str:
    before = re.search(r"([^\W\d_]{2,20})[ :#.*]{1,4}\Z", text[max(0, start - 26) : start])
    return stem_of(before[1]) if before is not None and not is_stop(before[1]) else ""


def _ranged(text: str, found: list[Quantity]) -> list[Quantity]:
    """Both ends of a range carry its unit, per-unit and nouns."""
    out = list(found)
    for index in range(len(out) - 1):
        first, second = out[index], out[index + 1]
        gap = text[first.end : second.start]
        if len(gap) > 12 or not _RANGE.match(gap):
            continue
        to = bool(_RANGE_TO.search(text[max(0, first.start - 16) : first.start]))
        word = gap.strip().casefold()
        if word in ("and", "a", "e", "y", "et", "und", "و") and not to:
            continue
        if second.value <= first.value and not to:
            sign = text[second.start - 1 : second.start]
            if sign not in "-–" or not second.dimension:
                continue
        lower = (
            _with_unit_of(first, second)
            if not first.dimension or first.dimension == second.dimension
            else first
        )
        upper = (
            _with_unit_of(second, first) if not second.dimension and first.dimension in CURRENCIES else second
        )
        ranged = to or word in ("-", "–", "—", "to", "bis", "à", "до", "至", "から", "से", "a")
        out[index] = replace(lower, in_range=ranged, nouns=lower.nouns or upper.nouns)
        out[index + 1] = replace(upper, in_range=ranged)
    return out


def _with_unit_of(one: Quantity, other: Quantity) -> Quantity:
    if one.dimension and one.per == other.per:
        return one
    if one.dimension:
        return replace(one, per=other.per)
    measured = measure_of(other.unit) if other.unit else None
    offset = measured.offset if measured and not other.per else 0.0
    readings = tuple(r * other.size + offset for r in one.readings)
    return replace(
        one, readings=readings, step=one.step * other.size, dimension=other.dimension, unit=other.unit,
        size=other.size, per=other.per, nouns=one.nouns or other.nouns,
    )  # fmt: skip


_LINK = re.compile(r"(?:\s|,|\band\b|\bund\b|\bet\b|\by\b|\be\b|\bи\b|\bو ?){0,3}\Z")


def _composed(text: str, found: list[Quantity]) -> list[Quantity]:
    """As in "3 hours and 35 minutes", "5 ft 3 in", "3 pounds 80", "an hour and a half" as one amount each."""
    out: list[Quantity] = []
    for one in found:
        before = out[-1] if out else None
        if (
            before is not None
            and _LINK.match(text[before.end : one.start])
            and len(text[before.end : one.start]) <= 6
        ):
            joined = _sum_of(text, before, one)
            if joined is not None:
                out[-1] = joined
                continue
        out.append(one)
    return out


def _sum_of(text: str, first: Quantity, second: Quantity) -> Quantity | None:
    if first.per or first.in_range or second.in_range or second.hedge:
        return None
    if (
        first.dimension in CURRENCIES
        and not second.dimension
        and second.value < 100
        and text[first.end : second.start] in (" ", " e ", " et ", " und ", " y ")
    ):
        if second.nouns and not second.nouns[0].startswith(("cent", "penc")):
            return None
        second = replace(
            second, readings=(second.value / 100,), step=0.01, dimension=first.dimension, size=0.01
        )
    if (
        first.dimension not in ("time", "month", "length", "mass", *CURRENCIES)
        or second.dimension != first.dimension
    ):
        return None
    if second.per and not first.per:
        measure = measure_of(second.unit)
        divisor = measure.factor / second.size if measure else 1.0
        first = replace(
            first,
            readings=tuple(r / divisor for r in first.readings),
            size=first.size / divisor,
            per=second.per,
        )
    if (
        second.size >= first.size
        or second.value >= first.size
        or ("," in text[first.end : second.start] and first.dimension in CURRENCIES)
    ):
        return None
    readings = tuple(a + b for a in first.readings for b in second.readings)
    return replace(
        first, end=second.end, text=text[first.start : second.end], readings=readings, step=second.step, digits=4,
        size=first.size, nouns=second.nouns, per=second.per, soft=False, shown=readings[0] / first.size,
    )  # fmt: skip
