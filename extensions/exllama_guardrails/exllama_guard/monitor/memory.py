"""What a panel shows: the last turns of each reader, problems, events, the model."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from exllama_guard.core.turns import ModelInfo, Reader, TurnReport, TurnRequest

_READERS_KEPT = 64  # readers whose turns are remembered; the least recent is forgotten first
_EVENTS_KEPT = 200
_PROBLEMS_KEPT = 20
_KINDS_OF_A_CHAT = frozenset({"refused", "answer", "tool", "unenforced"})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened between turns; `at_s` is seconds since the epoch."""

    at_s: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a panel shows to one reader. `version` rises with every change; `turns` newest first."""

    version: int
    enabled: bool
    live: TurnReport | None
    coming: bool  # a newer answer is being written or waits for its first score
    doing: str  # what is done with the newest answer beyond writing it, such as a second try
    turns: tuple[TurnReport, ...]
    problems: tuple[str, ...]
    events: tuple[Event, ...]
    model: ModelInfo | None
    capabilities: tuple[str, ...]
    embedder: str
    waiting: int
    shed: int


class Memory:
    """What is remembered between turns. `lock` (the monitor's) protects all of it."""

    def __init__(self, lock: threading.RLock) -> None:
        """Starts empty."""
        self._lock = lock
        self._turns: OrderedDict[Reader, deque[tuple[int, TurnReport]]] = OrderedDict()
        self._count = 0
        self._problems: OrderedDict[str, str] = OrderedDict()
        self._events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self.version = 0
        self.model: ModelInfo | None = None
        self.capabilities: tuple[str, ...] = ()

    def touch(self) -> None:
        """Tells panels that something they show has changed."""
        with self._lock:
            self.version += 1

    def model_changed(self, model: ModelInfo | None, capabilities: Sequence[str]) -> None:
        """Notes which model is loaded now and, in plain sentences, what its loader allows."""
        with self._lock:
            if _who(model) != _who(self.model):
                said = f"Model {model.name} ({model.loader})." if model else "No model loaded."
                self.add_event("model", said)
            self.model = model
            self.capabilities = tuple(capabilities)
            self.version += 1

    def report_problem(self, sentence: str | None, key: str) -> None:
        """Shows one sentence in the panel; the same `key` shows once, with its newest; None takes it back."""
        if sentence is None:
            self.clear_problem(key)
            return
        with self._lock:
            if self._problems.get(key) == sentence:
                return
            self._problems[key] = sentence
            self._problems.move_to_end(key)
            while len(self._problems) > _PROBLEMS_KEPT:
                self._problems.popitem(last=False)
            self.version += 1

    def clear_problem(self, key: str) -> None:
        """Takes a sentence back, because what it told of works again."""
        with self._lock:
            if self._problems.pop(key, None) is not None:
                self.version += 1

    def add_event(self, kind: str, text: str) -> None:
        """Adds an event to the panel's list."""
        with self._lock:
            self._events.append(Event(time.time(), kind, text))
            self.version += 1

    def remember(self, report: TurnReport, most: int) -> None:
        """Keeps a finished turn, at most `most` a reader."""
        with self._lock:
            kept = self._turns.setdefault(report.request.reader, deque())
            self._turns.move_to_end(report.request.reader)
            self._count += 1
            kept.append((self._count, report))
            while len(kept) > most:
                kept.popleft()
            while len(self._turns) > _READERS_KEPT:
                self._turns.popitem(last=False)

    def settle(self, report: TurnReport) -> None:
        """Puts a later report of a turn in the place of its first, if that is still remembered."""
        with self._lock:
            kept = self._turns.get(report.request.reader, deque())
            for place, (number, turn) in enumerate(kept):
                if turn.request.turn_id == report.request.turn_id:
                    kept[place] = (number, report)
                    self.version += 1

    def turns(self, reader: Reader | None, most: int) -> tuple[TurnReport, ...]:
        """The last turns that `reader` may see, newest first."""
        with self._lock:
            turns = [
                (number, turn)
                for kept in self._turns.values()
                for number, turn in kept
                if may_see(turn.request, reader)
            ]
        turns.sort(key=itemgetter(0), reverse=True)  # by when it ended: a clock may be set back
        return tuple(turn for _, turn in turns[:most])

    def problems(self, reader: Reader | None = None) -> tuple[str, ...]:
        """What is wrong at present, one sentence each; what tells of another's chat is left out."""
        with self._lock:
            problems = tuple(self._problems.items())
        return tuple(sentence for key, sentence in problems if _concerns(key, reader))

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened between turns, oldest first."""
        with self._lock:
            return tuple(self._events)


def _concerns(key: str, reader: Reader | None) -> bool:
    """Whether a problem may be shown to `reader`; the tool lock's keys are `kind:chat...`."""
    kind, _, rest = key.partition(":")
    if reader is None or reader == Reader() or kind not in _KINDS_OF_A_CHAT:
        return True
    from exllama_guard.tools import may_see as chat_is_of

    return chat_is_of(":".join(rest.split(":")[:3]), reader)


def may_see(request: TurnRequest, reader: Reader | None) -> bool:
    """Whether a turn may be shown to `reader`; None (the command line) sees everything."""
    return reader is None or request.reader == reader


def _who(model: ModelInfo | None) -> tuple[str, str] | None:
    return None if model is None else (model.name, model.loader)
