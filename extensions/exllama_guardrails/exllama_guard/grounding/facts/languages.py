"""Which language a text is in, as far as the reading of numbers needs to know."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

_TELLING = {
    "de": "der die das und ist nicht ein eine mit von für auf den dem des wird werden sind bei nach auch im zum zur oder",
    "fr": "le la les des est une dans pour que qui sur avec sont pas du au aux ou et par ce cette vous il elle",
    "es": "el los las una que por con para del se es en y su sus como más son al lo está",
    "it": "il gli della che di un una per con sono nel alla è si dei delle più non del al",
    "pt": "o os um uma que por com para do da dos das é no na em não se mais ao são",
    "nl": "het een van en de op te dat voor met zijn niet aan ook bij naar is",
    "en": "the of and to is a in for on with that are by it was be this from at as not or",
}
_OWNERS: dict[str, list[str]] = {}
for _language, _words in _TELLING.items():
    for _one in _words.split():
        _OWNERS.setdefault(_one, []).append(_language)
_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("zh", re.compile("[\u3400-\u9fff]")),
    ("ko", re.compile("[\uac00-\ud7af]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
)
_MOST_CHARACTERS = 1500


@lru_cache(maxsize=4096)
def language_of(text: str, otherwise: str = "en") -> str:
    """The two-letter language of `text`, or `otherwise` where it cannot be told."""
    text = text[:_MOST_CHARACTERS]
    if not text.isascii():
        letters = sum(1 for c in text if c.isalpha()) or 1
        for language, script in _SCRIPTS:
            if len(script.findall(text)) > letters // 5:
                return language
    counts: Counter[str] = Counter()
    for word in re.findall(r"[^\W\d_]+", text.casefold()):
        for language in _OWNERS.get(word, ()):
            counts[language] += 1
    if not counts:
        return otherwise
    best = counts.most_common(2)
    if len(best) > 1 and best[0][1] - best[1][1] < 1:
        return otherwise if otherwise in (best[0][0], best[1][0]) else best[0][0]
    return best[0][0]
