"""The benchmark's paired gains, against hand-computed numbers."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

BENCHMARK = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "semantic.py"))


def figures(**miou: list[float]) -> dict:
    return {
        BENCHMARK[name.replace("_CRF", "")] + (" + CRF" if name.endswith("_CRF") else ""): {
            "miou": np.array(values),
            "accuracy": np.array(values),
            "iou": np.tile(np.array(values)[:, None], (1, 6)),
        }
        for name, values in miou.items()
    }


def test_interval_is_student_t() -> None:
    """Mean 2, standard deviation 1, n = 3: 4.3027 / sqrt(3) to either side."""
    assert BENCHMARK["interval"](np.array([1.0, 2.0, 3.0])) == pytest.approx((2 - 2.4842, 2 + 2.4842), abs=1e-4)


def test_rows_with_a_crf_are_compared_with_k_means_with_a_crf() -> None:
    found = figures(
        START=[1.0, 2.0],
        BASELINE=[1.0, 5.0],
        METHOD=[4.0, 3.0],
        START_CRF=[2.0, 3.0],
        BASELINE_CRF=[10.0, 10.0],
        METHOD_CRF=[12.0, 14.0],
    )
    rows = [row for row in BENCHMARK["gains"](found) if "mIoU" in row]
    assert len(rows) == 4
    assert rows[1][0] == "k-means" and rows[1][2] == "+0.5 ± 3.5" and rows[1][4:] == ["1 of 2", "+3.0, -2.0"]
    assert rows[3][0] == "k-means + CRF" and rows[3][4:] == ["2 of 2", "+2.0, +4.0"]


def test_one_seed_has_no_spread() -> None:
    found = figures(START=[1.0], BASELINE=[2.0], METHOD=[4.5])
    gains = BENCHMARK["gains"](found)
    assert ["+2.5 ± 0.0", "+2.5 to +2.5", "1 of 1"] in [row[2:5] for row in gains]
    rows = gains + BENCHMARK["table"](found) + BENCHMARK["by_class"](found)
    assert not any("nan" in cell for row in rows for cell in row)
