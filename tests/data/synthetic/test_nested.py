from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from unseg_d2.data.coco import read_coco
from unseg_d2.data.images import ImageFile
from unseg_d2.data.synthetic.nested import KINDS, NestedScene, nested_scene, nested_truth, write_nested
from unseg_d2.depth.files import SyntheticDepth
from unseg_d2.rle import decode_mask

OPTIONS = {"size": (120, 160), "num_kinds": (2, 3), "copies": (1, 3)}


def scene(seed: int) -> NestedScene:
    return nested_scene(np.random.default_rng(seed), **OPTIONS)


@pytest.mark.parametrize("seed", range(5))
def test_parts_make_objects_and_objects_groups(seed: int) -> None:
    drawn = scene(seed)
    items = nested_truth(drawn, 7, 31)
    masks = [decode_mask(item["segmentation"], 120, 160) for item in items]
    assert [item["id"] for item in items] == list(range(31, 31 + len(items)))
    levels = np.array([item["level"] for item in items])
    assert (levels == 0).sum() == sum(len(KINDS[kind]) for kind in drawn.kinds)
    assert (levels == 1).sum() == len(drawn.kinds)
    assert (levels == 2).sum() == sum(drawn.kinds.count(kind) > 1 for kind in set(drawn.kinds))
    assert np.array_equal(sum(masks[i] for i in np.flatnonzero(levels == 0)), drawn.parts > 0)  # exactly, and disjoint
    for item, mask in zip(items, masks):
        children = [masks[i] for i, other in enumerate(items) if other.get("parent") == item["node"]]
        assert item["node"] == items.index(item)
        if children:
            assert np.array_equal(np.sum(children, axis=0) > 0, mask) and item["level"] > 0
            assert sum(child.sum() for child in children) == mask.sum() == item["area"]
        assert ("parent" in item) or item["level"] > 0


@pytest.mark.parametrize("seed", range(5))
def test_colours_tell_parts_less_apart_than_objects(seed: int) -> None:
    """Medians of Lab: two parts of an object are nearer than parts of two kinds; copies of a part are equal."""
    drawn = scene(seed)
    lab = cv2.cvtColor(drawn.image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    inner = [
        cv2.erode((drawn.parts == part).astype(np.uint8), np.ones((5, 5))) > 0 for part in range(drawn.parts.max() + 1)
    ]
    colours = [np.median(lab[mask], axis=0) if mask.sum() > 20 else None for mask in inner]
    kinds = [None, *(drawn.kinds[one] for one in drawn.objects)]
    same, other = [], []
    for i in range(1, len(colours)):
        for j in range(i):
            if colours[i] is not None and colours[j] is not None:
                (same if kinds[i] == kinds[j] else other).append(np.linalg.norm(colours[i] - colours[j]))
    assert np.mean(same) < np.mean(other) / 1.5


def test_objects_do_not_touch() -> None:
    drawn = scene(3)
    owner = np.array([0, *(one + 1 for one in drawn.objects)])[drawn.parts]
    count = cv2.connectedComponents((owner > 0).astype(np.uint8), connectivity=8)[0] - 1
    assert count >= len(drawn.kinds)
    for number in range(1, len(drawn.kinds) + 1):
        grown = cv2.dilate((owner == number).astype(np.uint8), np.ones((5, 5))) > 0
        assert set(np.unique(owner[grown])) <= {0, number}


def test_a_data_set_on_disk(tmp_path: Path) -> None:
    images, labels = write_nested(tmp_path / "nested", 3, seed=5, **OPTIONS)
    dataset = read_coco(labels)
    assert [image["file_name"] for image in dataset.images] == ["000001.png", "000002.png", "000003.png"]
    second = nested_scene(np.random.default_rng([5, 1]), **OPTIONS)
    assert np.array_equal(cv2.imread(str(images / "000002.png"))[..., ::-1], second.image)
    of_second = [item for item in dataset.annotations if item["image_id"] == 2]
    assert [item["level"] for item in of_second] == [item["level"] for item in nested_truth(second, 2, 1)]
    assert [item["id"] for item in dataset.annotations] == list(range(1, len(dataset.annotations) + 1))
    again, _ = write_nested(tmp_path / "more", 4, seed=5, **OPTIONS)
    assert (again / "000003.png").read_bytes() == (images / "000003.png").read_bytes()


def test_depth_is_one_number_for_each_object(tmp_path: Path) -> None:
    images, _ = write_nested(tmp_path / "nested", 2, seed=5, **OPTIONS)
    drawn = nested_scene(np.random.default_rng([5, 1]), **OPTIONS)
    assert set(np.unique(drawn.depth[drawn.parts == 0])) == {np.float32(3)}
    owner = np.array([-1, *drawn.objects])[drawn.parts]
    depths = [np.unique(drawn.depth[owner == number]) for number in range(len(drawn.kinds))]
    assert all(len(one) == 1 and 1.5 <= one[0] <= 2.7 for one in depths)
    assert len({float(one[0]) for one in depths}) == len(drawn.kinds) > 1
    (found,) = SyntheticDepth()([drawn.image], [ImageFile(images / "000002.png", "000002.png")])
    assert found.kind == "metric" and np.abs(found.depth.numpy() - drawn.depth).max() <= 0.001
