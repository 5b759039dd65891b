"""A turn as the tests of the monitor open it, and what is shown once it is scored."""

from __future__ import annotations

from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Reader, TurnRequest

SNIPPETS = (make_snippet("The cache holds 8192 tokens.", position=0),)


def request(turn_id="t1", *, reader=None, started_at_s=1.0, **more):
    return TurnRequest(
        turn_id=turn_id,
        question="How many tokens does the cache hold?",
        snippets=more.pop("snippets", SNIPPETS),
        reader=reader or Reader(),
        started_at_s=started_at_s,
        **more,
    )


def settled(monitor):
    assert monitor.wait_until_idle(120)
    return monitor.snapshot(None)
