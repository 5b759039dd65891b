"""The cards of the panel in their order; a new one is its file and its line here."""

from __future__ import annotations

from exllama_guard.panel.card import Card
from exllama_guard.panel.check.calibrate import CalibrateCard
from exllama_guard.panel.check.card import CheckCard
from exllama_guard.panel.history.card import HistoryCard
from exllama_guard.panel.model.card import ModelCard
from exllama_guard.panel.over_time.card import TimeCard
from exllama_guard.panel.probes.card import ProbesCard
from exllama_guard.panel.probes.doctor_card import DoctorCard
from exllama_guard.panel.settings.card import SettingsCard
from exllama_guard.panel.tools.card import ToolsCard
from exllama_guard.panel.turn.card import TurnCard

__all__ = ["CARDS"]

CARDS: tuple[type[Card], ...] = (
    TurnCard,
    TimeCard,
    HistoryCard,
    ProbesCard,
    DoctorCard,
    CheckCard,
    ToolsCard,
    ModelCard,
    SettingsCard,
    CalibrateCard,
)
