from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.data.copy_paste import copy_paste
from unseg_d2.data.resize import resized_shape
from unseg_d2.data.sample import Augmentation, Geometry, _nearest, load_sample, load_test_image
from unseg_d2.data.settings import DataLoaderSettings, InputSettings
from unseg_d2.data.transport import pack, unpack
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_confidence, encode_mask

FIXED = Augmentation(InputSettings(min_size_train=(0,), random_flip="none"))


def annotation(mask: np.ndarray, **extra: Any) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    bbox = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
    return {"bbox": bbox, "bbox_mode": 1, "category_id": 0, "iscrowd": 0, "segmentation": encode_mask(mask)} | extra


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    """A 6 x 8 image with the left half and one single pixel as instances."""
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    left, dot = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    left[:, :4] = True
    dot[0, 7] = True
    annotations = [annotation(left, score=0.75), annotation(dot)]
    name = str(tmp_path / "a.png")
    return {"file_name": name, "image_id": 7, "height": 6, "width": 8, "annotations": annotations}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_unchanged_size_keeps_everything(record: dict[str, Any]) -> None:
    sample = load_sample(record, rng=rng(), augmentation=FIXED)
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0), np.asarray(Image.open(record["file_name"])))
    assert sample.boxes.tolist() == [[0, 0, 4, 6], [7, 0, 8, 1]]
    assert sample.masks.sum(dim=(1, 2)).tolist() == [24, 1]
    assert sample.scores.tolist() == [0.75, 1.0]
    assert (sample.image_id, sample.height, sample.width, sample.size) == (7, 6, 8, (6, 8))
    assert sample.confidence is None


def test_doubling_and_flipping(record: dict[str, Any]) -> None:
    geometry = Geometry(6, 8, 12, 16, "horizontal")
    np.testing.assert_array_equal(
        geometry.boxes(np.array([[0.0, 0, 4, 6], [7, 0, 8, 1]])), [[8, 0, 16, 12], [0, 0, 2, 2]]
    )
    left, dot = geometry.masks([a["segmentation"] for a in record["annotations"]])
    assert left[:, 8:].all() and not left[:, :8].any()
    assert dot[:2, :2].all() and dot.sum() == 4


def test_instances_that_vanish_and_crowds_are_left_out(record: dict[str, Any]) -> None:
    record["annotations"][0]["iscrowd"] = 1
    sample = load_sample(
        record, rng=rng(), augmentation=Augmentation(InputSettings(min_size_train=(3,), random_flip="none"))
    )
    # Halving keeps the odd rows and columns: the pixel at (0, 7) is not one of them.
    assert sample.size == (3, 4)
    assert len(sample) == 0 and sample.masks.shape == (0, 3, 4) and sample.boxes.shape == (0, 4)


def test_classes_follow_the_instances_where_they_are_asked_for(record: dict[str, Any]) -> None:
    empty = np.zeros((6, 8), bool)
    annotations = [*record["annotations"], record["annotations"][0] | {"segmentation": encode_mask(empty)}]
    record["annotations"] = [a | {"category_id": number} for a, number in zip(annotations, (4, 2, 9))]
    sample = load_sample(record, rng=rng(), augmentation=replace(FIXED, with_classes=True))
    assert sample.class_numbers().tolist() == [4, 2] and sample.class_numbers().dtype == torch.int64
    plain = load_sample(record, rng=rng(), augmentation=FIXED)
    assert plain.classes is None and plain.class_numbers().tolist() == [0, 0]


def test_nearest_neighbour_is_pillows() -> None:
    sizes = np.random.default_rng(0).integers(2, 1400, (300, 2))
    for old, new in [*sizes.tolist(), (480, 640), (640, 480), (7, 7)]:
        values = Image.fromarray(np.arange(old, dtype=np.int32)[None], mode="I")
        taken = np.asarray(values.resize((new, 1), Image.Resampling.NEAREST))[0]
        np.testing.assert_array_equal(_nearest(old, new), taken)


def test_resized_shape_respects_both_limits() -> None:
    assert resized_shape(100, 50, 25, 1000) == (50, 25)
    assert resized_shape(100, 50, 25, 40) == (40, 20)
    assert resized_shape(33, 77, 0, 5) == (33, 77)


def test_draws_cover_the_choices_and_both_flips() -> None:
    generator = rng()
    augmentation = Augmentation(InputSettings(min_size_train=(4, 8)))
    drawn = {(g.new_height, g.flip) for g in (augmentation.draw(generator, 10, 20) for _ in range(60))}
    assert drawn == {(4, "none"), (4, "horizontal"), (8, "none"), (8, "horizontal")}
    settings = InputSettings(min_size_train=(4, 8), min_size_train_sampling="range", random_flip="none")
    shorts = {Augmentation(settings).draw(generator, 10, 20).new_height for _ in range(99)}
    assert shorts == {4, 5, 6, 7, 8}


def test_confidence_follows_the_image(record: dict[str, Any]) -> None:
    record["annotations"][0]["confidence"] = encode_confidence(np.array([[0.0, 1.0]]))
    anything = Augmentation(replace(FIXED.settings, min_confidence=0.0))
    confidence = load_sample(record, rng=rng(), augmentation=anything).confidence
    assert confidence is not None and confidence.dtype == torch.uint8 and confidence.shape == (2, 6, 8)
    assert confidence[0, :, 0].max() == 0 and confidence[0, :, -1].min() == 255
    at_least_half = load_sample(record, rng=rng(), augmentation=FIXED).confidence
    assert torch.equal(at_least_half, confidence.clamp(min=128))
    assert (confidence[1] == 255).all()


def test_a_box_without_mask_is_its_own_mask(record: dict[str, Any]) -> None:
    del record["annotations"][0]["segmentation"]
    sample = load_sample(record, rng=rng(), augmentation=FIXED)
    assert sample.masks[0, :, :4].all() and sample.masks[0].sum() == 24


def test_unreadable_and_wrong_images_are_named(record: dict[str, Any]) -> None:
    with pytest.raises(UnsegError, match=r"a\.png has 6x8 pixels.*5x8"):
        load_sample(record | {"height": 5}, rng=rng(), augmentation=FIXED)
    Path(record["file_name"]).write_bytes(b"")
    with pytest.raises(UnsegError, match=r"a\.png cannot be used: zero bytes"):
        load_sample(record, rng=rng(), augmentation=FIXED)


def test_image_annotated_lying_on_its_side_is_not_turned_upright(record: dict[str, Any], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees for display
    Image.open(record["file_name"]).save(tmp_path / "turned.png", exif=exif)
    record["file_name"] = str(tmp_path / "turned.png")
    assert load_test_image(record, min_size=0, max_size=0).size == (6, 8)
    assert load_test_image(record | {"height": 8, "width": 6}, min_size=0, max_size=0).size == (8, 6)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_square_or_upside_down_photo_is_read_as_stored_when_asked(tmp_path: Path, orientation: int) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    record = {"file_name": str(tmp_path / "a.png"), "image_id": 1, "height": 9, "width": 9}
    ignoring = Augmentation(replace(FIXED.settings, exif="ignore"))
    for augmentation, expected in ((ignoring, stored), (FIXED, np.rot90(stored, {3: 2, 6: -1}[orientation]))):
        sample = load_sample(record, rng=rng(), augmentation=augmentation)
        np.testing.assert_array_equal(sample.image.numpy().transpose(1, 2, 0), expected)
        tested = load_test_image(record, min_size=0, max_size=0, reading=augmentation.settings.reading)
        np.testing.assert_array_equal(tested.image, sample.image)


def test_test_image_is_resized_and_has_no_instances(record: dict[str, Any]) -> None:
    sample = load_test_image(record, min_size=12, max_size=100)
    assert sample.size == (12, 16) and (sample.height, sample.width) == (6, 8) and len(sample) == 0


@pytest.mark.detectron2
@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical"])
@pytest.mark.parametrize("short", [97, 240, 333])
def test_equals_detectron2(tmp_path: Path, flip: str, short: int) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from detectron2.data import detection_utils
    from detectron2.data import transforms as T

    generator = np.random.default_rng(1)
    pixels = generator.integers(0, 256, (150, 211, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    masks = [np.zeros((150, 211), bool) for _ in range(3)]
    masks[0][20:90, 31:77] = generator.random((70, 46)) > 0.3
    masks[1][100:150, 180:211] = True
    masks[2][3, 5] = True
    annotations = [annotation(mask) for mask in masks]
    annotations.append(annotation(masks[0]) | {"segmentation": [[10.5, 20.0, 80.25, 30.0, 40.0, 99.5]]})
    for item in annotations:  # Detectron2 cuts off the decimals of scaled boxes that are given as integers
        item["bbox"] = [float(value) for value in item["bbox"]]
    name = str(tmp_path / "a.png")
    record = {"file_name": name, "image_id": 1, "height": 150, "width": 211, "annotations": annotations}

    shape = resized_shape(150, 211, short, 400)
    assert shape == T.ResizeShortestEdge.get_output_shape(150, 211, short, 400)
    flips = {"horizontal": [T.HFlipTransform(shape[1])], "vertical": [T.VFlipTransform(shape[0])], "none": []}
    transform = T.TransformList([T.ResizeTransform(150, 211, *shape), *flips[flip]])
    theirs = [detection_utils.transform_instance_annotations(dict(a), transform, shape) for a in annotations]
    instances = detection_utils.annotations_to_instances(theirs, shape, mask_format="bitmask")
    instances = detection_utils.filter_empty_instances(instances)

    class Drawn(Augmentation):
        def draw(self, rng: np.random.Generator, height: int, width: int) -> Geometry:
            return Geometry(height, width, *shape, flip)

    sample = load_sample(record, rng=rng(), augmentation=Drawn(InputSettings()))
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0), transform.apply_image(pixels))
    assert torch.equal(sample.masks, instances.gt_masks.tensor.bool())
    torch.testing.assert_close(sample.boxes, instances.gt_boxes.tensor.float(), rtol=0, atol=0)


def test_a_sample_says_whether_its_image_is_done(record: dict[str, Any]) -> None:
    assert not load_sample(record, rng=rng(), augmentation=FIXED).done
    record["done"] = True
    assert load_sample(record, rng=rng(), augmentation=FIXED).done
    record["annotations"][1]["iscrowd"] = 1  # a region with objects that have no mask of their own
    assert not load_sample(record, rng=rng(), augmentation=FIXED).done


def test_the_boxes_of_crowd_regions_go_with_the_image(record: dict[str, Any]) -> None:
    assert load_sample(record, rng=rng(), augmentation=FIXED).crowds is None
    record["annotations"][0]["iscrowd"] = 1
    sample = load_sample(record, rng=rng(), augmentation=FIXED)
    assert sample.crowds.tolist() == [[0, 0, 4, 6]] and sample.boxes.tolist() == [[7, 0, 8, 1]]
    double = Augmentation(InputSettings(min_size_train=(12,), max_size_train=99, random_flip="none"))
    assert load_sample(record, rng=rng(), augmentation=double).crowds.tolist() == [[0, 0, 8, 12]]
    (same,) = unpack(pack([sample]))
    assert torch.equal(same.crowds, sample.crowds)


def test_what_is_pasted_leaves_the_crowd_regions_of_the_target(record: dict[str, Any]) -> None:
    source = load_sample(record, rng=rng(), augmentation=FIXED)
    record["annotations"][0]["iscrowd"] = 1
    target = load_sample(record, rng=rng(), augmentation=FIXED)
    settings = DataLoaderSettings(copy_paste=True, copy_paste_rate=1.0)
    results = [copy_paste(source, target, rng=np.random.default_rng(seed), settings=settings) for seed in range(10)]
    assert any(len(result) > len(target) for result in results)
    assert all(torch.equal(result.crowds, target.crowds) for result in results)
