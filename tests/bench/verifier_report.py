"""How a verifier did on the development answers: scores put back under them, AUROC by set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from auroc import auroc
from verifier_table import Row


def units_of(records: Sequence[Row]) -> list[Row]:
    """Every (evidence, claim) that has to be read for the records, in a fixed order."""
    out: list[Row] = []
    for record in records:
        for unit in record["budgets"].values():
            out.append({"e": unit["whole"], "h": record["answer"], "y": -1, "set": record["set"]})
            out += [
                {"e": e, "h": c, "y": -1, "set": record["set"]}
                for e, c in zip(unit["each"], unit.get("claims", record["claims"]), strict=True)
            ]
    return out


def by_record(records: Sequence[Row], got: np.ndarray) -> list[Row]:
    """Scores of `units_of(records)` put back under their answers."""
    out: list[Row] = []
    at = 0
    for record in records:
        cells = {}
        for budget, unit in record["budgets"].items():
            n = len(unit["each"])
            values = [[round(float(x), 5) for x in row] for row in got[at : at + n + 1]]
            cells[budget] = {"whole": values[0], "each": values[1:]}
            at += n + 1
        out.append(
            {"id": record["id"], "set": record["set"], "supported": record["supported"], "scores": cells}
        )
    return out


def logit(p: float) -> float:
    """Log odds of a probability kept away from 0 and 1."""
    return math.log((p + 1e-4) / (1 - p + 1e-4))


def summaries(cell: Row) -> dict[str, float]:
    """Answer scores from one budget's cell: whole, worst sentence, and with the token head."""
    each = np.array(cell["each"])
    w, t = logit(cell["whole"][2]), -logit(cell["whole"][3])
    m, u = logit(float(each[:, 2].min())), -logit(float(each[:, 3].max()))
    return {
        "whole": w,
        "whole_token": t,
        "whole+token": w + t,
        "min": m,
        "min_token": u,
        "min+token": m + u,
        "whole+min": w + m,
        "all": w + t + m + u,
    }


def report(rows: Sequence[Row], title: str) -> None:
    """Prints AUROC per set and mean for each way of summing up."""
    sets = sorted({r["set"] for r in rows})
    print(
        f"== {title}\n{'':18}"
        + " ".join(f"{s.replace('summedits_', 'se_')[:9]:>9}" for s in sets)
        + "      mean"
    )
    for budget in rows[0]["scores"]:
        table = [(r["set"], r["supported"], summaries(r["scores"][budget])) for r in rows]
        for key in table[0][2]:
            line = [
                auroc([y for s, y, _ in table if s == name], [v[key] for s, _, v in table if s == name])
                for name in sets
            ]
            print(
                f"{budget + ' ' + key:18}" + " ".join(f"{x:9.4f}" for x in line) + f" {np.mean(line):9.4f}",
                flush=True,
            )
