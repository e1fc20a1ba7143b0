"""Scores attached to boxes, and confidence that is indexed without being copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fvcore.common.config import CfgNode

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from unseg_d2.data.sample import Sample
from unseg_d2.detectors.detectron2.config import to_detectron2
from unseg_d2.detectors.detectron2.inputs import to_input
from unseg_d2.detectors.detectron2.uncertain import LazyConfidence, ScoredBoxes, check_targets, region_scores
from unseg_d2.errors import UnsegError
from unseg_d2.losses import confidence_weights, mean_confidence

pytestmark = pytest.mark.detectron2

BOXES, SCORES = torch.rand(4, 4), torch.tensor([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("item", "expected"),
    [(torch.tensor([3, 0, 3]), [0.4, 0.1, 0.4]), (torch.tensor([True, False, False, True]), [0.1, 0.4]), (2, [0.3])],
)
def test_scores_follow_their_boxes(item: object, expected: list[float]) -> None:
    chosen = ScoredBoxes(BOXES, SCORES)[item]
    torch.testing.assert_close(chosen.scores, torch.tensor(expected))
    assert torch.equal(chosen.tensor, Boxes(BOXES)[item].tensor)


def test_scores_survive_what_detectron2_does_with_instances() -> None:
    instances = Instances((10, 10), gt_boxes=ScoredBoxes(BOXES, SCORES), gt_classes=torch.zeros(4, dtype=torch.int64))
    moved = instances.to(torch.device("cpu"))[torch.tensor([1, 1, 2])]
    torch.testing.assert_close(region_scores(moved), torch.tensor([0.2, 0.2, 0.3]))
    assert torch.equal(instances.gt_boxes.clone().scores, SCORES)


def test_regions_of_an_image_without_objects_count_fully() -> None:
    regions = Instances((10, 10), gt_classes=torch.ones(3, dtype=torch.int64))
    assert region_scores(regions).tolist() == [1, 1, 1]
    regions.gt_boxes = Boxes(torch.zeros(3, 4))
    assert region_scores(regions).tolist() == [1, 1, 1]


def test_confidence_is_shared_and_read_by_index() -> None:
    masks = torch.rand(3, 24, 32) > 0.4
    confidence = torch.randint(128, 256, (3, 24, 32), dtype=torch.uint8)
    boxes, index = torch.tensor([[2.0, 3, 20, 18], [0, 0, 32, 24]]), torch.tensor([2, 0])
    chosen = LazyConfidence(confidence, masks)[torch.tensor([1, 2, 0])][torch.tensor([1, 2])]
    assert len(chosen) == 2 and chosen.confidence.data_ptr() == confidence.data_ptr()
    expected = confidence_weights(confidence, masks, boxes, index, 28)
    assert torch.equal(chosen.weights(boxes, 28, "spatial"), expected)
    scalar = chosen.weights(boxes, 28, "scalar")
    assert torch.equal(scalar[:, 0, 0], mean_confidence(confidence, masks)[index]) and scalar.shape == (2, 28, 28)


def stock(sample: Sample) -> dict[str, Any]:
    """What Detectron2's own mapper makes of a sample."""
    instances = Instances(tuple(sample.image.shape[1:]))
    instances.gt_boxes, instances.gt_masks = Boxes(sample.boxes), BitMasks(sample.masks)
    instances.gt_classes = torch.zeros(len(sample), dtype=torch.int64)
    return {"image": sample.image, "height": 96, "width": 128, "instances": instances}


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("MODEL.ROI_HEADS.USE_SOFT_TARGETS", True, "scores"),
        ("MODEL.ROI_MASK_HEAD.CONFIDENCE", "spatial", "spatial confidence"),
    ],
)
def test_ground_truth_of_another_loader_is_refused(
    key: str, value: object, what: str, make_sample: Callable[..., Sample], tiny_cfg: Callable[..., CfgNode]
) -> None:
    model = build_model(to_detectron2(tiny_cfg(**{key.replace(".", "__"): value})))
    sample = make_sample()
    with EventStorage():
        with pytest.raises(
            UnsegError, match=f"{key} is on, but the instances of a training batch have no {what}; load"
        ):
            model([stock(sample)])
        assert model([to_input(sample, channel_order="RGB")])
    assert model.eval()([stock(sample)])


def test_images_without_instances_need_no_scores(make_sample: Callable[..., Sample]) -> None:
    check_targets([stock(make_sample(instances=0))["instances"]], scores=True, confidence=True)
