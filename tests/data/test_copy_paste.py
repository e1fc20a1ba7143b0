from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unseg_d2.data.copy_paste import boxes_from_masks, copy_paste
from unseg_d2.data.paste_plan import GeneratorDraws, instance_confidences
from unseg_d2.data.sample import Sample
from unseg_d2.data.settings import DataLoaderSettings


def paste(source: Sample, target: Sample, *, rng: Any, rate: float = 1.0, **changes: Any) -> Sample:
    """Paste with probability 1 unless stated; ``changes`` are settings without their ``copy_paste_``."""
    settings = {f"copy_paste_{name}": value for name, value in {"rate": rate, **changes}.items()}
    return copy_paste(source, target, rng=rng, settings=DataLoaderSettings(**settings))


class PublishedDraws:
    """The two generators of the published code, in its order: numpy decides what, `random` whether and where."""

    def __init__(self, random_seed: int, numpy_seed: int) -> None:
        self.random, self.numpy = random.Random(random_seed), np.random.RandomState(numpy_seed)

    def chance(self) -> float:
        return self.random.random()

    def number(self, low: int, high: int) -> int:
        return int(self.numpy.randint(low, high + 1))

    def choose(self, n: int, k: int) -> np.ndarray:
        return self.numpy.choice(n, k, replace=False)

    def ratio(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def offset(self, high: int) -> int:
        return self.random.randint(0, high)


class FixedDraws(GeneratorDraws):
    """Draws that are written down."""

    def __init__(self, number: int = 1, ratio: float = 1.0, x: int = 0, y: int = 0, chance: float = 0.0) -> None:
        self.fixed, self.offsets, self.most, self.limits = (number, ratio, chance), [y, x], 0, []

    def chance(self) -> float:
        return self.fixed[2]

    def number(self, low: int, high: int) -> int:
        self.most = high
        return min(self.fixed[0], high)

    def choose(self, n: int, k: int) -> np.ndarray:
        return np.arange(k)

    def ratio(self, low: float, high: float) -> float:
        return self.fixed[1]

    def offset(self, high: int) -> int:
        self.limits.append(high)
        return self.offsets.pop()


def sample(height: int, width: int, *boxes: tuple[int, int, int, int], value: int = 0) -> Sample:
    """A grey image whose instances are rectangles x1, y1, x2, y2."""
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[y1:y2, x1:x2] = True
    image = torch.full((3, height, width), value, dtype=torch.uint8)
    scores = torch.arange(1, len(boxes) + 1) / 10
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Sample(image, tensor, masks, scores, None, f"{value}.png", value, height, width)


def golden_sample(data: np.lib.npyio.NpzFile, key: str) -> Sample:
    height, width = data[f"{key}_hw"]
    bits = np.unpackbits(data[f"{key}_masks"], -1)[..., : height * width]
    masks = torch.from_numpy(bits.reshape(-1, height, width).astype(bool))
    image, boxes = torch.from_numpy(data[f"{key}_image"]), torch.from_numpy(data[f"{key}_boxes"])
    return Sample(image, boxes, masks, torch.ones(len(boxes)), None, key, 0, int(height), int(width))


def test_parity_reproduces_the_published_code(golden: Path) -> None:
    cases = json.loads((golden / "detector" / "copy_paste_cases.json").read_text())
    assert cases
    for case in cases:
        assert_published(case, golden / "detector" / "copy_paste.npz")


def assert_published(case: dict[str, Any], outputs: Path) -> None:
    tag = case["tag"]
    settings = {key: case[key] for key in ("min_ratio", "max_ratio", "random_num", "rate")}
    draws = PublishedDraws(case["random_seed"], case["numpy_seed"])
    with np.load(outputs) as data:
        number = int(data[f"{tag}_in_n_images"])
        batch = [golden_sample(data, f"{tag}_in_img{i}") for i in range(number)]
        for i, (source, target) in enumerate(zip(batch[::-1], batch)):
            result = paste(source, target, rng=draws, mode="parity", **settings)
            expected = golden_sample(data, f"{tag}_out_img{i}")
            assert torch.equal(result.image, expected.image)
            assert torch.equal(result.masks, expected.masks)
            torch.testing.assert_close(result.boxes, expected.boxes, rtol=0, atol=1e-5)
        assert draws.random.random() == data[f"{tag}_random_after"]
        assert draws.numpy.random_sample() == data[f"{tag}_numpy_after"]


def test_paste_at_half_size() -> None:
    """The rectangle (2, 2, 6, 8) of the source lands at half of that plus the offset (5, 3)."""
    source, target = sample(10, 12, (2, 2, 6, 8), value=200), sample(10, 12, (0, 0, 4, 4), value=50)
    draws = FixedDraws(ratio=0.5, x=5, y=3)
    result = paste(source, target, rng=draws)
    assert draws.limits == [12 - 6, 10 - 5]
    assert result.boxes.tolist() == [[0, 0, 4, 4], [6, 4, 8, 7]]
    assert result.masks.sum(dim=(1, 2)).tolist() == [16, 6]
    assert torch.equal(result.image[0] == 200, result.masks[1])
    assert (result.image[:, ~result.masks[1]] == 50).all()
    assert result.file_name == "50.png"


def test_inputs_are_not_changed() -> None:
    source, target = sample(8, 8, (0, 0, 4, 4), value=200), sample(8, 8, (2, 2, 8, 8), value=50)
    paste(source, target, rng=FixedDraws())
    assert (target.image == 50).all() and target.masks.sum() == 36 and (source.image == 200).all()


@pytest.mark.parametrize(("right", "instances"), [(5, 1), (4, 2)])
def test_a_paste_that_hides_half_of_an_object_is_left_out(right: int, instances: int) -> None:
    """The object covers columns 0 to 10: a paste of five columns hides exactly one half."""
    source, target = sample(10, 20, (0, 0, right, 10)), sample(10, 20, (0, 0, 10, 10))
    result = paste(source, target, rng=FixedDraws())
    assert len(result) == instances
    if instances == 2:
        assert result.boxes.tolist() == [[4, 0, 10, 10], [0, 0, 4, 10]]  # the object begins where the paste ends


def test_objects_between_several_pastes_vanish_with_their_scores() -> None:
    """Each paste hides less than half of the small object, both together all of it."""
    source = sample(6, 12, (0, 0, 6, 2), (0, 2, 6, 4), (0, 4, 6, 6))
    target = sample(6, 12, (1, 0, 3, 6), (8, 0, 12, 6))
    result = paste(source, target, rng=FixedDraws(number=3))
    assert len(result) == 4
    torch.testing.assert_close(result.scores, torch.tensor([0.2, 0.1, 0.2, 0.3]))
    assert result.boxes[0].tolist() == [8, 0, 12, 6]


def test_number_of_objects_per_mode() -> None:
    source, target = sample(6, 6, (0, 0, 2, 2), (2, 2, 4, 4), (4, 4, 6, 6)), sample(6, 6)
    for mode, most in (("default", 3), ("parity", 2)):
        draws = FixedDraws(number=9)
        assert len(paste(source, target, rng=draws, mode=mode)) == draws.most == most
    assert len(paste(source, target, rng=FixedDraws(), random_num=False, mode="parity")) == 3


def test_boxes_in_an_image_without_objects() -> None:
    source, target = sample(10, 20, (2, 2, 6, 8)), sample(10, 20)
    right = paste(source, target, rng=FixedDraws(ratio=0.5, x=7, y=1))
    published = paste(source, target, rng=FixedDraws(ratio=0.5, x=7, y=1), mode="parity")
    assert right.boxes.tolist() == [[8, 2, 10, 5]]
    assert published.boxes.tolist() == [[1 + 1, 1 + 7, 3 + 1, 4 + 7]]
    assert torch.equal(right.masks, published.masks)


def test_masks_are_cut_at_one_half_or_grow() -> None:
    """At 2/3 of the size column 3 takes 1/4 of the old column 4 and 3/4 of 5, column 2 takes 3/4 of 3 and 1/4 of 4."""
    source, target = sample(12, 12, (0, 0, 4, 4)), sample(12, 12)
    default = paste(source, target, rng=FixedDraws(ratio=8 / 12))
    parity = paste(source, target, rng=FixedDraws(ratio=8 / 12), mode="parity")
    assert default.masks.sum() == 3 * 3 and parity.masks.sum() == 3 * 3
    source = sample(12, 12, (0, 0, 5, 5))
    default = paste(source, target, rng=FixedDraws(ratio=8 / 12))
    parity = paste(source, target, rng=FixedDraws(ratio=8 / 12), mode="parity")
    assert default.masks.sum() == 3 * 3 and parity.masks.sum() == 4 * 4


def test_pixels_are_rounded_or_cut_off() -> None:
    """Between 10 and 11 there is 10.5."""
    source, target = sample(4, 4, (0, 0, 4, 4)), sample(4, 4)
    source.image[:, :, 1::2] = 11
    source.image[:, :, ::2] = 10
    pasted = {
        mode: paste(source, target, rng=FixedDraws(ratio=0.5), mode=mode).image[0, :2, :2].unique().tolist()
        for mode in ("default", "parity")
    }
    assert pasted == {"default": [11], "parity": [10]}


def test_an_object_that_became_too_small_is_dropped() -> None:
    source, target = sample(16, 16, (0, 0, 1, 1)), sample(16, 16, (8, 8, 9, 9))
    assert paste(source, target, rng=FixedDraws(ratio=0.25)) is target


def test_nothing_is_pasted_above_the_rate_or_from_an_empty_source() -> None:
    source, target = sample(4, 4, (0, 0, 2, 2)), sample(4, 4)
    assert paste(source, target, rng=FixedDraws(chance=0.6), rate=0.5) is target
    assert paste(source, target, rng=FixedDraws(chance=0.5), rate=0.5) is not target
    assert paste(target, source, rng=FixedDraws()) is source


def test_confidence_travels_with_the_objects() -> None:
    source, target = sample(8, 8, (0, 0, 8, 4)), sample(8, 8, (0, 6, 8, 8))
    source.confidence = torch.full((1, 8, 8), 100, dtype=torch.uint8)
    result = paste(source, target, rng=FixedDraws(ratio=0.5, x=2))
    assert result.confidence is not None and result.confidence.dtype == torch.uint8
    assert (result.confidence[0] == 255).all()
    assert (result.confidence[1][result.masks[1]] == 100).all()


def test_classes_travel_with_the_objects() -> None:
    source, target = sample(8, 8, (0, 0, 2, 2), (4, 4, 6, 6)), sample(8, 8, (6, 0, 8, 2))
    source.classes = torch.tensor([5, 3])
    merged = paste(source, target, rng=FixedDraws(number=2))
    assert merged.class_numbers().tolist() == [0, 5, 3]  # a sample without classes is of class 0
    target.classes = torch.tensor([7])
    assert paste(source, target, rng=FixedDraws(number=1)).class_numbers().tolist() == [7, 5]


def test_generator_is_the_default_source_of_randomness() -> None:
    source, target = sample(40, 60, (3, 3, 20, 30), (30, 5, 50, 20)), sample(40, 60, (50, 30, 60, 40))
    first, again = (paste(source, target, rng=np.random.default_rng(5), min_ratio=0.3) for _ in range(2))
    other = paste(source, target, rng=np.random.default_rng(6), min_ratio=0.3)
    assert torch.equal(first.masks, again.masks) and not torch.equal(first.boxes, other.boxes)


def test_boxes_from_masks() -> None:
    assert boxes_from_masks(sample(9, 9, (1, 2, 5, 9), (0, 0, 1, 1)).masks).tolist() == [[1, 2, 5, 9], [0, 0, 1, 1]]
    assert boxes_from_masks(torch.zeros(1, 4, 4, dtype=torch.bool)).tolist() == [[0, 0, 0, 0]]


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"copy_paste_min_ratio is 0\.9, but must be at most"):
        paste(sample(4, 4), sample(4, 4), rng=FixedDraws(), min_ratio=0.9, max_ratio=0.5)


def three_objects(*levels: int) -> Sample:
    """Objects side by side, each of an even confidence within its mask and 0 outside."""
    source = sample(6, 30, (0, 0, 5, 6), (10, 0, 15, 6), (20, 0, 25, 6), value=200)
    source.confidence = source.masks.to(torch.uint8) * torch.tensor(levels, dtype=torch.uint8)[:, None, None]
    return source


def test_instance_confidences_look_within_the_masks() -> None:
    source = three_objects(51, 255, 102)
    np.testing.assert_allclose(instance_confidences(source), [0.2, 1.0, 0.4], atol=1e-6)
    source.confidence = None
    assert instance_confidences(source).tolist() == [1, 1, 1]


def test_the_surest_objects_are_pasted() -> None:
    source = three_objects(130, 250, 200)
    for number, expected in ((1, [0.2]), (2, [0.2, 0.3]), (3, [0.2, 0.3, 0.1])):
        pasted = paste(source, sample(6, 30), rng=FixedDraws(number), selection="confident")
        np.testing.assert_allclose(pasted.scores, expected)


def test_equally_sure_objects_are_drawn_at_random() -> None:
    source = sample(6, 30, (0, 0, 5, 6), (10, 0, 15, 6), (20, 0, 25, 6))
    scores = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        pasted = paste(source, sample(6, 30), rng=rng, selection="confident", min_ratio=1.0)
        scores |= {round(score, 1) for score in pasted.scores[:1].tolist()}
    assert scores == {0.1, 0.2, 0.3}


@pytest.mark.parametrize(("level", "expected"), [(255, 200), (0, 100), (51, 120), (128, 150)])
def test_pixels_are_blended_by_confidence(level: int, expected: int) -> None:
    source, target = sample(4, 4, (0, 0, 2, 4), value=200), sample(4, 4, value=100)
    source.confidence = torch.full((1, 4, 4), level, dtype=torch.uint8)
    blended = paste(source, target, rng=FixedDraws(), blend="confidence")
    assert (blended.image[:, :, :2] == expected).all() and (blended.image[:, :, 2:] == 100).all()
    assert torch.equal(blended.masks, paste(source, target, rng=FixedDraws()).masks)


def test_where_pastes_overlap_the_larger_confidence_counts() -> None:
    source, target = sample(4, 4, (0, 0, 4, 4), (0, 0, 2, 4), value=200), sample(4, 4, value=100)
    source.confidence = torch.stack([torch.full((4, 4), 51), torch.full((4, 4), 204)]).to(torch.uint8)
    blended = paste(source, target, rng=FixedDraws(2), blend="confidence")
    assert (blended.image[:, :, :2] == 180).all() and (blended.image[:, :, 2:] == 120).all()


def test_certain_blending_is_plain_pasting() -> None:
    source, target = three_objects(255, 255, 255), sample(6, 30, (5, 1, 10, 4), value=9)
    plain, blended = (paste(source, target, rng=FixedDraws(3), blend=blend) for blend in ("hard", "confidence"))
    assert torch.equal(plain.image, blended.image)


@pytest.mark.parametrize("options", [{"mode": "other"}, {"selection": "best"}, {"blend": "soft"}])
def test_unknown_options_are_named(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        paste(sample(4, 4), sample(4, 4), rng=FixedDraws(), **options)
