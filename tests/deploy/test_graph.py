"""The graph against the network whose parts it uses, before any exporter sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from unseg_d2.config import load_cfg
from unseg_d2.data.resize import resize_image, resized_shape
from unseg_d2.deploy.graph import DetectorGraph, nms_within_groups
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import load_weights
from unseg_d2.detectors.detector import Detector

BASE = ["ENGINE", "builtin", "MODEL.DEVICE", "cpu", "MODEL.FPN.OUT_CHANNELS", "32", "MODEL.ROI_BOX_HEAD.FC_DIM", "64"]
BASE += ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "TEST.DETECTIONS_PER_IMAGE", "30"]


def test_boxes_of_other_groups_do_not_compete() -> None:
    corners = torch.rand(80, 2) * 50
    boxes = torch.cat([corners, corners + 10 + torch.rand(80, 2) * 30], dim=1)
    scores, groups = torch.rand(80), torch.randint(0, 3, (80,))
    assert torch.equal(nms_within_groups(boxes, scores, groups, 0.5), batched_nms(boxes, scores, groups, 0.5))
    kept = nms_within_groups(boxes, scores, groups, 0.5, always_two=True)
    assert torch.equal(kept, batched_nms(boxes, scores, groups, 0.5))
    assert nms_within_groups(boxes[:0], scores[:0], groups[:0], 0.5, always_two=True).shape == (0,)
    assert nms_within_groups(boxes[:0], scores[:0], groups[:0], 0.5).shape == (0,)


def test_it_finds_what_the_detector_finds(checkpoint: Path, images: list[np.ndarray]) -> None:
    detector = Detector.load(checkpoint)
    model = build_model(detector.cfg)
    load_weights(model, checkpoint)
    graph, test = DetectorGraph(model), detector.cfg.INPUT
    for image, expected in zip(images, detector(images)):
        shape = resized_shape(*image.shape[:2], test.MIN_SIZE_TEST, test.MAX_SIZE_TEST)
        pixels = torch.from_numpy(np.array(resize_image(image, *shape)))
        boxes, scores, classes, masks = graph(pixels, torch.tensor(image.shape[:2]))
        assert np.allclose(boxes, expected.boxes, atol=1e-3) and np.allclose(scores, expected.scores, atol=1e-5)
        assert classes.tolist() == expected.classes.tolist() and len(masks) == len(boxes)
    assert len(expected) == 0, "the last image is empty"


@pytest.mark.parametrize(
    "options",
    [
        ["MODEL.MASK_ON", "False", "INPUT.FORMAT", "BGR"],
        [
            *("MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_HEADS.NUM_CLASSES", "3"),
            *("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "False", "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", "False"),
            *("MODEL.ROI_HEADS.USE_DROPLOSS", "False"),
        ],
    ],
    ids=["boxes only, BGR", "three classes"],
)
def test_other_heads(options: list[str]) -> None:
    model = build_model(load_cfg("configs/quickstart.yaml", [*BASE, *options])).eval()
    image = torch.randint(0, 256, (100, 130, 3), dtype=torch.uint8)
    graph = DetectorGraph(model)
    found = graph(image, torch.tensor([200, 260]))
    features = model.backbone(graph._input(image))
    proposals, _ = model.rpn([features[name] for name in model.rpn_levels], [(100, 130)])
    expected = model.roi_heads.predict([features[name] for name in model.roi_levels], proposals, [(100, 130)])[0]
    assert len(found) == (3 if expected.masks is None else 4) and len(found[0]) == 30
    assert torch.allclose(found[0], expected.boxes * 2, atol=1e-3)
    assert torch.allclose(found[1], expected.scores) and torch.equal(found[2], expected.classes)


def test_half_precision_is_near(checkpoint: Path, images: list[np.ndarray]) -> None:
    cfg = load_cfg(str(checkpoint.parent / "config.yaml"), [])
    found = []
    for half in (False, True):
        model = build_model(cfg)
        load_weights(model, checkpoint)
        found.append(DetectorGraph(model, half=half)(torch.from_numpy(images[0]), torch.tensor([96, 128])))
    best = [boxes[0] for boxes, *_ in found]
    assert torch.allclose(*best, atol=0.5) and found[1][0].dtype == torch.float32
    assert abs(float(found[0][1][0] - found[1][1][0])) < 0.01
