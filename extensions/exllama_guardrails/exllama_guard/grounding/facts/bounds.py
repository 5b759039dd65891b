"""Words around a number that make it a bound or a rough value: "at least", "or more", "about", "almost"."""

from __future__ import annotations

import re

_BEFORE: tuple[tuple[str, str], ...] = (
    (">=", r"not? (?:less|fewer|lower|earlier|younger|shorter) than|not (?:under|below)|at least|minimum(?: of)?|min\.?|a minimum of|"
     r"not before|no earlier than|≥|>=|mindestens|wenigstens|min\.|ab|au moins|minimum|à partir de|al menos|como mínimo|mínimo|por lo menos|"
     r"a partir de|almeno|minimo|pelo menos|no mínimo|не менее|минимум|как минимум|至少|最低|最少|少なくとも|على الأقل|कम से कम|minstens|ten minste"),
    ("<=", r"not? (?:more|greater|higher|longer|later|older|over) than|not (?:exceed(?:ing)?|above|over)|(?:does|do|must|may|can)(?: not|n't) exceed|at most|"
     r"up to|maximum(?: of)?|max\.?|a maximum of|no later than|not later than|within|as (?:much|many) as|≤|<=|limited to|capped at|a cap of|"
     r"höchstens|maximal|bis zu|innerhalb von|max\.|au plus|au maximum|maximum|jusqu'à|como máximo|máximo|hasta|al massimo|massimo|fino a|"
     r"no máximo|até|не более|максимум|до|最多|不超过|最大|最高|حتى|بحد أقصى|अधिकतम|hoogstens|tot"),
    (">", r"(?:more|greater|higher|longer|larger|older|heavier|hotter|warmer|farther|further|later|bigger|faster|fuller) than|over|above|exceed(?:s|ed|ing)?|beyond|past|"
     r"in excess of|upwards of|better than|(?:goes|went|rises|rose|climbs) (?:above|over)|>|mehr als|über|länger als|älter als|plus de|más de|superior a|più di|oltre|mais de|acima de|более|больше|свыше|"
     r"超过|多于|أكثر من|से ज़्यादा|से अधिक|meer dan|boven"),
    ("<", r"(?:less|fewer|lower|shorter|smaller|younger|lighter|colder|cooler|earlier|slower|cheaper) than|under|below|beneath|short of|"
     r"<|weniger als|unter|moins de|menos de|inferior a|meno di|sotto|abaixo de|менее|меньше|少于|低于|أقل من|minder dan|onder"),
)  # fmt: skip
_AFTER: tuple[tuple[str, str], ...] = (
    (
        ">=",
        r"or (?:more|over|above|longer|later|older|higher|greater|better|up)|and (?:over|above|up|older|more|later)(?! (?:to|than))|upwards|and upwards|\+|at least|minimum|at (?:a |the )?minimum|as a minimum|"
        r"up(?=[\s.,;)]|\Z)|oder mehr|und mehr|ou plus|o más|o più|ou mais|и более|以上|或以上|及以上|أو أكثر|या अधिक",
    ),
    (
        "<=",
        r"or (?:less|fewer|under|below|shorter|lower|younger|earlier|sooner)|and (?:under|below|less)|at (?:the )?most|maximum|max\.?|at (?:a |the )?maximum|as a maximum|tops|or so at most|oder weniger|ou moins|"
        r"o menos|o meno|ou menos|и менее|以下|以内|或以下|أو أقل",
    ),
    ("<", r"未満|不到|से कम"),
    (">", r"を超え|超|से ज़्यादा|से अधिक"),
)
_ABOUT = re.compile(
    r"(?:\b(?:about|around|approximately|approx\.?|roughly|some|circa|ca\.|c\.|round about|somewhere around|in the region of|close to|ungefähr|etwa|rund|circa|"
    r"environ|autour de|à peu près|unos|unas|aproximadamente|alrededor de|cerca de|casi|circa|quasi|около|примерно|приблизительно|"
    r"大约|约|大概|約|およそ|だいたい|حوالي|نحو|लगभग|करीब|ongeveer)|[~≈])\s{0,8}(?:(?:an?|the|of)\s{0,8})?\Z",
    re.IGNORECASE,
)
_JUST_UNDER = re.compile(
    r"\b(?:nearly|almost|just under|just below|just short of|a little (?:under|less than|below)|slightly (?:under|less than|below)|close to|fast|knapp|beinahe|"
    r"presque|près de|casi|quasi|poco meno di|quase|почти|将近|近|ほぼ|लगभग|bijna|just shy of|a bit (?:under|less than|below)|not quite)\s{0,8}(?:(?:an?|the)\s{0,8})?\Z",
    re.IGNORECASE,
)
_JUST_OVER = re.compile(
    r"\b(?:just over|just above|just more than|a little (?:over|more than|above)|slightly (?:over|more than|above)|a bit (?:over|more than|above)|well over|well above|gut|"
    r"un peu plus de|poco más de|poco più di|pouco mais de|чуть более|чуть больше|好几|iets meer dan)\s{0,8}(?:(?:an?|the)\s{0,8})?\Z",
    re.IGNORECASE,
)
_ROUND_AFTER = re.compile(
    r"\s?(?:or so|ish|approximately|approx\.|左右|上下|ほど|くらい|ぐらい|余り|前後)", re.IGNORECASE
)
_FILL = r"(?:\s{0,8}(?:a|an|the|of|about|around|from|to|total of|age of|ages of|temperatures?|von|de|di))?[\s:*_(\"'=]{0,8}[$€£¥₹]?\s?\Z"
_BEFORE_ALL = tuple(
    (kind, re.compile(rf"(?:(?<!\w)(?:{words})){_FILL}", re.IGNORECASE)) for kind, words in _BEFORE
)
_AFTER_ALL = tuple((kind, re.compile(rf"\s?\(?(?:{words})(?!\w)", re.IGNORECASE)) for kind, words in _AFTER)
_AFTER_UNIT = 28  # characters behind a number in which "or more" may stand
_LABEL = re.compile(r"\b(max|min)(?:imum|imal\w*|\.)?(?: [\w()]{1,16}){0,4}[:=]\s?\Z", re.IGNORECASE)
_LATEST = re.compile(r"later than", re.IGNORECASE)
_AHEAD = re.compile(r"\b(?:before|prior|ahead|in advance|earlier)\b", re.IGNORECASE)
OPPOSITE = {"<": (">", ">="), "<=": (">", ">="), ">": ("<", "<="), ">=": ("<", "<=")}


def bound_of(before: str, after: str) -> str:
    """The bound "<", "<=", ">", ">=" or "" of a number from the plain text before and behind it (and its unit)."""
    before = before[-40:]
    if _JUST_UNDER.search(before) or _JUST_OVER.search(before):
        return ""
    for kind, pattern in _BEFORE_ALL:
        found = pattern.search(before)
        if found is not None:
            return (
                ">=" if kind == "<=" and _LATEST.search(found.group()) and _AHEAD.search(after[:40]) else kind
            )
    labelled = _LABEL.search(before)
    if labelled is not None:
        return "<=" if labelled[1].casefold() == "max" else ">="
    for kind, pattern in _AFTER_ALL:
        if pattern.match(after[:_AFTER_UNIT]):
            return kind
    return ""


def hedge_of(before: str, after: str) -> str:
    """Roughness: "about", "under" (a little less), "over" (a little more) or ""."""
    before = before[-32:]
    if _JUST_UNDER.search(before):
        return "under"
    if _JUST_OVER.search(before):
        return "over"
    if _ABOUT.search(before) or _ROUND_AFTER.match(after):
        return "about"
    return ""
