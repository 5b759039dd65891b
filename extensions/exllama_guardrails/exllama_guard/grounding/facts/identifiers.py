"""Versions, addresses, codes, paths, flags and names of code in a text: tokens that are the same or not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from exllama_guard.grounding.facts.numerals import plain
from exllama_guard.grounding.facts.terms import has_digit
from exllama_guard.grounding.facts.units import measure_of


@dataclass(frozen=True, slots=True)
class Token:
    """One token at [start, end). `key` is what is compared; two of one `shape` may stand in for each other."""

    start: int
    end: int
    key: str
    shape: str


_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (shape, re.compile(pattern, flags))
    for shape, pattern, flags in (
        ("url", r"\bhttps?://[^\s<>()\"'`\]]{3,200}|\bwww\.[^\s<>()\"'`\]]{3,200}", re.IGNORECASE),
        ("mail", r"(?<![\w.@+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}", 0),
        ("ip", r"(?<![\w.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?:/\d{1,2}|:\d{1,5})?(?![\w]|\.\d)", 0),
        ("flag", r"(?<![\w-])--[A-Za-z][\w-]{1,60}|(?<![\w-])-[A-Za-z](?![\w-])", 0),
        ("path", r"(?<![\w/.<])(?:~|\.{1,2})?/[\w.@-]{1,60}(?:/[\w.@-]{1,60}){0,12}/?(?![\w>])", 0),
        ("file", r"(?<![\w/.-])[\w-]{1,60}(?:\.[\w-]{1,30}){0,2}\.(?:py|js|ts|json|ya?ml|toml|txt|md|csv|tsv|pdf|docx?|xlsx?|html?|css|sh|conf|cfg|ini|log|sql|go|rs|java|cpp|exe|zip|tar|gz|png|jpe?g|svg|xml|env|lock)(?!\w)", re.IGNORECASE),
        ("phone", r"(?<![\w.,+-])(?:\+\d{1,3}[ -]?(?:\(\d{1,4}\)[ -]?)?\d{1,4}(?:[ -]\d{2,8}){1,5}|0\d{2,5}(?:[ -]\d{2,8}){1,4}|\(\d{2,5}\) ?\d{2,4}(?:[ -]\d{2,6}){1,3}|\d{3}-\d{3}-\d{4})(?![\w-]|\.\d)", 0),
        ("version", r"(?<![\w.,-])(?:v(?:ersion)?[ .]?)?\d{1,5}(?:\.\d{1,6}){2,4}(?:-?(?:alpha|beta|rc|dev|post|a|b)\.?\d{0,4})?(?![\w]|[.,]\d)|(?<![\w.])v\d{1,4}(?:\.\d{1,6})?(?![\w]|\.\d)", re.IGNORECASE),
        ("code", r"(?<![\w.-])[A-Z][A-Z0-9]{0,11}(?:[-_/][A-Z0-9]{1,12}){0,3}[-_/]?\d[\dA-Za-z]{0,11}(?:[-_.][\dA-Za-z]{1,12}){0,4}(?!\w)", 0),
        ("code", r"(?<![\w.-])\d{1,6}[-_/](?:[A-Z]{1,5}\d{0,6}|\d{3,8})(?:[-_/]\d{1,8})?(?![\w-])|(?<![\w.,-])\d{1,4}[A-Z](?![\w%°])", 0),
        ("hash", r"(?<![\w])#\d{1,8}(?!\w)|(?<![\w-])[0-9a-f]{4,12}-[0-9a-f]{4,12}(?![\w-])", 0),
        ("constant", r"(?<![\w-])[A-Z][A-Z0-9]{1,30}(?:_[A-Z0-9]{1,30}){1,6}(?!\w)", 0),
        ("name", r"(?<![\w-])[a-z][a-z0-9]{1,30}(?:_[a-z0-9]{1,30}){1,6}(?!\w)", 0),
        ("name", r"(?<![\w-])[a-z]{2,20}(?:[A-Z][a-z0-9]{1,20}){1,4}(?!\w)|(?<![\w-])(?:[A-Z][a-z0-9]{1,20}){2,4}(?=\()", 0),
        ("name", r"`[^`\n]{1,60}`", 0),
        ("labelled", r"(?<=§ )\d{1,4}[a-z]?|(?<=§)\d{1,4}[a-z]?", 0),
    )
)  # fmt: skip
_LABELLED = re.compile(
    r"(?<!\w)(version|release|ver\.?|build|firmware|python|node|numpy|java|llama|rust|release|section|chapter|ch\.|sec\.|"
    r"article|art\.|clause|form|rule|rack|dock|gate|platform|room|port|line|ticket|order|invoice|bus|route|flight|"
    r"model|page|p\.|figure|fig\.|table|appendix|annex|step|round|stage|level|row|lane|no\.|nr\.|number|article|"
    r"kapitel|abschnitt|artikel|raum|gleis|linie|zimmer|artículo|sección|article|chapitre|section|articolo|"
    r"sezione|artigo|secção|cap\.|статья|раздел|версии|версия|versión|versione|versão|build|pid|extension|ext\.?)"
    r"[ :#]{1,2}(\d{1,8}(?:\.\d{1,6}){0,4}[a-z]?)(?![\w%]|[.,:]\d)",
    re.IGNORECASE,
)
_VERSIONED = frozenset(
    (
        "version",
        "release",
        "ver",
        "firmware",
        "python",
        "node",
        "numpy",
        "java",
        "llama",
        "rust",
        "версии",
        "версия",
        "versión",
        "versione",
        "versão",
    )
)


_WITH_DIGITS = frozenset(("ip", "phone", "version", "code", "hash", "labelled"))
_MARKS = {
    "url": ("http", "www.", "HTTP"), "mail": ("@",), "flag": ("-",), "path": ("/",), "file": (".",), "constant": ("_",), "ip": (".",), "labelled": ("§",),
}  # fmt: skip


@lru_cache(maxsize=8192)
def identifiers_of(text: str) -> tuple[Token, ...]:
    """The identifiers of `text` in order, each in one piece."""
    text = plain(text)
    found: list[Token] = []
    digits = has_digit(text)
    for shape, pattern in _PATTERNS:
        if not (digits or shape not in _WITH_DIGITS) or not any(
            mark in text for mark in _MARKS.get(shape, ("",))
        ):
            continue
        for match in pattern.finditer(text):
            _add(found, match.start(), match.end(), match.group(), shape)
    for match in _LABELLED.finditer(text) if digits else ():
        _labelled(found, match)
    return tuple(sorted(found, key=lambda one: one.start))


def _labelled(found: list[Token], match: re.Match[str]) -> None:
    label = match[1].casefold().rstrip(".")
    version = label in _VERSIONED and ("." in match[2] or label in ("version", "release"))
    _add(found, match.start(2), match.end(2), match[2], "version" if version else f"labelled {label}")


def _add(found: list[Token], start: int, end: int, written: str, shape: str) -> None:
    if written.startswith("`"):
        start, end, written = start + 1, end - 1, written[1:-1]
    trimmed = written.rstrip(".,;:")
    end -= len(written) - len(trimmed)
    if any(start < one.end and one.start < end for one in found) or _is_ordinary(trimmed, shape):
        return
    found.append(Token(start, end, key_of(trimmed, shape), shape))


def _is_ordinary(written: str, shape: str) -> bool:
    """Whether it only looks like an identifier: Q3, 3D, a backticked word, "and/or"."""
    numbers = re.fullmatch(r"(\d+)[-/](\d+)", written)
    if numbers is not None and shape in ("code", "phone"):
        return float(numbers[1]) < float(numbers[2]) <= 100 * float(numbers[1]) and len(numbers[2]) < 5
    if shape == "code":
        return (
            bool(
                re.fullmatch(
                    r"[QHW][1-9]|\d{1,3}D|\d+[KMBGTWVAFCL]|[A-Z]?\d{1,2}:\d\d|\d{4}-\d{1,2}", written
                )
            )
            or written.isdigit()
        )
    if shape == "name":
        return measure_of(written) is not None or bool(
            re.fullmatch(r"[\d.,\s]+%?|[A-Za-z]+(?: [A-Za-z]+){2,}", written)
        )
    return shape == "path" and len(written) < 3


def key_of(written: str, shape: str) -> str:
    """What two writings of one identifier share."""
    if shape == "phone":
        return re.sub(r"\D", "", written)
    if shape == "version":
        return re.sub(r"\A(?:version|ver|v)[ .]*", "", written.casefold())
    if shape in ("url", "mail"):
        return re.sub(r"\Ahttps?://(?:www\.)?", "", written.casefold()).rstrip("/")
    if shape == "path":
        return written.rstrip("/") or "/"
    if shape in ("code", "hash", "file"):
        return written.casefold().lstrip("#")
    return written.strip()
