"""API keys, tokens, passwords and private keys in a text, masked without moving any other character.

The forms are those that their issuers publish (a fixed prefix and a length); without a prefix a value counts
as secret only behind a name such as `api_key=` and only where it looks random.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar, cast

__all__ = ["masked", "masked_deep"]

T = TypeVar("T")

_MASK = "\N{BULLET}"
_SHOWN = 4  # characters at the front that stay, so that a reader sees what it was

_PREFIXED = re.compile(
    r"""\b(?:
      sk-[A-Za-z0-9_-]{16,}                      # OpenAI, Anthropic and others
    | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}  # Stripe
    | hf_[A-Za-z0-9]{16,}                        # Hugging Face
    | gh[pousr]_[A-Za-z0-9]{20,}                 # GitHub
    | github_pat_[A-Za-z0-9_]{20,}
    | glpat-[A-Za-z0-9_-]{16,}                   # GitLab
    | xox[abeoprs]-[A-Za-z0-9-]{10,}             # Slack
    | xapp-[A-Za-z0-9-]{10,}
    | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}        # AWS
    | AIza[A-Za-z0-9_-]{30,}                     # Google
    | ya29\.[A-Za-z0-9_-]{20,}
    | npm_[A-Za-z0-9]{30,}
    | pypi-[A-Za-z0-9_-]{40,}
    | dop_v1_[a-f0-9]{40,}                       # DigitalOcean
    | (?<![A-Za-z0-9_-])SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}  # SendGrid
    | (?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*  # JSON Web Token
    )""",
    re.VERBOSE,
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
# What may stand in a key whose end was cut off: base64, and the header lines of an encrypted one.
_KEY_LINES = re.compile(r"(?:\r?\n[A-Za-z-]{1,40}: [^\n]{0,200})*[A-Za-z0-9+/=\r\n\\]*")
_AUTHORIZED = re.compile(r"\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9._~+/-]{16,}=*)", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"://[^\s/:@]{0,100}:(?P<secret>[^\s/@]{3,200})@")
_SEPARATOR = re.compile("[:=]")
_VALUE = re.compile(r"[:=]?>?\s{0,3}[\"'`]?(?P<secret>[^\s\"'`,;<>(){}\[\]]{8,512})")
_NAMES = ("key", "secret", "token", "credential", "credentials", "authorization")
_PASSWORDS = ("password", "passwd", "passphrase", "pwd")
_NAME_WITHIN = 24  # characters before the separator that are looked at
_RANDOM_FROM = 16  # characters of a value behind a name; a password may be shorter
# What a form needs: most texts have none of it, and looking for plain text is quick.
_PREFIXES = (
    "sk-", "k_live_", "k_test_", "hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
    "xox", "xapp-", "AKIA", "ASIA", "ABIA", "ACCA", "AIza", "ya29.", "npm_", "pypi-", "dop_v1_", "SG.", "eyJ",
)  # fmt: skip


def masked(text: str) -> str:
    """`text` with each secret's characters replaced but the first four; of the same length."""
    if any(prefix in text for prefix in _PREFIXES):
        text = _PREFIXED.sub(lambda found: _hidden(found.group()), text)
    if "PRIVATE KEY" in text:
        text = _without_private_keys(text)
    if "://" in text and "@" in text:
        text = _IN_ADDRESS.sub(_hidden_part, text)
    lower = text.lower()
    if "bearer" in lower or "basic" in lower:
        text = _AUTHORIZED.sub(_hidden_part, text)
    if any(name in lower for name in (*_NAMES, *_PASSWORDS)):
        text = _without_named(text)
    return text


def masked_deep(value: T) -> T:
    """The same value with every text in it masked, through dataclasses and tuples; enums stay."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return cast("T", masked(value))
    if isinstance(value, tuple):
        return cast("T", tuple(masked_deep(part) for part in value))
    if is_dataclass(value) and not isinstance(value, type):
        changes: dict[str, Any] = {}
        for field in fields(value):
            before = getattr(value, field.name)
            after = masked_deep(before)
            if after is not before and after != before:
                changes[field.name] = after
        return cast("T", replace(value, **changes)) if changes else value
    return value


def _hidden(secret: str, shown: int = _SHOWN) -> str:
    return secret[:shown] + _MASK * (len(secret) - shown)


def _hidden_part(found: re.Match[str]) -> str:
    start, end = found.start("secret") - found.start(), found.end("secret") - found.start()
    whole, secret = found.group(), found.group("secret")
    return whole[:start] + _hidden(secret, 0) + whole[end:]


def _without_private_keys(text: str) -> str:
    """`text` with each key in PEM form hidden, from behind its first line to its last one."""
    parts: list[str] = []
    ends = [match.start() for match in _KEY_END.finditer(text)]
    kept = 0
    for begin in _PRIVATE_KEY.finditer(text):
        if begin.start() < kept:
            continue
        following = bisect_left(ends, begin.end())
        lines = _KEY_LINES.match(text, begin.end())
        cut = lines.end() if lines is not None else begin.end()
        end = ends[following] if following < len(ends) else cut
        parts += [text[kept : begin.end()], _hidden(text[begin.end() : end], 0)]
        kept = end
    return "".join([*parts, text[kept:]])


def _without_named(text: str) -> str:
    """`text` with the values behind names such as `api_key=` hidden where they look random."""
    parts, kept = [], 0
    for separator in _SEPARATOR.finditer(text):
        at = separator.start()
        if at < kept:
            continue
        before = text[max(0, at - _NAME_WITHIN) : at].rstrip(":= ").rstrip("\"'`").lower()
        is_password = before.endswith(_PASSWORDS)
        if not is_password and not before.endswith(_NAMES):
            continue
        value = _VALUE.match(text, separator.end())
        if value is not None and _looks_secret(value.group("secret"), is_password=is_password):
            parts += [text[kept : value.start("secret")], _hidden(value.group("secret"), 0)]
            kept = value.end()
    return "".join([*parts, text[kept:]]) if parts else text


def _looks_secret(value: str, *, is_password: bool) -> bool:
    """Whether a value behind a name is random enough: letters and digits mixed, and long, or a password."""
    secret = value.rstrip(".!?")
    if _MASK in secret:
        return False
    mixed = any(sign.isdigit() for sign in secret) and any(sign.isalpha() for sign in secret)
    if is_password:
        return mixed or any(not sign.isalnum() and sign not in "-_/." for sign in secret)
    return mixed and len(secret) >= _RANDOM_FROM and len(set(secret)) >= 8 and "://" not in secret
