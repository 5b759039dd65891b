"""One reply under a lock: fed token by token, it says which tokens may come next."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from exllama_guard.tools.locks.closing import Closer
from exllama_guard.tools.locks.compiled import CompiledLock
from exllama_guard.tools.locks.masks import Mask, keep_exponent_short, keep_marks_out, set_bits

__all__ = ["LockRun", "Phase"]


_RECENT_BYTES = 32  # more than the longest closing mark


class Phase(str, Enum):
    """Where a reply stands."""

    FREE = "free text"
    THINKING = "thinking"
    LOCKED = "locked"
    DONE = "done"
    BROKEN = "broken"


class LockRun:
    """State of one reply. Not thread-safe; one reply is decoded by one thread.

    Args:
        lock: The compiled lock.
        prompt_end: Last bytes of the prompt, to see whether a template has opened a thinking block.
        limit: Most tokens that the reply may have, where that is known: what is locked is closed before it.
    """

    def __init__(self, lock: CompiledLock, prompt_end: bytes = b"", limit: int | None = None) -> None:
        self._lock = lock
        self._tail = b""
        self._recent = b""  # last bytes written inside the lock
        self._matcher: Any = None
        self._closing = b""
        self._opening: bytes | None = None  # bytes of a thinking mark written so far, while one may come
        self.phase = Phase.FREE
        self._closer = None if limit is None else Closer(lock, limit)
        self.closed = False  # the reply was brought to its end because its limit was near
        self.reason = ""
        self.locked_tokens = 0
        size = lock.vocabulary.size
        self._buffer: Mask = np.empty((size + 31) // 32, dtype=np.int32)
        self._ban_masks: dict[tuple[tuple[bytes, int], ...], Mask | None] = {}
        ended = prompt_end.rstrip()
        closing = next((close for opening, close in lock.thinking if ended.endswith(opening)), None)
        if closing is not None:
            self._think(closing)
        elif lock.always:
            self._lock_up()
            self._opening = b"" if lock.thinking else None
        elif prompt_end:
            self._resume(prompt_end)

    def _resume(self, prompt_end: bytes) -> None:
        """Takes up a call, or its trigger, that a continued reply has begun."""
        begun = max((prompt_end.rfind(trigger) for trigger in self._lock.triggers), default=-1)
        if begun >= 0:
            matcher = self._lock.matcher()
            written = self._lock.vocabulary.ll_tokenizer.tokenize_bytes(prompt_end[begun:])
            if matcher.consume_tokens(written) and not matcher.is_stopped():
                self._matcher = matcher
                self.phase = Phase.LOCKED
                return
        longest = max((len(mark) for mark in self._watched()), default=1)
        self._tail = prompt_end[-(longest - 1) :] if longest > 1 else b""

    def feed(self, token: int) -> None:
        """Takes the token that was written."""
        if self.phase in (Phase.DONE, Phase.BROKEN):
            return
        tokens = self._lock.vocabulary.tokens
        last = self._closer is not None and self._closer.wrote(token)
        if not 0 <= token < len(tokens):
            self._break(f"token {token} is outside the tokenizer's {len(tokens)} tokens")
        elif self.phase is Phase.LOCKED:
            self._feed_locked(token, tokens[token])
            if last and not self.reason:
                self._end(Phase.DONE)
        else:
            self._feed_free(tokens[token])

    def mask(self) -> Mask | None:
        """One bit a token, 32 in a word, least significant first; None when every token may come.

        The array is reused by the next call.
        """
        if self.phase is Phase.LOCKED:
            must = self._must_come()
            return self._locked_mask() if must is None else self._only(must)
        if self.phase is Phase.DONE:  # else a model goes on writing behind what is complete
            return self._only(self._lock.vocabulary.eos_ids)
        return None if self.phase is Phase.BROKEN else self._free_mask()

    # --- locked --------------------------------------------------------------------------------------

    def _lock_up(self) -> None:
        self._recent = b""
        self._matcher = self._lock.matcher()
        self.phase = Phase.LOCKED

    def _feed_locked(self, token: int, text: bytes) -> None:
        if self._opening is not None and self._feed_opening(token, text):
            return
        self.locked_tokens += 1
        self._recent = (self._recent + text)[-_RECENT_BYTES:]
        if not self._matcher.consume_token(token):
            self._break(f"the sampler chose {text!r}, which the lock forbids")
        elif self._matcher.is_stopped():
            self._end(Phase.DONE if self._lock.always else Phase.FREE)

    def _end(self, phase: Phase) -> None:
        """Leaves the lock: what it describes is complete."""
        self._matcher = None
        self._tail = b""
        self.phase = phase

    def _feed_opening(self, token: int, text: bytes) -> bool:
        """Follows a thinking mark at the start of a wholly locked reply; True when it took the token."""
        written = (self._opening or b"") + text
        for opening, closing in self._lock.thinking:
            if written == opening:
                self._opening = None
                self._think(closing)
                return True
        if not any(opening.startswith(written) for opening, _ in self._lock.thinking):
            self._opening = None
            return False
        self._opening = written
        if self._matcher is not None and self._matcher.try_consume_tokens([token]) == 0:
            self._matcher = None
        return True

    def _locked_mask(self) -> Mask:
        buffer = self._buffer
        if self._matcher is None:
            buffer.fill(0)
        else:
            self._matcher.unsafe_compute_mask_ptr(buffer.ctypes.data, buffer.size * buffer.itemsize)
            if self._matcher.is_error():
                self._break(self._matcher.get_error().splitlines()[0])
                buffer.fill(-1)
                return buffer
            keep_exponent_short(buffer, self._recent, self._lock.vocabulary)
            if self._lock.closing_bans:
                keep_marks_out(buffer, self._recent, self._lock.closing_bans, self._lock.vocabulary)
        if self._opening is not None:
            for opening, _ in self._lock.thinking:
                if opening.startswith(self._opening):
                    self._allow_pieces(buffer, opening[len(self._opening) :])
        return buffer

    def _must_come(self) -> Sequence[int] | None:
        """The tokens of which one must come for the reply to end before its limit; None where all may."""
        end = self._closer.end(self._matcher) if self._closer and self._matcher else None
        if end is None:
            return None
        if end:
            self.closed = True
            return end[:1]
        # A number may have been cut; a call is whole, there is only no room for another one.
        self.closed = not self._lock.again
        self._end(Phase.DONE)
        return self._lock.vocabulary.eos_ids

    def _only(self, tokens: Sequence[int]) -> Mask | None:
        """A mask of `tokens`; None where there are none, since a sampler must be left something."""
        if not tokens:
            return None
        self._buffer.fill(0)
        set_bits(self._buffer, np.array(tokens, dtype=np.int64), True)
        return self._buffer

    def _allow_pieces(self, buffer: Mask, rest: bytes) -> None:
        """Allows every token that is a beginning of `rest`."""
        for text, token in self._lock.vocabulary.starting_with(rest[:1]):
            if rest.startswith(text):
                set_bits(buffer, np.array([token]), True)

    # --- free ----------------------------------------------------------------------------------------

    def _think(self, closing: bytes) -> None:
        self.phase = Phase.THINKING
        self._closing = closing
        self._matcher = None
        self._tail = b""

    def _feed_free(self, text: bytes) -> None:
        window = self._tail + text
        if self.phase is Phase.THINKING:
            end = window.find(self._closing)
            if end >= 0:
                self._after_thinking(window[end + len(self._closing) :])
                return
        else:
            found = self._first_mark(window)
            if found is not None:
                position, mark, closing = found
                if closing is not None:
                    self._think(closing)
                    self._feed_free(window[position + len(mark) :])
                else:
                    self._replay(mark + window[position + len(mark) :])
                return
        longest = max((len(mark) for mark in self._watched()), default=1)
        self._tail = window[-(longest - 1) :] if longest > 1 else b""

    def _after_thinking(self, rest: bytes) -> None:
        self._tail = b""
        self.phase = Phase.FREE
        if self._lock.always:
            self._replay(rest)
        else:
            self._feed_free(rest)

    def _first_mark(self, window: bytes) -> tuple[int, bytes, bytes | None] | None:
        """The earliest trigger or thinking mark: (position, mark, closing of a thinking block or None)."""
        found: list[tuple[int, bytes, bytes | None]] = []
        for opening, closing in self._lock.thinking:
            position = window.find(opening)
            if position >= 0:
                found.append((position, opening, closing))
        for trigger in self._lock.triggers:
            position = window.find(trigger)
            if position >= 0:
                found.append((position, trigger, None))
        return min(found, key=lambda entry: entry[0], default=None)

    def _replay(self, written: bytes) -> None:
        """Locks, with `written` as the beginning of what the grammar describes."""
        self._lock_up()
        if not written:
            return
        if not self._matcher.consume_tokens(self._lock.vocabulary.ll_tokenizer.tokenize_bytes(written)):
            self._break(f"a call started with {written[:60]!r}, which the lock forbids")
        elif self._matcher.is_stopped():
            self._end(Phase.DONE if self._lock.always else Phase.FREE)

    def _watched(self) -> tuple[bytes, ...]:
        if self.phase is Phase.THINKING:
            return (self._closing,)
        return (*self._lock.triggers, *(opening for opening, _ in self._lock.thinking))

    def _free_mask(self) -> Mask | None:
        """Everything but the tokens that would complete a trigger and run on into what is forbidden."""
        if self.phase is Phase.THINKING:
            patterns: tuple[bytes, ...] = (self._closing,) if self._lock.always else ()
        else:
            patterns = self._lock.triggers
        partial = tuple(
            (pattern, matched)
            for pattern in patterns
            for matched in range(0 if self._lock.always else 1, min(len(pattern) - 1, len(self._tail)) + 1)
            if self._tail.endswith(pattern[:matched])
        )
        if not partial and not (self.phase is Phase.FREE and self._lock.mid_bans.size):
            return None
        if partial not in self._ban_masks:
            banned = [
                self._lock.bans(pattern, matched, replayed=not self._lock.always)
                for pattern, matched in partial
            ]
            if self.phase is Phase.FREE:
                banned.append(self._lock.mid_bans)
            tokens = np.concatenate(banned)
            mask = np.full_like(self._buffer, -1) if tokens.size else None
            if mask is not None:
                set_bits(mask, tokens, False)
            self._ban_masks[partial] = mask
        return self._ban_masks[partial]

    def _break(self, reason: str) -> None:
        self.phase = Phase.BROKEN
        self.reason = reason
        self._matcher = None
