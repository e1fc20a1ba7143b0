"""The table of methods and refinements, on scenes of which the figures are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from unseg_d2.cli.evaluate import main
from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.saliency.datasets import load_saliency
from unseg_d2.saliency.methods import stored_method
from unseg_d2.saliency.score import (
    MethodScores,
    Protocol,
    bootstrap,
    build_soft_refiner,
    locate,
    record_boxes,
    score_corloc,
    score_methods,
)


def scores(scenes, protocol, refinements=("none",), **parts):
    methods = {name: stored_method(scenes / folder) for name, folder in (parts or {"half": "found"}).items()}
    return score_methods(load_saliency(str(scenes)), methods, refinements, protocol, load_cfg())


def test_figures_of_half_an_object(scenes):
    (half,) = scores(scenes, Protocol.square(0))
    figures = half.metrics()
    assert figures["IoU"] == pytest.approx(50) and figures["Acc"] == pytest.approx(100 * (1 - 200 / 2400))
    assert figures["maxF"] == pytest.approx(100 * 1.3 * 0.5 / (0.3 + 0.5)) and figures["CorLoc"] == 100
    (strict,) = scores(scenes, Protocol.square(0, published=True))
    assert strict.metrics()["CorLoc"] == 0  # exactly one half is not more than that


def test_a_crop_is_cut_out_of_masks_and_truth_alike(scenes):
    for published in (False, True):
        (whole,) = scores(scenes, Protocol(32, 40, published), all="all")
        assert whole.metrics()["IoU"] > (99 if not published else 85)
    whole, half = scores(scenes, Protocol(40, 40), whole="all", half="found")
    gain = bootstrap(half, whole, draws=50)["IoU"]
    assert gain[1] <= gain[0] <= gain[2] and gain[0] == pytest.approx(50, abs=0.1)


@pytest.mark.parametrize("name", ["guided", "bilateral", "crf"])
def test_refinements_pull_a_mask_to_the_edge_of_the_image(scenes, name):
    image = np.asarray(Image.open(scenes / "images" / "0.png"))
    truth = np.asarray(Image.open(scenes / "masks" / "0.png")) > 0
    mask = truth.astype(np.float32)
    mask[:, :12] = mask[:, 28:] = 0  # two columns short on either side
    refined = build_soft_refiner(name, load_cfg(None, ["REFINE.BILATERAL.SIGMA_SPATIAL", "4.0"]))(image, mask)
    assert ((refined > 0.5) != truth).sum() < ((mask > 0.5) != truth).sum()
    assert not build_soft_refiner(name, load_cfg())(image, np.zeros_like(mask)).any()


def test_a_row_per_method_and_refinement(scenes):
    rows = scores(scenes, Protocol.square(0), ("none", "guided", "bilateral"), half="found", whole="all")
    assert [row.name for row in rows] == [
        *("half", "half + GF", "half + BS"),
        *("whole", "whole + GF", "whole + BS"),
    ]


def test_corloc_of_records(scenes):
    record = {"file_name": str(scenes / "images" / "0.png"), "annotations": [{"bbox": [10, 10, 20, 20]}]}
    crowd = {"file_name": "not read", "annotations": [{"bbox": [0, 0, 9, 9], "iscrowd": 1}]}
    assert record_boxes(record).tolist() == [[10, 10, 30, 30]] and len(record_boxes(crowd)) == 0
    methods = {"half": stored_method(scenes / "found")}
    (scored,) = score_corloc([record, crowd], methods, ["none"], load_cfg())
    assert scored.name == "half" and scored.metrics() == {"CorLoc": 100.0}
    with pytest.raises(UnsegError, match="No image of the data set has a box"):
        score_corloc([crowd], methods, ["none"], load_cfg())
    missed = locate([np.zeros((4, 4))] * 2, [np.array([[0, 0, 4, 4.0]]), np.zeros((0, 4))])
    assert missed[0] == 0 and np.isnan(missed[1])


def test_the_command_prints_a_table_and_gains(scenes, tmp_path, capsys):
    words = ["saliency", "--datasets", str(scenes), "--labels", f"half={scenes / 'found'}", "--crop", "0"]
    main([*words, "--refine", "none", "guided", "--gain", "--output", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert (tmp_path / "out" / "table.txt").read_text() == printed.lstrip()
    lines = printed.splitlines()
    assert "| half | 91.7 | 50.0 | 81.2 |" in (tmp_path / "out" / "table.md").read_text()
    row = next(line for line in lines if line.startswith("half  ")).split()
    assert row[1:4] == ["91.7", "50.0", "81.2"]
    assert any(line.startswith("half -> half + GF") and "[" in line for line in lines)
    assert json.loads((tmp_path / "out" / "figures.json").read_text())[str(scenes)]["half"]["IoU"] == pytest.approx(50)


def test_the_command_prints_gains_in_corloc(scenes, tmp_path, capsys):
    boxes = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
    images = [{"id": 1, "file_name": "0.png", "height": 40, "width": 60}]
    truth = {"images": images, "annotations": [boxes], "categories": [{"id": 1, "name": "object"}]}
    (tmp_path / "boxes.json").write_text(json.dumps(truth))
    words = ["corloc", "--datasets", f"{tmp_path / 'boxes.json'}::{scenes / 'images'}", "--gain"]
    main([*words, "--labels", f"half={scenes / 'found'}", "--refine", "none", "guided"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["half", "100.0"] for line in lines)
    assert any(line.startswith("half -> half + GF") and line.endswith("+0.0 [+0.0, +0.0]") for line in lines)


def test_what_cannot_be_scored_is_named(scenes, tmp_path):
    with pytest.raises(UnsegError, match="nothing to score"):
        main(["saliency", "--datasets", str(scenes)])
    with pytest.raises(UnsegError, match=r"--refine knows none, guided, bilateral, crf"):
        build_soft_refiner("grabcut", load_cfg())


def test_figures_of_a_choice_of_images(scenes):
    (half,) = scores(scenes, Protocol.square(0))
    mixed = MethodScores("x", "none", half.saliency, np.array([1.0, 0.0, np.nan, 0.0]))
    assert mixed.metrics()["CorLoc"] == pytest.approx(100 / 3)
    assert mixed.metrics(np.array([0, 0, 2]))["CorLoc"] == 100
