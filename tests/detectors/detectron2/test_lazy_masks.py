"""LazyMasks against Detectron2's own BitMasks."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.structures import BitMasks, Boxes, Instances

from unseg_d2.detectors.detectron2.lazy_masks import LazyMasks

pytestmark = pytest.mark.detectron2


def random_masks(count: int = 5, height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.rand(count, height // 8, width // 8).gt(0.5).repeat_interleave(8, 1).repeat_interleave(8, 2)


def random_boxes(count: int, height: int = 40, width: int = 56) -> torch.Tensor:
    corners = torch.rand(count, 2, 2) * torch.tensor([width, height])
    return torch.cat([corners.amin(1), corners.amax(1) + 1], dim=1)


@pytest.mark.parametrize(
    "item",
    [
        torch.tensor([4, 0, 0, 2, 1, 1, 3]),
        torch.tensor([True, False, True, True, False]),
        slice(1, 4),
        2,
        torch.zeros(0, dtype=torch.int64),
    ],
    ids=["indices", "boolean", "slice", "integer", "nothing"],
)
def test_crops_are_those_of_bit_masks(item: object) -> None:
    masks = random_masks()
    eager, lazy = BitMasks(masks)[item], LazyMasks(masks)[item]
    assert len(lazy) == len(eager)
    assert torch.equal(lazy.tensor, eager.tensor)
    boxes = random_boxes(len(eager))
    assert torch.equal(lazy.crop_and_resize(boxes, 28), eager.crop_and_resize(boxes, 28))


def test_indexing_composes_and_shares_memory() -> None:
    masks = random_masks()
    twice = LazyMasks(masks)[torch.tensor([3, 1, 1, 0])][torch.tensor([False, True, False, True])]
    assert torch.equal(twice.tensor, masks[[1, 0]])
    assert twice.masks is masks


def test_is_a_field_of_instances() -> None:
    masks = random_masks()
    instances = Instances((40, 56), gt_boxes=Boxes(random_boxes(5)), gt_masks=LazyMasks(masks))
    part = instances[torch.tensor([4, 2])].to("cpu")
    assert torch.equal(part.gt_masks.tensor, masks[[4, 2]])
    joined = Instances.cat([part, instances[:1]])
    assert torch.equal(joined.gt_masks.tensor, masks[[4, 2, 0]])


def test_cat_of_different_images_of_one_size() -> None:
    first, second = random_masks(2), random_masks(3)
    joined = LazyMasks.cat([LazyMasks(first)[torch.tensor([1])], LazyMasks(second)[torch.tensor([2, 0])]])
    assert torch.equal(joined.tensor, torch.stack([first[1], second[2], second[0]]))


def test_sampling_512_regions_takes_no_memory_for_masks() -> None:
    masks = torch.zeros(10, 800, 1216, dtype=torch.bool)
    sampled = LazyMasks(masks)[torch.randint(10, (512,))]
    new_bytes = sampled.index.untyped_storage().nbytes()
    assert sampled.masks.data_ptr() == masks.data_ptr()
    assert new_bytes == 512 * 8  # BitMasks: 512 * 800 * 1216 bytes


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="three dimensions"):
        LazyMasks(torch.zeros(4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="3 boxes for 5 masks"):
        LazyMasks(random_masks()).crop_and_resize(random_boxes(3), 28)
