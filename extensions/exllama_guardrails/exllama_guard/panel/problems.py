"""HTML of what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterable

from exllama_guard.core.html import Html, el
from exllama_guard.panel.html import icon


def problems(sentences: Iterable[str], shed: int) -> Html:
    """What is wrong and what to do, one sentence each."""
    lines = list(sentences)
    if shed:
        replies = "1 reply was" if shed == 1 else f"{shed} replies were"
        lines.append(
            f"{replies} not checked because too many waited; raise “Replies that may wait” or ask slower."
        )
    return (
        el("ul", [el("li", icon(), line) for line in lines], cls="eg-problems eg-review")
        if lines
        else Html("")
    )
