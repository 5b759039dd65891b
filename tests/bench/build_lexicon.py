"""Writes the word table (synonyms, broader words, opposites, irregular forms, frequencies) from WordNet 3.0.

    python tests/bench/build_lexicon.py /usr/share/wordnet OUT.json.gz

The folder is the one that Debian's package wordnet-base installs. Only single words are kept, and of each
word
the first senses: rarer ones make too many words look alike.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

POS = ("noun", "verb", "adj", "adv")
LETTER = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
SENSES = {"noun": 5, "verb": 6, "adj": 5, "adv": 4}
Synsets = dict[str, tuple[list[str], list[tuple[str, str, int, int]], str]]
_WORD = re.compile(r"[a-z]+")


def read_synsets(folder: Path, pos: str) -> dict[str, tuple[list[str], list[tuple[str, str, int, int]], str]]:
    """Per offset: its words, its pointers (symbol, target key, source word, target word) and its gloss."""
    out = {}
    for line in (folder / f"data.{pos}").read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):
            continue
        data, _, gloss = line.partition(" | ")
        fields = data.split()
        count = int(fields[3], 16)
        words = [re.sub(r"\(.*\)", "", fields[4 + 2 * i]).lower() for i in range(count)]
        at = 4 + 2 * count
        pointers = []
        for i in range(int(fields[at])):
            symbol, offset, letter, link = fields[at + 1 + 4 * i : at + 5 + 4 * i]
            letter = "a" if letter == "s" else letter
            pointers.append((symbol, letter + offset, int(link[:2], 16), int(link[2:], 16)))
        out[LETTER[pos] + fields[0]] = (words, pointers, gloss)
    return out


def read_senses(folder: Path) -> dict[str, list[str]]:
    """Keys of the first senses of each single word."""
    senses: dict[str, list[str]] = defaultdict(list)
    for pos in POS:
        for line in (folder / f"index.{pos}").read_text(encoding="latin-1").splitlines():
            fields = line.split()
            if line.startswith("  ") or not fields or not _WORD.fullmatch(fields[0]):
                continue
            offsets = fields[6 + int(fields[3]) :]
            senses[fields[0]] += [LETTER[pos] + offset for offset in offsets[: SENSES[pos]]]
    return senses


def upwards(synsets: Synsets, start: set[str]) -> dict[str, list[str]]:
    """For each synset above `start`, its broader ones."""
    broader: dict[str, list[str]] = {}
    queue = sorted(start)
    while queue:
        key = queue.pop()
        if key not in broader:
            broader[key] = [target for symbol, target, _, _ in synsets[key][1] if symbol in ("@", "@i", "&")]
            queue += broader[key]
    return broader


def pairs_of(synsets: Synsets) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Opposites, and derived forms that stemming does not find."""
    opposite: set[tuple[str, str]] = set()
    derived: set[tuple[str, str]] = set()
    for words, pointers, _ in synsets.values():
        for symbol, other, from_word, to_word in pointers:
            if symbol not in ("!", "+", "\\") or not from_word or not to_word:
                continue
            first, second = sorted((words[from_word - 1], synsets[other][0][to_word - 1]))
            if not (_WORD.fullmatch(first) and _WORD.fullmatch(second)) or first == second:
                continue
            if symbol == "!":
                opposite.add((first, second))
            elif first[:5] != second[:5]:
                derived.add((first, second))
    return opposite, derived


def irregular_forms(folder: Path) -> dict[str, str]:
    """Base form of each irregular form."""
    out: dict[str, str] = {}
    for pos in POS:
        for line in (folder / f"{pos}.exc").read_text(encoding="latin-1").splitlines():
            form, *lemmas = line.split()
            if _WORD.fullmatch(form) and lemmas and _WORD.fullmatch(lemmas[0]):
                out.setdefault(form, lemmas[0])
    return out


def main(source: str, target: str) -> None:
    """Reads the folder `source` and writes the table to `target`."""
    folder = Path(source)
    synsets: Synsets = {}
    for pos in POS:
        synsets.update(read_synsets(folder, pos))
    senses = read_senses(folder)
    broader = upwards(synsets, {key for keys in senses.values() for key in keys})
    number = {key: index for index, key in enumerate(sorted(broader))}
    opposite, derived = pairs_of(synsets)
    frequency: Counter[str] = Counter()
    for words, _, gloss in synsets.values():
        frequency.update(_WORD.findall(gloss.lower()))
        frequency.update(word for word in words if _WORD.fullmatch(word))
    table = {
        "source": "WordNet 3.0, Copyright 2006 by Princeton University; licence beside this file",
        "senses": {word: " ".join(str(number[k]) for k in keys) for word, keys in sorted(senses.items())},
        "broader": [" ".join(str(number[t]) for t in broader[key]) for key in sorted(broader)],
        "opposite": sorted(opposite),
        "derived": sorted(derived),
        "irregular": dict(sorted(irregular_forms(folder).items())),
        "frequency": {
            word: round(math.log(count + 1), 1) for word, count in sorted(frequency.items()) if count >= 3
        },
    }
    data = gzip.compress(json.dumps(table, separators=(",", ":")).encode(), 9, mtime=0)
    Path(target).write_bytes(data)
    print(f"{len(senses)} words, {len(broader)} senses, {len(opposite)} opposites, {len(data)} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:3])
