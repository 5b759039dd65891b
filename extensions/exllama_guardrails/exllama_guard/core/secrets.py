"""API keys, tokens, passwords and private keys in a text, masked without moving any other character.

The forms are those that their issuers publish (a fixed prefix and a length); without a prefix a value counts
as secret only behind a name such as `api_key=` and only where it looks random.
"""

from __future__ import annotations

import re
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
    | SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}  # SendGrid
    | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*  # JSON Web Token
    )""",
    re.VERBOSE,
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?P<secret>.{0,8000}?(?=-----END [A-Z0-9 ]{0,30}PRIVATE KEY)|[A-Za-z0-9+/=\r\n\\]*)",
    re.DOTALL,
)
_AUTHORIZED = re.compile(r"\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9._~+/-]{16,}=*)", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"://[^\s/:@]{0,100}:(?P<secret>[^\s/@]{3,200})@")
_NAMED = re.compile(
    r"""(?P<name>(?:api|access|secret|private|auth|account)[_\-\ ]?key|key|secret|token|credentials?
    |passw(?:or)?d|passphrase|pwd|authorization)
    ["'`]?\s{0,3}(?:=>|:=|[:=])\s{0,3}["'`]?(?P<secret>[^\s"'`,;<>(){}\[\]]{8,512})""",
    re.VERBOSE | re.IGNORECASE,
)
_RANDOM_FROM = 16  # characters of a value behind a name; a password may be shorter
_WORDS_OF_PASSWORDS = ("passw", "passphrase", "pwd")
# What any of the forms above needs; most texts have none of it and are not read six times.
_HINT = re.compile(
    r"sk[-_]|[rp]k_|hf_|gh[pousr]_|github_pat_|glpat-|xox|xapp-|A[KSBC][IC]A|AIza|ya29\.|npm_|pypi-|dop_v1_"
    r"|SG\.|eyJ|-----BEGIN|://|(?i:bearer|basic|key|secret|token|credential|passw|passphrase|pwd|authoriz)"
)


def masked(text: str) -> str:
    """`text` with each secret's characters replaced but the first four; of the same length."""
    if _HINT.search(text) is None:
        return text
    text = _PREFIXED.sub(lambda found: _hidden(found.group()), text)
    for form in (_PRIVATE_KEY, _AUTHORIZED, _IN_ADDRESS):
        text = form.sub(_hidden_part, text)
    return _NAMED.sub(lambda found: _hidden_part(found) if _looks_secret(found) else found.group(), text)


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


def _looks_secret(found: re.Match[str]) -> bool:
    """Whether a value behind a name is random enough: letters and digits mixed, and long, or a password."""
    secret = found.group("secret").rstrip(".!?")
    name = found.group("name").casefold()
    if _MASK in secret:
        return False
    mixed = any(sign.isdigit() for sign in secret) and any(sign.isalpha() for sign in secret)
    if name.startswith(_WORDS_OF_PASSWORDS):
        return mixed or any(not sign.isalnum() and sign not in "-_/." for sign in secret)
    return mixed and len(secret) >= _RANDOM_FROM and len(set(secret)) >= 8 and "://" not in secret
