"""Writes the table of keywords in docs/tools.md: `python tests/make_tool_table.py`.

What stands in it is what the code promises; tests/contract/test_tool_table.py compares it with what a model
with uniform logits does.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "extensions" / "exllama_guardrails"), str(ROOT / "tests")]

from exllama_guard.errors import SchemaError  # noqa: E402 - needs the path
from exllama_guard.loaders import LOADERS, LockPlace, promise_on  # noqa: E402 - needs the path
from exllama_guard.tools import LockMode, tool_checker, tool_from_openai  # noqa: E402 - needs the path
from exllama_guard.tools.locks import byte_vocabulary, compile_reason, server_reason  # noqa: E402 - needs the path
from schema_cases import CASES, Case  # noqa: E402 - needs the path

PAGE = ROOT / "extensions" / "exllama_guardrails" / "docs" / "tools.md"
BEGIN = "<!-- keywords: written by tests/make_tool_table.py -->\n"
END = "<!-- /keywords -->\n"
NAMES = tuple(loader.name for loader in LOADERS if loader.lock is not LockPlace.NOWHERE)
WORDS = {"enforced while decoding": "enforced", "checked before execution": "checked"}


def cell(case: Case, loader: str) -> str:
    """ "enforced", "checked" or "refused": what is promised of the case's schema on a loader."""
    tool = tool_from_openai({"name": "f", "parameters": case.parameters})
    try:
        tool_checker(tool)
    except SchemaError:
        return "refused"
    reason = server_reason(tool) if loader == "llama.cpp" else compile_reason(tool, byte_vocabulary())
    return WORDS[promise_on(loader, LockMode.ENFORCE_CALLS, reason).text]


def table() -> str:
    """The table in Markdown; loaders with the same cells share a column."""
    columns: dict[tuple[str, ...], list[str]] = {}
    for loader in NAMES:
        columns.setdefault(tuple(cell(case, loader) for case in CASES), []).append(loader)
    lines = ["| keyword | " + " | ".join(", ".join(names) for names in columns.values()) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for place, case in enumerate(CASES):
        cells = " | ".join(cells[place] for cells in columns)
        lines.append(f"| {case.keyword} | {cells} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """`page` with the table as the code makes it."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
