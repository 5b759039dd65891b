"""A measured turn that the tests of traces write and read."""

from __future__ import annotations

from dataclasses import replace

from exllama_guard.core.snippets import Offsets, make_snippet
from exllama_guard.core.turns import Reader, TurnRequest
from exllama_guard.testing import make_monitor


def report_of(question="How many tokens?", text="The cache holds 8192 tokens.", answer="8192 tokens [s1]."):
    snippet = make_snippet(text, position=0, section_id="cache", source_url="docs/cache.md")
    snippet = replace(snippet, offsets=Offsets(0, len(text)), derived=frozenset())
    request = TurnRequest(
        turn_id="t1",
        question=question,
        snippets=(snippet,),
        prompt="the whole prompt, which never enters a trace",
        reader=Reader("ann"),
        started_at_s=1_700_000_000.0,
    )
    return make_monitor().measure(request, answer)
