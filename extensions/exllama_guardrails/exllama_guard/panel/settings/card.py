"""The Settings tab: every setting, applied from the next reply on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from exllama_guard.panel.card import Action, Card, PanelParts, Said, Visit
from exllama_guard.panel.packet import Page, Slot
from exllama_guard.panel.settings.markup import settings_form
from exllama_guard.panel.words import SETTINGS_ELSEWHERE
from exllama_guard.settings import Settings

__all__ = ["SettingsCard"]


class SettingsCard(Card):
    """The form of all settings."""

    tab = "settings"
    places = ("settings",)

    def __init__(self, parts: PanelParts) -> None:
        """Remembers the folders that the host chose when it started: a reset goes back to those."""
        super().__init__(parts)
        started = parts.source.settings
        self._host_folders = {
            "trace_folder": started.trace_folder,
            "knowledge_folder": started.knowledge_folder,
        }

    @property
    def actions(self) -> Mapping[str, Action]:
        """Apply, reset, and keep where the host can."""
        kept: dict[str, Action] = {} if self.parts.keep is None else {"keep-settings": self._keep}
        return {"apply-settings": self._apply, "reset-settings": self._reset, **kept}

    def page(self, visit: Visit) -> Page:
        """The form with the settings in force."""
        return Page(
            (
                Slot(
                    "settings",
                    settings_form(self.parts.source.settings, can_keep=self.parts.keep is not None),
                ),
            )
        )

    def _apply(self, visit: Visit) -> Said:
        known = {field.name for field in fields(Settings)} - set(SETTINGS_ELSEWHERE)
        values = {name: value for name, value in visit.values.items() if name in known}
        problems = self._change(values)
        return {"say": " ".join(problems) or "Applied from the next reply on."}

    def _keep(self, visit: Visit) -> Said:
        keep = self.parts.keep
        return {"say": keep(self.parts.source.settings)} if keep is not None else {}

    def _reset(self, visit: Visit) -> Said:
        defaults = {
            field.name: field.default for field in fields(Settings) if field.name not in SETTINGS_ELSEWHERE
        }
        problems = self._change(defaults | self._host_folders)
        return {"say": " ".join(problems) or "All settings are back at their defaults."}

    def _change(self, values: Mapping[str, object]) -> tuple[str, ...]:
        """Takes new values; an empty trace folder is the one that the host chose when it started."""
        own = self._host_folders["trace_folder"]
        kept = {"trace_folder": own} if values.get("trace_folder") == "" else {}
        return self.parts.source.change_settings(**{**values, **kept})
