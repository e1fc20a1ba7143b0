"""Scores attached to boxes, and confidence that is indexed without being copied."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.structures import Boxes, Instances

from unseg_d2.detectors.detectron2.uncertain import LazyConfidence, ScoredBoxes, region_scores
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
