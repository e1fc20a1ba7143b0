"""Evaluations that are scored beside a training: the metrics of scoring at once, whatever ends in between."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from unseg_d2.config import edited, load_cfg
from unseg_d2.description import Measured
from unseg_d2.detectors.scoring import Found, Scorer, metrics_of, score_kept, scored_beside
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.chunks import Chunk
from unseg_d2.rle import encode_mask

CFG = edited(load_cfg(), {"MODEL.MASK_ON": True, "MODEL.ROI_HEADS.NUM_CLASSES": 1})
SIDE = 20


def mask(number: int) -> np.ndarray:
    """One of four quarters of an image."""
    found = np.zeros((SIDE, SIDE), bool)
    top, left = SIDE // 2 * (number // 2), SIDE // 2 * (number % 2)
    found[top : top + SIDE // 2, left : left + SIDE // 2] = True
    return found


def image(key: int, num_found: int, as_array: bool = False) -> Chunk:
    """An image with an object in each quarter, of which some are found, exactly."""

    def item(number: int) -> dict[str, object]:
        top, left = SIDE // 2 * (number // 2), SIDE // 2 * (number % 2)
        about = {"image_id": key, "category_id": 1, "iscrowd": 0, "area": SIDE**2 // 4}
        box = [float(left), float(top), SIDE / 2, SIDE / 2]
        segmentation = encode_mask(mask(number))
        return about | {"bbox": np.array(box) if as_array else box, "segmentation": segmentation}

    truth = {"images": [{"id": key, "height": SIDE, "width": SIDE}], "annotations": [item(k) for k in range(4)]}
    return truth, [item(k) | {"score": 0.9 - 0.1 * k} for k in range(num_found)]


def found(*numbers: int, prefix: str = "", num_images: int | None = None, as_array: bool = False) -> Found:
    chunks: Iterable[Chunk] = (image(key, number, as_array) for key, number in enumerate(numbers))
    return Found(prefix, len(numbers) if num_images is None else num_images, chunks)


def test_a_process_computes_the_metrics_of_scoring_at_once(tmp_path: Path) -> None:
    scorer = Scorer(tmp_path, CFG)
    sets = [found(4, 4, prefix="all/"), found(4, 2, prefix="some/", as_array=True)]  # as others register boxes
    scorer.keep(9, sets, lambda path: path.write_text("weights"))
    scored = scorer.take(wait=True)
    assert scored is not None and scored.iteration == 9
    assert scored.metrics["all/bbox/AP"] == scored.metrics["all/segm/AP"] == pytest.approx(100)
    assert scored.metrics["some/segm/AR100"] == pytest.approx(75)  # of eight objects six are found
    expected = metrics_of(CFG, [found(4, 4, prefix="all/"), found(4, 2, prefix="some/")])
    assert repr(scored.metrics) == repr(expected)  # to the last digit; some are NaN
    assert (scored.folder / "weights.pth").read_text() == "weights"
    scored.discard()
    assert not (tmp_path / "scoring").exists() and scorer.take(wait=True) is None


def test_what_a_killed_process_scored_is_scored_again_and_later_ones_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer(tmp_path, CFG)
    scorer.keep(19, [found(1)])
    assert scorer._process is not None
    scorer._process.kill()
    with pytest.raises(UnsegError, match=r"evaluation of iteration 19 ended by signal 9.* It is kept"):
        scorer.take(wait=True)
    (tmp_path / "scoring" / "0000029").mkdir()  # of an iteration that comes again
    (tmp_path / "scoring" / ".0000039.tmp-1").mkdir()  # not complete
    monkeypatch.setattr("unseg_d2.detectors.scoring._begin", Here)
    again = Scorer(tmp_path, CFG)
    again.resume(20)
    assert [path.name for path in (tmp_path / "scoring").iterdir()] == ["0000019"]
    scored = again.take(wait=True)
    assert scored is not None and scored.metrics["segm/AR100"] == pytest.approx(25)
    anew = Scorer(tmp_path, CFG)
    anew.resume(0)
    assert anew.take(wait=True) is None and not list((tmp_path / "scoring").iterdir())


class Here:
    """In the place of a process: scores when it is waited for."""

    exitcode = 0

    def __init__(self, folder: Path, cfg: object) -> None:
        self.work = (folder, cfg)

    def is_alive(self) -> bool:
        return False

    def join(self) -> None:
        score_kept(*self.work)


def test_why_there_are_no_metrics_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unseg_d2.detectors.scoring._begin", Here)

    def broken(*_: object) -> None:
        raise ValueError("no\n metrics")

    monkeypatch.setattr("unseg_d2.detectors.scoring.metrics_of", broken)
    scorer = Scorer(tmp_path, CFG)
    scorer.keep(3, [found(1)])
    said = r"evaluation of iteration 3 cannot be scored: ValueError: no metrics\. It is kept.* delete .*0000003"
    with pytest.raises(UnsegError, match=said):
        scorer.take()
    assert "failure" in json.loads((tmp_path / "scoring" / "0000003" / "scores.json").read_text())
    with pytest.raises(UnsegError, match="Ground truth with a complex in it cannot be kept"):
        scorer.keep(5, [Found("", 1, [({"images": [{"id": 1j}]}, [])])])
    assert not (tmp_path / "scoring" / "0000005").exists()


def test_checkpoints_that_were_written_since_get_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unseg_d2.detectors.scoring._begin", Here)
    for number in (3, 7, 9):
        torch.save({"model": {"w": torch.ones(2)}, "iteration": number}, tmp_path / f"model_{number:07d}.pth")
    torch.save({"model": {}}, tmp_path / "model_final.pth")
    scorer = Scorer(tmp_path, CFG)
    scorer.keep(7, [found(4)])
    scored = scorer.take()
    assert scored is not None
    scored.record([Measured(data="set", iteration=7, metrics={"segm/AP": 1.5})])
    recorded = {"data": "set", "iteration": 7, "metrics": {"segm/AP": 1.5}}
    for number, expected in ((3, None), (7, [recorded]), (9, [recorded])):
        checkpoint = torch.load(tmp_path / f"model_{number:07d}.pth", weights_only=True)
        assert checkpoint.get("measured") == expected and checkpoint["iteration"] == number
        assert torch.equal(checkpoint["model"]["w"], torch.ones(2))
    assert "measured" not in torch.load(tmp_path / "model_final.pth", weights_only=True)


def test_only_large_sets_are_scored_beside() -> None:
    assert not scored_beside([found(num_images=500), found(num_images=499)])
    assert scored_beside([found(num_images=500), found(num_images=500)])
