"""Keys whose issuers give them a form: how they begin, which characters follow and how many.

Most come from the rules of gitleaks (data/gitleaks_rules.json, written by tests/make_secret_rules.py).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["KeyForms", "key_forms"]

_RULES = Path(__file__).parent / "data" / "gitleaks_rules.json"
_WORD = "A-Za-z0-9"
_MOST = 2048  # characters of one key that are read; the longest known form has a few hundred


@dataclass(frozen=True, slots=True)
class _Form:
    begins: str
    signs: str  # as a class of an expression
    least: int  # characters after the beginning


# Forms that gitleaks lacks or takes narrower, as their issuers write them.
_MORE = (
    _Form("sk-", _WORD + "_-", 16),  # OpenAI, Anthropic and others
    *(_Form(f"{kind}_{mode}_", _WORD, 10) for kind in ("sk", "rk", "pk") for mode in ("live", "test")),
    _Form("hf_", _WORD, 16),
    *(_Form(f"gh{kind}_", _WORD, 20) for kind in "pousr"),
    _Form("github_pat_", _WORD + "_", 20),
    _Form("glpat-", _WORD + "_-", 16),
    *(_Form(f"xox{kind}-", _WORD + "-", 10) for kind in "abeoprs"),  # Slack
    _Form("xapp-", _WORD + "-", 10),
    *(_Form(start, "A-Z0-9", 16) for start in ("AKIA", "ASIA", "ABIA", "ACCA")),
    _Form("AIza", _WORD + "_-", 30),
    _Form("ya29.", _WORD + "_-", 20),  # Google
    _Form("GOCSPX-", _WORD + "_-", 20),  # Google, a client's secret
    _Form("npm_", _WORD, 30),
    _Form("pypi-", _WORD + "_-", 40),
    _Form("dop_v1_", "a-f0-9", 40),
    _Form("gsk_", _WORD, 20),  # Groq
    _Form("nvapi-", _WORD + "_-", 20),  # NVIDIA
    _Form("xai-", _WORD, 20),
    _Form("r8_", _WORD, 20),  # Replicate
    _Form("hvs.", _WORD + "_-", 20),  # HashiCorp Vault
    _Form("hvb.", _WORD + "_-", 20),
    _Form("dckr_pat_", _WORD + "_-", 20),  # Docker
    _Form("tskey-", _WORD + "_-", 16),  # Tailscale
    _Form("whsec_", _WORD + "+/=", 16),  # webhooks of Stripe and others
    _Form("lin_api_", _WORD, 20),  # Linear
    _Form("sha256~", _WORD + "_-", 43),  # OpenShift
)
# What has no beginning of its own. The three last: as detect-secrets 1.5 (Apache-2.0) knows them.
_SHAPED = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:
      SG\.[A-Za-z0-9_-]{16,200}\.[A-Za-z0-9_-]{16,200}                        # SendGrid
    | eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{0,2000}    # JSON Web Token
    | (?:AC|SK)[0-9a-f]{32}(?![A-Za-z0-9])                                   # Twilio
    | [0-9]{8,10}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])                         # a bot of Telegram
    | [MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}       # a bot of Discord
    )""",
    re.VERBOSE,
)
_HOOK = re.compile(
    r"(?:hooks\.slack\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/webhooks/"
    r"|webhook\.office\.com/webhookb2/)(?P<secret>[A-Za-z0-9_@/+-]{16,400})"
)
_DIGIT = re.compile(r"[0-9]")
_MASK = "\N{BULLET}"
_SHOWN = 4  # characters at the front that stay, so that a reader sees what it was


class KeyForms:
    """Masks keys of known forms; made once, by `key_forms`."""

    def __init__(self, forms: tuple[_Form, ...], services: dict[str, int]) -> None:
        """Takes the forms, and services with the least length of their keys."""
        begins = sorted({form.begins for form in forms}, key=len, reverse=True)
        runs = {form.signs: re.compile(f"[{form.signs}]{{1,{_MOST}}}") for form in forms}
        self._begin = re.compile("|".join(map(re.escape, begins)))
        self._runs = {
            begin: tuple(
                (len(form.begins), re.compile(f"[{form.signs}]{{{form.least}}}"), runs[form.signs])
                for form in forms
                if begin.startswith(form.begins)
            )
            for begin in begins
        }
        self._services = services
        self._service = re.compile("|".join(map(re.escape, sorted(services, key=len, reverse=True))))

    def masked(self, text: str) -> str:
        """`text` with each key of a known form hidden but its first four characters; of the same length."""
        parts: list[str] = []
        kept = 0
        for begin in self._begin.finditer(text):
            at = begin.start()
            if at < kept or (at and text[at - 1].isalnum()):
                continue
            if end := self._end(text, begin):
                parts += [text[kept : begin.start()], _hidden(text[begin.start() : end])]
                kept = end
        text = "".join([*parts, text[kept:]]) if parts else text
        text = _SHAPED.sub(lambda found: _hidden(found.group()), text)
        return _HOOK.sub(_hook, text) if ".com/" in text else text

    def least_of_service(self, before: str) -> int | None:
        """The least length of a key of the service that `before` (lower case) names; None for none."""
        named = self._service.search(before)
        return self._services[named.group()] if named is not None else None

    def _end(self, text: str, begin: re.Match[str]) -> int:
        """Where the key ends that may begin here; 0 where none does."""
        end = 0
        for length, shortest, run in self._runs[begin.group()]:
            start = begin.start() + length
            key = shortest.match(text, start)
            found = run.match(text, start) if key is not None and _is_mixed(key.group()) else None
            if found is not None:
                end = max(end, found.end())
        return end


@cache
def key_forms() -> KeyForms:
    """The forms, read from their file once."""
    rules = json.loads(_RULES.read_text(encoding="utf-8"))
    kept = tuple(_Form(one["begins"], one["signs"], one["least"]) for one in rules["forms"])
    services: dict[str, int] = {}
    for one in rules["services"]:
        services[one["name"]] = min(one["least"], services.get(one["name"], one["least"]))
    return KeyForms((*_MORE, *kept), services)


def _is_mixed(key: str) -> bool:
    """Whether it has a digit or both cases: a long word of a language has neither."""
    return _DIGIT.search(key) is not None or not (key.islower() or key.isupper())


def _hidden(key: str) -> str:
    return key[:_SHOWN] + _MASK * (len(key) - _SHOWN)


def _hook(found: re.Match[str]) -> str:
    start = found.start("secret") - found.start()
    return found.group()[:start] + _MASK * len(found.group("secret"))
