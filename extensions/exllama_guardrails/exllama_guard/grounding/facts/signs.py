"""Chinese, Japanese and Korean text as pairs of signs: what stands for words where nothing parts them."""

from __future__ import annotations

import re

from exllama_guard.grounding.facts import word_cues as cues
from exllama_guard.grounding.facts.tokens import Token

_RUN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+|\d+(?:[.,:/]\d+)*|[A-Za-z][\w.-]*")
_BREAK = re.compile(r"[,;:.!?()\[\]–—|，。；：、！？\n「」『』]")
_ZH_NOT = re.compile(r"不(?!但|仅|只|同|过|少|论|管|超过|足|到)|没有?|未(?!来)|无(?!论)|别(?!的|人)|勿|禁止")
_ZH_BETWEEN = re.compile(r"[可能会用需要得应该被再必允许予以有]*")
_JA_NOT = re.compile(r"(?:ませんでした|ません|なかった|ない|なく|不可|禁止|ずに|ず(?=[、。に]|\Z)|ぬ)")
_JA_MUST = re.compile(
    r"(?:なければ|ないと(?:いけ|なり)|なくては|かもしれ|しか.{0,8}\Z|すみません|ありませんか|ではないか|だけで(?:は|なく))"
)
_JA_STEM = re.compile(r"[\u3400-\u9fff\u30a0-\u30ff]{1,3}[\u3040-\u309f]{0,2}\Z")
_KO_NOT = re.compile(r"(?:지 ?않|없|못 ?하|안 )")
_KANA = re.compile(r"[\u3040-\u309f]{2}\Z")


def signs_of(text: str, language: str) -> tuple[Token, ...]:
    """The words and pairs of signs of one sentence, each turned where a negation turns it."""
    turned = _turned(text, language)
    out: list[Token] = []
    clause, at = 0, 0
    for match in _RUN.finditer(text):
        clause += 1 if _BREAK.search(text, at, match.start()) else 0
        at = match.end()
        run = match.group()
        if not re.match(r"[\u3040-\ud7a3]", run):
            out.append(_token(match.start(), match.end(), run, clause, 1, language, number=run[0].isdigit()))
            continue
        for first in range(max(1, len(run) - 1)):
            start = match.start() + first
            part = text[start : min(match.end(), start + 2)]
            out.append(_token(start, start + len(part), part, clause, turned.get(start, 1), language))
    return tuple(out)


def _token(
    start: int, end: int, part: str, clause: int, sign: int, language: str, *, number: bool = False
) -> Token:
    content = number or not _KANA.match(part)
    pairs = cues.opposites(language).get(part, ())
    return Token(start, end, part, part.casefold(), part.casefold(), content, number, clause, sign, pairs)


def _turned(text: str, language: str) -> dict[int, int]:
    """Places of the pairs of signs that a negation turns."""
    out: dict[int, int] = {}
    if language == "zh":
        for match in _ZH_NOT.finditer(text):
            between = _ZH_BETWEEN.match(text, match.end())
            out[between.end() if between else match.end()] = -1
            for near in range(match.start() - 1, match.end()):
                out.setdefault(near, 0)
    elif language == "ja":
        for match in _JA_NOT.finditer(text):
            if _JA_MUST.search(text, max(0, match.start() - 6), match.end() + 6):
                continue
            stem = _JA_STEM.search(text, max(0, match.start() - 5), match.start())
            if stem:
                out[stem.start()] = -1
    else:
        for match in _KO_NOT.finditer(text):
            out[max(0, match.start() - 2)] = -1
    return out
