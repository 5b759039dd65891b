"""The user's settings.yaml, checked against the kinds of the defaults before anything uses it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exllama_guard.errors import UserError

__all__ = ["read_settings"]

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
}
_MOST_NAME = 60  # characters of a name in a message


def read_settings(path: Path, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the file, {} without one or with an empty one; an empty value keeps its default.

    Raises:
        UserError: It is not YAML, not one `name: value` a line, or a value is of another kind than it was.
    """
    loaded = _loaded(path) if path.exists() else {}
    if not isinstance(loaded, dict | None):
        raise UserError(
            f"{path} holds a {type(loaded).__name__} instead of one `name: value` a line; "
            "correct it or move it away."
        )
    given = {name: value for name, value in (loaded or {}).items() if value is not None}
    for name, value in given.items():
        wanted = _wanted(name, value, defaults)
        if wanted:
            shown = str(name) if len(str(name)) <= _MOST_NAME else f"{str(name)[:_MOST_NAME]}…"
            raise UserError(f"{shown} in {path} must be {wanted}; correct the line or take it out.")
    return given


def _loaded(path: Path) -> object:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise UserError(f"{path} nests too many brackets; correct it or move it away.") from error
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); correct it or move it away.") from error


def _wanted(name: object, value: object, defaults: Mapping[str, Any]) -> str:
    """What a value that does not fit its name must be; "" where it fits or nothing is known of the name."""
    if not isinstance(name, str):
        return "a name"
    kind = type(defaults.get(name))
    if kind not in _KINDS or type(value) is kind or (kind is float and type(value) is int):
        return ""
    return _KINDS[kind]
