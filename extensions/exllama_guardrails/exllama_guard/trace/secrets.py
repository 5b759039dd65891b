"""API keys, tokens, passwords and private keys in a text, masked without moving any other character.

The forms are those that their issuers publish (key_forms.py); without one a value counts as secret only
behind a name such as `api_key=` or that of a service, and only where it looks random.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar, cast

from exllama_guard.core.snippets import Span
from exllama_guard.trace.key_forms import KeyForms, key_forms
from exllama_guard.trace.private_keys import without_private_keys

__all__ = ["masked", "masked_deep"]

T = TypeVar("T")

_MASK = "\N{BULLET}"

_AUTHORIZED = re.compile(r"\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9._~+/-]{16,}=*)", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"://[^\s/:@]{0,100}:(?P<secret>[^\s/@]{3,200})@")
_ALONE_IN_ADDRESS = re.compile(r"://(?P<secret>[A-Za-z0-9_.~-]{16,255})@")
_SEPARATOR = re.compile("[:=\uff1a]")
_VALUE = re.compile(r"[:=]?>?\s{0,3}[\"'`]?(?P<secret>[^\s\"'`,;<>(){}\[\]]{8,512})")
_PASSWORD_WORD = re.compile(r"[:=]?>?\s{0,3}[\"'`]?(?P<secret>[^\s\"'`,;<>(){}\[\]]{4,512})")
# A password may be of several words, and in quotation marks.
_PASSWORD = re.compile(
    r"[:=]?>?[ \t]{0,3}(?:(?P<mark>[\"'`])(?P<quoted>[^\n\"'`]{4,200})(?P=mark)"
    r"|(?P<words>[^\s\"'`,;<>(){}\[\]]{2,64}(?:[ \t][^\s\"'`,;<>(){}\[\]]{1,64}){1,5})[ \t]{0,8}(?=\r?\n|\Z))"
)
_NAMES = ("key", "secret", "token", "credential", "credentials", "authorization")
_PASSWORDS = (
    "password", "passwd", "passphrase", "pwd", "passwort", "kennwort", "passcode", "mot de passe",
    "contraseña", "senha", "wachtwoord", "hasło", "heslo", "lösenord", "пароль", "密码", "密碼",
    "パスワード", "비밀번호",
)  # fmt: skip
# How a sentence about passwords goes on, or what stands where none is told.
_NO_PASSWORD = frozenset(
    (
        "a", "an", "the", "is", "are", "was", "be", "must", "should", "can", "may", "has", "have",
        "not", "no", "none", "your", "my", "our", "their", "this", "that", "it", "to", "for", "of",
        "in", "on", "at", "if", "when", "which", "required", "optional", "empty", "hidden", "ist",
        "sind", "muss", "darf", "kann", "der", "die", "das", "ein", "eine", "nicht",
    )
)  # fmt: skip
_NAME_WITHIN = 24  # characters before the separator that are looked at
_RANDOM_FROM = 16  # characters of a value behind a name; a password may be shorter


def masked(text: str) -> str:
    """`text` with each secret's characters replaced but the first four; of the same length."""
    forms = key_forms()
    text = forms.masked(text)
    if "PRIVATE KEY" in text:
        text = without_private_keys(text)
    if "://" in text and "@" in text:
        text = _IN_ADDRESS.sub(_hidden_part, text)
        text = _ALONE_IN_ADDRESS.sub(_hidden_if_random, text)
    lower = text.lower()
    if "bearer" in lower or "basic" in lower:
        text = _AUTHORIZED.sub(_hidden_part, text)
    return _without_named(text, forms)


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


def _hidden_part(found: re.Match[str]) -> str:
    start, end = found.start("secret") - found.start(), found.end("secret") - found.start()
    whole, secret = found.group(), found.group("secret")
    return whole[:start] + _MASK * len(secret) + whole[end:]


def _hidden_if_random(found: re.Match[str]) -> str:
    return _hidden_part(found) if _looks_secret(found.group("secret")) else found.group()


def _without_named(text: str, forms: KeyForms) -> str:
    """`text` with the values behind names such as `api_key=` hidden where they look random."""
    parts: list[str] = []
    kept = 0
    for separator in _SEPARATOR.finditer(text):
        at = separator.start()
        if at < kept:
            continue
        before = text[max(0, at - _NAME_WITHIN) : at].rstrip(":= ").rstrip("\"'`*").lower()
        span = _secret_after(text, separator.end(), before, forms)
        if span is not None:
            parts += [text[kept : span.start], _MASK * len(span)]
            kept = span.end
    return "".join([*parts, text[kept:]]) if parts else text


def _secret_after(text: str, at: int, before: str, forms: KeyForms) -> Span | None:
    """The place of the secret that stands at `at`, behind the name that `before` ends with; None for none."""
    if before.endswith(_PASSWORDS):
        return _password_at(text, at)
    least = _RANDOM_FROM if before.endswith(_NAMES) else forms.least_of_service(before)
    value = _VALUE.match(text, at) if least is not None else None
    if value is None or least is None or not _looks_secret(value.group("secret"), max(least, _RANDOM_FROM)):
        return None
    return Span(*value.span("secret"))


def _password_at(text: str, at: int) -> Span | None:
    found = _PASSWORD.match(text, at)
    if found is not None:
        name = "quoted" if found["quoted"] else "words"
        words = found[name].lower().split()
        spoken = words[0] in _NO_PASSWORD or any(word.endswith((":", ".")) for word in words)
        if len(words) > 1 and not spoken and _MASK not in found[name]:
            return Span(*found.span(name))
    value = _PASSWORD_WORD.match(text, at)
    return Span(*value.span("secret")) if value is not None and _is_password(value.group("secret")) else None


def _is_password(value: str) -> bool:
    """Whether a word behind a password's name is no word of a language."""
    secret = value.rstrip(".!?")
    if _MASK in secret:
        return False
    return _is_mixed(secret) or any(not sign.isalnum() and sign not in "-_/." for sign in secret)


def _looks_secret(value: str, least: int = _RANDOM_FROM) -> bool:
    """Whether a value is random enough: letters and digits mixed, long, of many characters."""
    secret = value.rstrip(".!?")
    if _MASK in secret or "://" in secret:
        return False
    return _is_mixed(secret) and len(secret) >= least and len(set(secret)) >= 8


def _is_mixed(secret: str) -> bool:
    return any(sign.isdigit() for sign in secret) and any(sign.isalpha() for sign in secret)
