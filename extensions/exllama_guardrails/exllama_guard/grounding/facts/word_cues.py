"""Words that turn, bind or attribute what a sentence says, by language, from data/cues.txt."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).parent / "data" / "cues.txt"


@lru_cache(maxsize=1)
def _sections() -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    name = ""
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
            out[name] = []
        elif line and not line.startswith("#"):
            out[name].append(line)
    return out


@lru_cache(maxsize=256)
def words(section: str) -> frozenset[str]:
    """Case-folded words of one section; several words of one phrase are joined by "_"."""
    return frozenset(" ".join(_sections().get(section, [])).split())


@lru_cache(maxsize=4)
def phrases(section: str) -> frozenset[tuple[str, ...]]:
    """The phrases of one section, each as its words."""
    return frozenset(tuple(one.split("_")) for one in words(section))


@lru_cache(maxsize=16)
def opposites(language: str) -> dict[str, tuple[tuple[int, int], ...]]:
    """For each word of a language with an opposite: (number of the pair, side +1 or -1)."""
    out: dict[str, list[tuple[int, int]]] = {}
    for number, line in enumerate(_sections().get(f"opposite.{language}", [])):
        for side, half in zip((1, -1), line.split(" | "), strict=True):
            for word in half.split():
                out.setdefault(word.replace("_", " "), []).append((number, side))
    return {word: tuple(pairs) for word, pairs in out.items()}
