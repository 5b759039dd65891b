"""What a card is: a part of a tab with its places, what stands in them, and what its buttons do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from exllama_guard.core.html import Html, el, join
from exllama_guard.core.turns import Reader, TurnReport
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.monitor import Snapshot
from exllama_guard.panel.history.archive import Archive
from exllama_guard.panel.message import Message
from exllama_guard.panel.packet import Page
from exllama_guard.panel.source import PanelSource, ToolSource
from exllama_guard.probes import ProbeDesk
from exllama_guard.second_reader import SecondReader
from exllama_guard.settings import Settings

__all__ = ["Action", "Card", "PanelParts", "Said", "Visit", "Visitor", "place"]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sends a message: a login name if there is one, and the browser session."""

    username: str | None
    session: str | None


@dataclass(frozen=True, slots=True)
class PanelParts:
    """What cards work with; what the host makes later or anew is asked for each time."""

    source: PanelSource
    archive: Archive
    tools: ToolSource | None
    lifecycle: Callable[[], Lifecycle | None]
    probes: Callable[[], ProbeDesk | None]
    keep: Callable[[Settings], str] | None = None  # writes settings into the host's file; says what was done
    second: Callable[[], SecondReader | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Visit:
    """One message: who sent it, what it says, and what the monitor shows this reader."""

    message: Message
    visitor: Visitor
    reader: Reader
    snapshot: Snapshot

    @property
    def newest(self) -> TurnReport | None:
        """The reply that is being written, else the last one."""
        return self.snapshot.live or (self.snapshot.turns[0] if self.snapshot.turns else None)

    @property
    def values(self) -> Mapping[str, object]:
        """What the form or button that was used sent."""
        return self.message.values


Said: TypeAlias = "dict[str, object]"  # facts for the page, such as `say`: a sentence
Action: TypeAlias = "Callable[[Visit], Said]"


class Card(ABC):
    """Part of a tab. `places` are named once: the frame draws them, and what `page` leaves out is emptied.

    Thread-safe. An action may raise a GuardError, whose sentence the page then shows.
    """

    tab: ClassVar[str]  # a key of message.TABS
    places: ClassVar[tuple[str, ...]] = ()
    versioned: ClassVar[bool] = True  # False: it changes without the monitor's version

    def __init__(self, parts: PanelParts) -> None:
        """Shows nothing yet."""
        self.parts = parts

    @classmethod
    def frame(cls) -> Html:
        """What is drawn once: the places, and what never changes around them."""
        return join([place(name) for name in cls.places])

    @property
    def actions(self) -> Mapping[str, Action]:
        """What each button does, by the name that the page sends."""
        return {}

    @abstractmethod
    def page(self, visit: Visit) -> Page:
        """What stands in the places now."""


def place(name: str, cls: str | None = None) -> Html:
    """A place that `Slot(name, ...)` fills."""
    return el("div", data_slot=name, cls=cls)
