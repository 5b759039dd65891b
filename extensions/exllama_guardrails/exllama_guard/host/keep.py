"""Keeps the panel's settings in the host's own settings file, through the host's own function for files.

Only lines of this extension are written or taken out; every other line stays, character by character.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path

from exllama_guard.errors import UserError
from exllama_guard.host import webui
from exllama_guard.settings import Settings

__all__ = ["keep_settings", "with_kept"]

_PREFIX = "exllama_guardrails-"
_LEFT_ALONE = frozenset({"enabled"})  # the switch is for now; whether it starts switched on is the file's


def keep_settings(settings: Settings) -> str:
    """What was done, in one sentence: the settings stand in the host's settings file from now on.

    Raises:
        UserError: The host did not write the file.
    """
    path = _settings_file()
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    chosen = _chosen(settings)
    after = with_kept(before, chosen)
    try:
        save = import_module("modules.utils").save_file
    except (ModuleNotFoundError, AttributeError) as error:
        raise UserError(
            f"This host has no function that writes its settings; put these lines into {path} yourself: "
            + "; ".join(_line(name, value) for name, value in chosen.items())
        ) from error
    try:
        save(str(path), after)
        written = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} could not be written ({error}); nothing was kept.") from error
    if written != after:
        raise UserError(f"The WebUI refused to write {path}; its log says why. Nothing was kept.")
    known = getattr(webui.shared_module(), "settings", None)
    if isinstance(known, dict):  # what a restart of the page reads
        for name in (field.name for field in fields(Settings) if field.name not in _LEFT_ALONE):
            known.pop(f"{_PREFIX}{name}", None)
        known.update({f"{_PREFIX}{name}": value for name, value in chosen.items()})
    count = len(chosen)
    return f"Kept in {path.name}: {count} setting{'' if count == 1 else 's'} that differ from their defaults."


def with_kept(before: str, chosen: Mapping[str, object]) -> str:
    """The file's text with `chosen` as the only settings of this extension, every other line as it was."""
    names = {field.name for field in fields(Settings)} - _LEFT_ALONE
    kept: list[str] = []
    blank: list[str] = []  # after an entry of ours: it may go on in lines that are indented
    inside = False
    for line in before.splitlines(keepends=True):
        if inside and not line.strip():
            blank.append(line)
            continue
        goes_on = inside and line[0] in " \t-"
        inside = goes_on or _name_of(line) in names
        kept += [] if goes_on else blank
        blank = []
        if not inside:
            kept.append(line)
    kept += blank
    text = "".join(kept)
    if text and not text.endswith("\n") and chosen:
        text += "\n"
    return text + "".join(f"{_line(name, value)}\n" for name, value in chosen.items())


def _name_of(line: str) -> str | None:
    """The setting of ours that an entry of the file begins; None for every other line."""
    key, colon, _ = line.partition(":")
    key = key.strip("'\"")
    return key.removeprefix(_PREFIX) if colon and key.startswith(_PREFIX) else None


def _line(name: str, value: object) -> str:
    """An entry of the file: JSON's numbers, words and quoted texts are YAML's too."""
    return f"{_PREFIX}{name}: {json.dumps(value, ensure_ascii=False)}"


def _chosen(settings: Settings) -> dict[str, object]:
    """The settings that differ from their defaults; not the trace folder that the host's user data has."""
    own = str(webui.user_data_dir() / "exllama_guardrails" / "traces")
    return {
        field.name: value
        for field in fields(Settings)
        if field.name not in _LEFT_ALONE
        and (value := getattr(settings, field.name)) != field.default
        and not (field.name == "trace_folder" and value == own)
    }


def _settings_file() -> Path:
    """The file that the host was started with, else the one in its user data (server.py, 4.9 and 3.23)."""
    given = getattr(getattr(webui.shared_module(), "args", None), "settings", None)
    if given and Path(given).is_file():
        return Path(given)
    return webui.user_data_dir() / "settings.yaml"
