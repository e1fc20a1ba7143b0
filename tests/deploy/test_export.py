"""Exported files against the detector they were made of, at several sizes and without detections."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from unseg_d2.cli.export import main
from unseg_d2.config.sections.timm import TIMM_FPN
from unseg_d2.data.resize import resize_image, resized_shape
from unseg_d2.deploy import export
from unseg_d2.deploy.export import export_detector
from unseg_d2.deploy.onnx_detector import OnnxDetector
from unseg_d2.detectors.detector import Detector
from unseg_d2.errors import UnsegError


@pytest.mark.slow
def test_torch_export_finds_the_same(checkpoint: Path, images: list[np.ndarray], tmp_path: Path) -> None:
    written = export_detector(checkpoint, tmp_path / "model.pt2", format="torch-export")
    notes, about = {"unseg_d2.json": ""}, written.about
    graph = torch.export.load(written.path, extra_files=notes).module()
    assert json.loads(notes["unseg_d2.json"])["task"] == "instance segmentation"
    for image, expected in zip(images, Detector.load(checkpoint)(images)):
        shape = resized_shape(*image.shape[:2], about.min_size, about.max_size)
        pixels = torch.from_numpy(np.array(resize_image(image, *shape)))
        boxes, scores, _, masks = graph(pixels, torch.tensor(image.shape[:2]))
        assert len(boxes) == len(expected) == len(masks)
        assert np.allclose(boxes, expected.boxes, atol=0.05) and np.allclose(scores, expected.scores, atol=1e-3)


@pytest.mark.slow
def test_onnx_finds_the_same(
    checkpoint: Path, images: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    path = tmp_path / "model.onnx"
    main(["--weights", str(checkpoint), "--format", "onnx", "--output", str(path)])
    assert "instance segmentation, 1 class, float32" in capsys.readouterr().out
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(properties["classes"]) == ["object"] and "SCORE_THRESH_TEST: 0.2" in properties["recipe"]
    assert str(Path.cwd()).encode() not in path.read_bytes()

    detector, exported = Detector.load(checkpoint), OnnxDetector(path)
    count = 0
    for ours, theirs in zip(detector(images), exported(images), strict=True):
        assert len(ours) == len(theirs) and ours.size == theirs.size
        assert np.abs(ours.boxes - theirs.boxes).max(initial=0) <= 0.05
        assert np.abs(ours.scores - theirs.scores).max(initial=0) <= 1e-3
        for mask, other in zip(ours.masks, theirs.masks):
            assert (mask & other).sum() >= 0.99 * (mask | other).sum()
        count += len(ours)
    assert count >= 5 and len(theirs) == 0, "the last image is empty"
    assert len(exported(images[0], score_threshold=0.99)[0]) == 0


def test_options_of_another_format_are_refused(tmp_path: Path) -> None:
    output = ["--output", str(tmp_path / "out")]
    for words, message in (
        (["--format", "onnx", "--labels", "x"], "--labels has no effect on --format onnx, which writes a detector"),
        (["--format", "onnx", "--weights", "x", "--polygons"], "--polygons has no effect"),
        (["--labels", "x", "--half"], "--half has no effect on --format coco, which writes a label set"),
        (["--labels", "x", "--weights", "y"], "--weights has no effect"),
        (["--labels", "x", "SEED", "1"], "The setting SEED 1 has no effect"),
        (["--format", "onnx"], "name its checkpoint with --weights"),
        ([], "name it with --labels"),
    ):
        with pytest.raises(UnsegError, match=message):
            main([*words, *output])


def test_mistakes_are_one_line_each(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsegError, match="There is no checkpoint"):
        export_detector(tmp_path / "none.pth", tmp_path / "m.pt2", format="torch-export")
    with pytest.raises(UnsegError, match=r"onnx or torch-export, not as onx\. Did you mean 'onnx'"):
        export_detector(checkpoint, tmp_path / "m.onx", format="onx")
    saliency = tmp_path / "saliency.pth"
    torch.save({"model": {"head": torch.zeros(1)}, "feature_channels": 3, "recipe": ""}, saliency)
    with pytest.raises(UnsegError, match=r"is a saliency head of train-saliency\.\nExpected: a detector"):
        export_detector(saliency, tmp_path / "m.pt2", recipe="configs/quickstart.yaml", format="torch-export")
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsegError, match=r"'onnx' is not installed; install it with: pip install 'unseg-d2\[onnx\]'"):
        export_detector(checkpoint, tmp_path / "m.onnx")


def test_a_transformer_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    options = ["ENGINE", "builtin", "MODEL.BACKBONE.NAME", TIMM_FPN, "MODEL.TIMM.BASE_NAME", "vit_tiny_patch16_224"]
    options += ["INPUT.FORMAT", "RGB", "MODEL.BACKBONE.FREEZE_AT", 0, "MODEL.FPN.NORM", ""]
    with pytest.raises(UnsegError, match="vit_tiny_patch16_224 cannot be exported: what a transformer computes"):
        export_detector(checkpoint, tmp_path / "m.pt2", *options, format="torch-export")


def test_a_missing_runtime_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnsegError, match=r"pip install 'unseg-d2\[onnx\]'"):
        OnnxDetector("m.onnx")
