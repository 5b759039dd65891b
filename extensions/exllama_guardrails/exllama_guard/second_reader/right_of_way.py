"""When the loaded model may read: a prompt at a time while nobody waits; who asks something goes first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["SLOWEST_S", "ModelPath", "Place", "RightOfWay"]

SLOWEST_S = 5.0  # of one prompt: a request that comes meanwhile would wait as long
_LOOK_S = 0.05  # how often it is looked whether the model is free
_LONGEST_S = 30.0  # that a reply waits for a prompt that is being read; then the reading hangs


Over = Callable[[], bool]  # whether a reading is to end


class Place(Protocol):
    """The right to use the model alone, until it is left."""

    def leave(self) -> None:
        """Gives it back."""
        ...


class ModelPath(Protocol):
    """As much of the way to the host's model as a reading needs."""

    def enter(self, wait_s: float) -> Place | None:
        """The right to use the model alone; None when it was not to be had within `wait_s`."""
        ...

    def waiting(self) -> int:
        """Requests that wait for the model."""
        ...

    def kept(self) -> AbstractContextManager[None]:
        """Within it the model stays with who has it now, also where that one gives it back meanwhile."""
        ...


class RightOfWay:
    """Lets one prompt be read at a time. Thread-safe.

    `_lock` protects the counts; `_reading` is held while a prompt is read, so that a reply which needs no
    lock of the host's can wait for its end.
    """

    def __init__(
        self, path: ModelPath, *, clock: Callable[[], float] = time.monotonic, slowest_s: float = SLOWEST_S
    ) -> None:
        """Nothing was asked yet; `clock` gives seconds, a prompt longer than `slowest_s` is too slow."""
        self._path, self._clock, self._slowest_s = path, clock, slowest_s
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._running = 0  # replies that are being written
        self._quiet_since_s = clock()
        self._took_s: tuple[float, ...] = ()  # of the last two prompts

    # --- what replies tell ------------------------------------------------------------------------------

    def reply_starts(self) -> None:
        """A reply is to be written now; returns once no prompt is being read, at most 30 s later."""
        with self._lock:
            self._running += 1
        if self._reading.acquire(timeout=_LONGEST_S):
            self._reading.release()

    def reply_ended(self) -> None:
        """A reply that started has ended."""
        with self._lock:
            self._running -= 1
            self._quiet_since_s = self._clock()

    # --- what readings ask ------------------------------------------------------------------------------

    def idle_s(self) -> float:
        """Seconds since the last reply; 0.0 while one is written or somebody waits."""
        with self._lock:
            if self._wanted():
                self._quiet_since_s = self._clock()
            return self._clock() - self._quiet_since_s

    @property
    def too_slow_s(self) -> float | None:
        """Seconds that each of the last two prompts took at least, where that is too slow; else None."""
        shortest = min(self._took_s, default=0.0)
        return shortest if len(self._took_s) == 2 and shortest > self._slowest_s else None

    def started_anew(self) -> None:
        """Another model is loaded: forgets how long prompts took."""
        self._took_s = ()
        with self._lock:
            self._quiet_since_s = self._clock()

    @contextmanager
    def between_replies(self, over: Over, quiet_s: float) -> Iterator[bool]:
        """Waits until nobody has asked anything for `quiet_s`; True inside: one prompt may be read.

        False: it is `over`, or prompts are too slow.
        """
        while not over() and self.too_slow_s is None:
            place = self._entered(quiet_s)
            if place is None:
                continue
            try:
                with self._timed():
                    yield True
            finally:
                place.leave()
            return
        yield False

    @contextmanager
    def within_a_reply(self, over: Over) -> Iterator[bool]:
        """For a reply that holds the model and waits for an opinion: True inside: one prompt may be read.

        False: it is `over`, prompts are too slow, or somebody else waits for the model.
        """
        with self._path.kept():  # before `over` is asked: who ends a reading then gives the model back
            if over() or self.too_slow_s is not None or self._wanted():
                yield False
                return
            with self._timed():
                yield True

    def _entered(self, quiet_s: float) -> Place | None:
        """The model, where it was idle long enough; None: it is to be looked again."""
        if self.idle_s() < quiet_s or self._wanted():
            time.sleep(_LOOK_S)
            return None
        place = self._path.enter(_LOOK_S)
        if place is None:  # somebody has it of whom nobody told
            with self._lock:
                self._quiet_since_s = self._clock()
        elif self._wanted():
            place.leave()
            return None
        return place

    def _wanted(self) -> bool:
        """Whether a reply is being written or waits to be."""
        return bool(self._running or self._path.waiting())

    @contextmanager
    def _timed(self) -> Iterator[None]:
        with self._reading:
            started_s = self._clock()
            try:
                yield
            finally:
                self._took_s = (*self._took_s[-1:], self._clock() - started_s)
