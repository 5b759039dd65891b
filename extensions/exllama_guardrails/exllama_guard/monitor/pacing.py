"""When a reply that is being written is scored: so seldom that its writing does not slow down.

Who writes a reply shares Python with who scores it, and on a small machine the processor too.
"""

from __future__ import annotations

SHARE = 0.01  # of a reply's time, for its live scores and for reading its snippets meanwhile
LONGEST_PAUSE_S = 2.0  # what a score cost once (imports) is not its price
LATE_S = 3.0  # without a live score: from here on the snippets are read in small steps
STEP_PAUSE_S = 0.15  # between two of those


def pause_s(worked_s: float, running_s: float, *, scored: bool) -> float:
    """Seconds until the next live work of a reply, in [0, LONGEST_PAUSE_S].

    `worked_s` of processor time went into the last, `running_s` have gone by since the first token; `scored`
    once the reply has a live score. A reply of less than LATE_S pays its share at most; a longer one
    may pay up to a tenth for some seconds, so that it has a score before its end.
    """
    pause = min(LONGEST_PAUSE_S, worked_s / SHARE)
    return pause if scored else min(pause, max(STEP_PAUSE_S, LATE_S - running_s))
