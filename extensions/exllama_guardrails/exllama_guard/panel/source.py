"""What the panel asks of the monitor, so that a page can be built on anything that answers this."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.turns import Reader, TurnReport
from exllama_guard.monitor import Snapshot
from exllama_guard.settings import Settings
from exllama_guard.tools import ToolLedger, ToolLocks, ToolRow


class PanelSource(Protocol):
    """The part of a monitor that a panel reads and switches."""

    @property
    def settings(self) -> Settings:
        """The settings that are in force."""
        ...

    @property
    def version(self) -> int:
        """A number that rises with every change of what a panel shows."""
        ...

    def snapshot(self, reader: Reader | None = None) -> Snapshot:
        """What `reader` may see."""
        ...

    def reader_for(self, username: str | None, session: str | None) -> Reader:
        """Who someone is, from a login name and a browser session."""
        ...

    def set_enabled(self, enabled: bool) -> None:
        """Switches measuring on or off."""
        ...

    def change_settings(self, **values: object) -> tuple[str, ...]:
        """Takes new values; gives one sentence for each that was not usable."""
        ...

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors by the embedder in use, shape (texts, dimensions).

        Raises:
            EmbedderError: There is none, or it failed.
        """
        ...

    def check_pasted(
        self,
        question: str,
        snippet_texts: Sequence[str],
        answer: str,
        reader: Reader | None = None,
        stop: threading.Event | None = None,
    ) -> TurnReport:
        """The report of texts that somebody pasted; waits for it.

        Raises:
            Stopped: `stop` was set meanwhile.
        """
        ...


class ToolSource(Protocol):
    """The part of the tool lock that a panel reads, and where changed tools are accepted."""

    @property
    def locks(self) -> ToolLocks:
        """The tools of each chat."""
        ...

    @property
    def ledger(self) -> ToolLedger:
        """The calls and the answers of each chat."""
        ...

    def rows(self, chat: str) -> tuple[ToolRow, ...]:
        """The table of one chat's tools."""
        ...

    def accept(self, chat: str, name: str) -> bool:
        """Locks a changed tool's new definition; False when none waits."""
        ...

    def check_schema(self, text: str) -> None:
        """Returns where a pasted JSON Schema for answers can be used.

        Raises:
            SchemaError: It cannot.
        """
        ...
