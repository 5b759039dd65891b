"""Writes the forms of keys that traces mask: `python tests/make_secret_rules.py GITLEAKS.TOML LICENSE`.

The source is `config/gitleaks.toml` of https://github.com/gitleaks/gitleaks (MIT). Of each rule stays what
can be looked for in linear time: how a key begins, which characters follow, how many at least; of a rule that
names a service before the key, the service's name and the least length. Its other rules are left out.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "extensions" / "exllama_guardrails" / "exllama_guard" / "trace" / "data" / "gitleaks_rules.json"
SOURCE = "https://github.com/gitleaks/gitleaks, config/gitleaks.toml"
LEAST_PREFIX = 3  # characters; shorter ones ("s.", "SK") begin ordinary words
LEAST_LENGTH = 10
MOST_PREFIXES = 64  # of one rule
# Begin ordinary identifiers, or are no secrets.
LEFT_OUT = {
    "curl-auth-header",
    "curl-auth-user",
    "facebook-access-token",
    "generic-api-key",
    "nuget-config-password",
}
_PREFIX = re.compile(r"(?!https?)[\w.-]+\Z")
_NAME = re.compile(r"(?!password|live_|test_|administrator)[a-z][a-z_-]{3,}\Z")
_SERVICE = re.compile(r"\[\\w\.-\]\{0,50\}\?")
_LAST_GROUP = re.compile(r"\[\\x60'\"\\s=\]\{0,5\}\((?P<key>.+?)\)\(\?:\[\\x60")


def python_form(rule: str) -> str:
    """The rule's expression as Python's `re` reads it, case as in the rule: flags within become groups."""
    rule = rule.replace("[[:alnum:]]", "[A-Za-z0-9]").replace(r"\z", r"\Z").replace("(?-i:", "(?:")
    return rule.replace("(?i:", "(?:").replace("(?i)", "")


def prefixes(tree: list[tuple[object, object]]) -> tuple[list[str], list[tuple[object, object]]]:
    """Every way in which a match begins literally, and the rest of the expression."""
    found = [""]
    for index, (kind, value) in enumerate(tree):
        if kind is sre.AT:
            continue
        more = _choices(kind, value)
        if more is None or len(found) * len(more) > MOST_PREFIXES:
            return found, tree[index:]
        found = [start + one for start in found for one in more]
    return found, []


def _choices(kind: object, value: object) -> list[str] | None:
    """The texts that a part may be, where they are few; None else."""
    if kind is sre.LITERAL:
        return [chr(value)]
    if kind is sre.IN:
        signs = sorted(set(_signs(kind, value)))
        return signs if len(signs) <= 4 else None
    if kind is sre.SUBPATTERN:
        starts, rest = prefixes(list(value[3]))
        return starts if not rest else None
    if kind is sre.BRANCH:
        out: list[str] = []
        for way in value[1]:
            starts, rest = prefixes(list(way))
            if rest:
                return None
            out += starts
        return out
    return None


def _signs(kind: object, value: object) -> Iterator[str]:
    """Every character that a part of an expression may match, of those that keys are made of."""
    if kind is sre.LITERAL:
        yield chr(value)
    elif kind is sre.RANGE:
        yield from (chr(code) for code in range(value[0], value[1] + 1))
    elif kind is sre.CATEGORY:
        names = {sre.CATEGORY_DIGIT: "0-9", sre.CATEGORY_WORD: "A-Za-z0-9_"}
        if value in names:
            yield from (chr(code) for code in range(128) if re.match(f"[{names[value]}]", chr(code)))
    else:
        for inner, given in _inside(kind, value):
            yield from _signs(inner, given)


def _inside(kind: object, value: object) -> list[tuple[object, object]]:
    """The parts that a part is made of; [] where it is made of none."""
    if kind is sre.IN:
        return list(value)
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        return list(value[2])
    if kind is sre.SUBPATTERN:
        return list(value[3])
    return [part for way in value[1] for part in way] if kind is sre.BRANCH else []


def _key_of(rule: str) -> str:
    """The part of a rule that is the key, without what may stand around it."""
    form = python_form(rule)
    end = form.find(r"(?:[\x60'\"\s;]".replace('\\"', '"'))
    return form[:end] if end > 0 else form


def begun(rule: dict[str, object]) -> Iterator[dict[str, object]]:
    """The forms of one rule that begin literally; none where it begins with anything."""
    written = str(rule["regex"])
    form = _key_of(written.partition("|$)|")[2] or written.partition("$)|")[2] or written)
    folded = "(?i)" in str(rule["regex"]) or "(?i:" in str(rule["regex"])
    tree = list(_parser.parse(form))
    if len(tree) == 2 and tree[0][0] is sre.AT:
        tree = tree[1:]
    ways = [tree]
    while len(ways) == 1 and len(ways[0]) == 1 and ways[0][0][0] in (sre.SUBPATTERN, sre.BRANCH):
        kind, value = ways[0][0]
        ways = [list(value[3])] if kind is sre.SUBPATTERN else [list(way) for way in value[1]]
    for way in ways:
        starts, rest = prefixes(way)
        least = sum(_least(part) for part in rest)
        signs = {sign for kind, value in rest for sign in _signs(kind, value)}
        if folded:
            signs |= {
                changed for sign in signs for changed in (sign.lower(), sign.upper()) if len(changed) == 1
            }
        if least < LEAST_LENGTH or not signs or not signs <= {chr(code) for code in range(33, 127)}:
            continue
        for start in starts:
            if len(start) >= LEAST_PREFIX and _PREFIX.match(start):
                yield {"rule": rule["id"], "begins": start, "signs": _class(signs), "least": least}


def _least(part: tuple[object, object]) -> int:
    kind, value = part
    if kind is sre.SUBPATTERN:
        return sum(_least(inner) for inner in value[3])
    if kind is sre.BRANCH:
        return min(sum(_least(inner) for inner in way) for way in value[1])
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        return value[0] * sum(_least(inner) for inner in value[2])
    return 0 if kind is sre.AT else 1


def _class(signs: set[str]) -> str:
    """The characters as a class of an expression."""
    out, rest = "", set(signs)
    for shown, run in (("A-Z", range(65, 91)), ("a-z", range(97, 123)), ("0-9", range(48, 58))):
        if all(chr(code) in rest for code in run):
            out += shown
            rest -= {chr(code) for code in run}
    return out + "".join(re.escape(sign) for sign in sorted(rest))


def named(rule: dict[str, object]) -> Iterator[dict[str, object]]:
    """The service that a rule wants to see before a key, and the key's least length."""
    found = _LAST_GROUP.search(str(rule["regex"]))
    if not _SERVICE.search(str(rule["regex"])) or found is None:
        return
    low, _ = _parser.parse(python_form(found["key"])).getwidth()
    for word in filter(_NAME.match, rule.get("keywords") or ()):
        yield {"rule": rule["id"], "name": word, "least": low}


def main() -> int:
    """Writes the file and says how much of the source it holds."""
    import tomllib

    source, licence = (Path(name) for name in sys.argv[1:3])
    data = source.read_bytes()
    rules = [rule for rule in tomllib.loads(data.decode())["rules"] if rule.get("regex")]
    rules = [rule for rule in rules if rule["id"] not in LEFT_OUT]
    services = [one for rule in rules for one in named(rule)]
    apart = {one["rule"] for one in services}
    forms = [one for rule in rules for one in begun(rule)]
    held = apart | {one["rule"] for one in forms}
    DATA.parent.mkdir(exist_ok=True)
    written = {
        "source": SOURCE,
        "sha256": hashlib.sha256(data).hexdigest(),
        "licence": licence.read_text(encoding="utf-8"),
        "made_by": "tests/make_secret_rules.py",
        "left_out": sorted(rule["id"] for rule in rules if rule["id"] not in held) + sorted(LEFT_OUT),
        "forms": forms,
        "services": services,
    }
    DATA.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(held)} of {len(rules)} rules: {len(forms)} forms, {len(services)} names of services")
    return 0


if __name__ == "__main__":
    sys.exit(main())
