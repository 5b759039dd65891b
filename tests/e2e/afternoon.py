"""An afternoon with one's own documents: what a user would have been told wrongly.

`python tests/e2e/afternoon.py` lives through 60 turns in the embedded host and in each WebUI that
TEXTGEN_WEBUI_DIR (and TEXTGEN_WEBUI_PYTHON) names, and prints them; `test_afternoon.py` runs the same.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e.afternoon_texts import CUT, NO_CLAIM, RIGHT, TURNS, WRONG, Turn
from programs import printed_by
from webui_hosts import hosts

PROGRAM = Path(__file__).with_name("afternoon_program.py")
_WRONG = {
    (RIGHT, "FAIL"): "wrong alarm",
    (RIGHT, "REVIEW"): "wrong alarm",
    (RIGHT, "NOT_MEASURED"): "nothing said of a right answer",
    (WRONG, "PASS"): "wrong pass",
    (WRONG, "NOT_MEASURED"): "nothing said of a wrong answer",
    (NO_CLAIM, "FAIL"): "wrong alarm on talk",
    (NO_CLAIM, "REVIEW"): "wrong alarm on talk",
    (NO_CLAIM, "PASS"): "a pass for talk",
    (CUT, "FAIL"): "wrong alarm on a cut answer",
}


def lived(folder: Path, python: str) -> dict[int, dict[str, Any]]:
    """What was told of each turn in this host, by the turn's number."""
    return {told["number"]: told for told in printed_by(PROGRAM, folder, python=python)}


def wrongly(turn: Turn, told: dict[str, Any]) -> str:
    """What is wrong with what was told of the turn; "" where nothing is."""
    if told["gate"] is None:
        return "not seen"
    return _WRONG.get((turn.truth, told["gate"].upper().replace(" ", "_")), "")


def lines(host: str, told: dict[int, dict[str, Any]]) -> list[str]:
    """The page for one host: counts, then each turn of which something wrong was told."""
    wrong = [(turn, told[turn.number], kind) for turn in TURNS if (kind := wrongly(turn, told[turn.number]))]
    counts = Counter(kind for *_, kind in wrong)
    counted = ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "nothing wrong"
    page = [f"{host}: {len(TURNS)} turns; {counted}"]
    for turn, said, kind in wrong:
        support = said.get("support")
        scored = "" if support is None else f", support {support:.2f}"
        page.append(f"\n  {turn.number} ({turn.way}, {turn.truth}) {kind}: {said['gate']}{scored}")
        page.append(f"    asked:  {turn.asked}")
        page.append(f"    answer: {' '.join(turn.answer.split())[:160]}")
        page += [f"    reason: {reason}" for reason in said.get("reasons", ())[:2]] or [
            f"    why:    {said['why']}"
        ]
        page += [f"    beside: {_on_one_line(snippet)}" for snippet in said.get("snippets", ())]
    return page


def _on_one_line(snippet: list[str]) -> str:
    return " | ".join(" ".join(str(part).split()) for part in snippet)


def main() -> None:
    for host in hosts():
        if host.values[0] is None:
            print(f"{host.id}: skipped, set TEXTGEN_WEBUI_DIR to a checkout of TextGen WebUI")
            continue
        print("\n".join(lines(str(host.id), lived(*host.values[0]))), flush=True)


if __name__ == "__main__":
    main()
