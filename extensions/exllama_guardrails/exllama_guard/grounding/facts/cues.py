"""Words that ask for arithmetic, and for which."""

from __future__ import annotations

import re

_CUES = {
    "sum": r"total|altogether|combined|together|in all|sum|overall|all told|plus|adds? up|adding|added up|both|zusammen|insgesamt|gesamt|summe|au total|en tout|ensemble|"
           r"en total|suma|juntos|in totale|somma|complessivamente|no total|soma|ao todo|всего|итого|вместе|сумм|总共|一共|合计|共计|総|合計|全部で|إجمالي|المجموع|مجموع|कुल|samen|totaal|start to finish|makes|come to|comes to|each|from .{1,30} (?:to|until)",
    "difference": r"differen|more|less|fewer|longer|shorter|cheaper|dearer|higher|lower|faster|slower|quicker|older|younger|gap|ahead|behind|by|rise|rose|fall|fell|drop|increase|decrease|"
           r"saves?|saving|remain|left|still|after|until|gain|lead|margin|extra|further|additional|over|under|short|lost|net|minus|off|spare|rest|without|not|other|already|between|change|beat|outscore|"
           r"mehr|weniger|günstiger|teurer|unterschied|länger|kürzer|gespart|übrig|différence|moins|reste|hausse|diferencia|más|menos|ahorr|differenza|più|meno|risparmi|diferença|mais|poup|"
           r"разниц|меньше|больше|дешевле|дороже|быстрее|осталось|差|多|少|便宜|剩|増|減|安|فرق|أقل|أكثر|कम|ज़्यादा|अधिक|बचत|deducted|discount|reduced|old|aged?|age|late|early|older",
    "times": r"times|twice|double|triple|quadruple|half|halved|fold|as (?:much|many|long|high|far|big)|third|quarter|ratio|per|each|every|average|mean|rate|share|percent|%|proportion|out of|"
           r"doppelt|mal|fach|fois|moitié|veces|doble|mitad|volte|doppio|metà|vezes|dobro|metade|вдвое|втрое|раз|倍|半|ضعف|गुना|durchschnitt|moyenne|promedio|media|média|средн|平均|औसत|متوسط|pro|je|par|al|por|за|one in|fifth",
}  # fmt: skip


_CUES |= {
    "grows": r"up|rose|rise\w*|increas\w+|grew|grown|growth|more|higher|raised?|gain\w*|plus|surcharge|dearer|longer|hausse|plus cher|aument\w+|gestiegen|mehr|рост|выросл\w+|больше",
    "shrinks": r"down|fell|fall\w*|drop\w*|cut|less|fewer|decreas\w+|lower\w*|cheaper|discount\w*|off|sav\w+|shrank|shorter|reduc\w+|baisse|moins|menos|meno|gesunken|weniger|günstiger|дешевле|меньше",
    "two": r"each way|both|return|round.?trip|there and back|pair|couple|two|double|twice|doubl\w+|half|halv\w+|other half|either way|hin und zurück|aller.retour|ida y vuelta|andata e ritorno|ida e volta|туда и обратно|往復|来回",
    "year": r"years?|annual\w*|yearly|a year|per annum|jahr\w*|jährlich|an(?:née)?s?|año|anno|ano|год\w*|年|سنة|साल|वर्ष|months?",
    "month": r"months?|monthly|monat\w*|mois|mes(?:es)?|mese|mês|месяц\w*|月|شهر|महीन\w+",
    "week": r"weeks?|weekly|woche\w*|semaine|semana|settimana|недел\w+|周|週|أسبوع|हफ़्ते|days?|daily",
    "day": r"days?|daily|24|tage?|jours?|día|giorno|dia|день|天|日|يوم|दिन",
    "hour": r"hours?|hourly|minutes?|stunden?|heures?",
}  # fmt: skip


_STRONG = re.compile(
    r"\b(?:total|altogether|combined|together|in all|sum|differen\w+|more than|less than|fewer|longer|shorter|cheaper|saves?|saving|remain\w*|left|net|gain|each way|"
    r"average|works? out|comes? to|adds? up|double|twice|times|half|later|earlier|insgesamt|zusammen|gesamt|günstiger|au total|en tout|en total|in totale|no total|всего|итого|дешевле|合計|总共|一共|共計|إجمالي|कुल|in meno|moins|menos)\b|合計|总共|一共",
    re.IGNORECASE,
)


def asks_for_a_sum(text: str) -> bool:
    """Whether plain words of a statement or question ask for a result, not for a value that stands somewhere."""
    return _STRONG.search(text) is not None


_CUE = {
    name: re.compile(words if name not in ("grows", "shrinks") else rf"\b(?:{words})\b", re.IGNORECASE)
    for name, words in _CUES.items()
}


def cues_of(text: str) -> frozenset[str]:
    """Which kinds of arithmetic the words of a statement ask for."""
    return frozenset(name for name, pattern in _CUE.items() if pattern.search(text))
