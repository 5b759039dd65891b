"""What somebody picked to be compared, as plain rows; no markup, no gradio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exllama_guard.probes import PICKED_PRECISIONS

__all__ = ["CompareRow", "Picked", "compare_row", "picked_of"]

_MODES = 3


@dataclass(frozen=True, slots=True)
class Picked:
    """A model's path and how it is to be opened; "" for what its files say."""

    model: str
    precision: str

    @property
    def mode(self) -> str:
        """As the command takes it."""
        return f"{self.model}@{self.precision}" if self.precision else self.model


@dataclass(frozen=True, slots=True)
class CompareRow:
    """The models as (path, name), the precisions, what was picked, and the command, "" before that."""

    models: tuple[tuple[str, str], ...]
    precisions: tuple[str, ...] = PICKED_PRECISIONS
    picked: tuple[Picked, ...] = ()
    gold: str = ""
    command: str = ""


def compare_row(models: Sequence[str], chosen: CompareRow | None) -> CompareRow:
    """The card with the models of today and what was chosen before."""
    named = tuple((path, Path(path).name) for path in models)
    if chosen is None:
        return CompareRow(named)
    return CompareRow(named, picked=chosen.picked, gold=chosen.gold, command=chosen.command)


def picked_of(values: Mapping[str, object]) -> tuple[Picked, ...]:
    """What a page sent; modes without a model are left out."""
    rows = (
        Picked(str(values.get(f"model_{place}") or ""), str(values.get(f"precision_{place}") or ""))
        for place in range(_MODES)
    )
    return tuple(row for row in rows if row.model)
