from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from exllama_guard.commands.calibrate import report_lines, run
from exllama_guard.core.measures import FloatArray
from exllama_guard.errors import UserError
from exllama_guard.probes.measures.calibration import Pairs, calibrate, read_pairs


class PlaneEmbedder:
    """Text "angle 30" lies at 30 degrees on the unit circle."""

    id = "plane"

    def embed(self, texts: Sequence[str]) -> FloatArray:
        angles = np.radians([float(text.split()[1]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def plane_pairs() -> Pairs:
    """24 passages 15 degrees apart, each with a question 2 degrees beside it."""
    passages = tuple(f"angle {15 * n}" for n in range(24))
    return Pairs(tuple(f"angle {15 * n + 2}" for n in range(24)), passages, tuple(range(24)))


def test_the_limit_lies_between_anchors_and_decoys() -> None:
    result = calibrate(plane_pairs(), PlaneEmbedder())
    assert result.anchor == pytest.approx(np.full(24, 1 - np.cos(np.radians(2))), abs=1e-6)
    assert result.decoy == pytest.approx(np.full(24, 1 - np.cos(np.radians(13))), abs=1e-6)
    assert result.anchor.max() < result.accept < result.decoy.min()
    assert result.placed.balanced_accuracy == 1.0
    assert (result.seed.anchors_accepted, result.seed.decoys_accepted) == (1.0, 1.0)
    assert result.nearest_right == 1.0
    assert result.reject >= result.accept


def test_both_verdicts_are_told_with_the_lines_to_copy() -> None:
    lines = report_lines(calibrate(plane_pairs(), PlaneEmbedder()))
    assert "limit in use: ΔS ≤ 0.45 accepts 100.0% of the right passages and 100.0%" in lines[2]
    assert "balanced accuracy 1.000" in lines[3]
    assert lines[-2].startswith("exllama_guardrails-distance_pass: 0.0")


def test_a_gold_set_and_a_squad_file_give_the_same_pairs(tmp_path: Path) -> None:
    pairs = [(f"Question {n}?", f"Passage number {n // 2}.") for n in range(24)]
    gold = tmp_path / "gold.jsonl"
    lines = [json.dumps({"id": str(n), "question": q, "anchor": a}) for n, (q, a) in enumerate(pairs)]
    gold.write_text("\n".join(lines), encoding="utf-8")
    squad = tmp_path / "squad.json"
    paragraphs = [{"context": a, "qas": [{"question": q}]} for q, a in pairs]
    squad.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    assert read_pairs(gold) == read_pairs(squad)
    assert len(read_pairs(gold).passages) == 12


def test_too_few_pairs_are_refused_with_both_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"id": "1", "question": "Why?", "anchor": "So."}', encoding="utf-8")
    with pytest.raises(UserError, match=r"has 1 questions .* at least 20 questions"):
        read_pairs(gold)
    assert run([str(gold)]) == 2
    assert "at least 20" in capsys.readouterr().err


def test_a_missing_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_pairs(tmp_path / "none.jsonl")
    broken = tmp_path / "squad.json"
    broken.write_text('{"data": [{"paragraphs": [{"qas": []}, {}]}]}', encoding="utf-8")
    with pytest.raises(UserError, match="looks like SQuAD"):
        read_pairs(broken)


def test_the_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help"])
    assert "calibrate gold.jsonl" in capsys.readouterr().out
