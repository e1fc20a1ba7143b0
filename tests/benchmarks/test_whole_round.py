"""The benchmark of a whole round, on a few images: each step leaves what the commands leave, and the table adds up."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from unseg_d2.pseudo.shards import ShardFolder

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 24


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, whose steps are done in this process."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    spec = importlib.util.spec_from_file_location("whole_round", ROOT / "benchmarks/scale/whole_round.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "whole_round", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SHAPES", 12)
    monkeypatch.setattr(module, "alone", module._here)
    return module


def test_every_step_on_a_few_images(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = []  # images of whole shards, and lines of all attempts, when the work is stopped and when it is resumed
    stopped = benchmark._make

    def watched(place: object, stop_after: int | None) -> None:
        stopped(place, stop_after)
        shards = ShardFolder(tmp_path / str(IMAGES) / "masks")
        shards.load()
        finished.append(IMAGES - shards.num_missing())

    monkeypatch.setattr(benchmark, "_make", watched)
    assert benchmark.main(["--images", str(IMAGES), "--folder", str(tmp_path)]) == 0
    folder = tmp_path / str(IMAGES)
    assert finished == [20, 20, 24]  # shards of two: the eleventh, which 90 % ends in, is not there
    labels = json.loads((folder / "masks" / "labels.json").read_text())
    assert [len(labels[name]) for name in ("images", "annotations")] == [IMAGES, 3 * IMAGES]
    lengths = [len(item["segmentation"]["counts"]) for item in labels["annotations"]]
    assert 600 < np.mean(lengths) < 950
    assert json.loads((folder / "exported.json").read_text())["annotations"] == labels["annotations"]
    found = json.loads((folder / "predictions" / "predictions.json").read_text())
    assert len(found) == 30 * IMAGES
    (merge,) = json.loads((folder / "next" / "labels.json").read_text())["info"]["rounds"]
    assert merge["kept_predictions"] == sum(item["score"] >= 0.7 for item in found) == 15 * IMAGES
    assert (folder / "page" / "index.html").is_file()
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| ") for line in printed) == 1 + len(benchmark.STEPS)
    assert not (folder / "images" / "n00000001" / "n00000001_1.JPEG").exists()  # as many classes as images


def test_the_table_continues_the_line_and_finds_the_largest(benchmark: ModuleType) -> None:
    one, other = ({"seconds": s, "megabytes": mb} for s, mb in ((10.0, 500.0), (30.0, 700.0)))
    rows, most = benchmark.table({100_000: {"merging": one}, 200_000: {"merging": other}})
    assert rows[-1] == "| merging | 10.0 s | 500 MB | 30.0 s | 700 MB | 246.2 s | 2,862 MB |"
    assert most == pytest.approx(700 + 0.002 * 1_081_167)
    rows, most = benchmark.table({100: {"merging": one, "listing": other}, 200: {"listing": other}})
    assert rows[-1] == "| merging | 10.0 s | 500 MB | |  | |  |" and most == 700
