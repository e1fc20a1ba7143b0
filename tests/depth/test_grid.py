"""Depth on the patch grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.depth import GridDepth, to_grid
from unseg_d2.depth.registry import model_checksum
from unseg_d2.structures import DepthKind, DepthMap


def depth_map(values: np.ndarray | list, kind: DepthKind = "metric") -> DepthMap:
    return DepthMap(torch.tensor(np.asarray(values), dtype=torch.float32), kind)


def test_points_at_the_centres_of_patches() -> None:
    depth = depth_map(np.arange(1, 37).reshape(6, 6))
    assert to_grid(depth, (60, 60), (2, 2)).depth.tolist() == [
        [8, 11],
        [26, 29],
    ]  # pixels (1, 1), (1, 4), (4, 1), (4, 4)


def test_a_border_gets_no_depth_in_between() -> None:
    values = np.where(np.arange(30) < 13, 1.0, 3.0)[None].repeat(20, 0)
    assert set(to_grid(depth_map(values), (20, 30), (5, 7)).depth.unique().tolist()) == {1.0, 3.0}


def test_a_finer_grid_than_the_map_repeats_it() -> None:
    assert to_grid(depth_map([[1.0, 2.0]]), (10, 20), (2, 4)).depth.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


def test_patches_of_padding_have_the_depth_of_the_edge() -> None:
    depth = depth_map(np.arange(1.0, 5.0)[None].repeat(4, 0))
    assert to_grid(depth, (4, 4), (2, 6), (1.0, 4 / 6)).depth[0].tolist() == [1, 2, 3, 4, 4, 4]


def test_pixels_without_a_reading_take_the_nearest_one() -> None:
    values = np.array([[0.0, 0, 2, 0, 0, 5]])
    assert to_grid(depth_map(values), (1, 6), (1, 6)).depth.tolist() == [[2, 2, 2, 2, 5, 5]]


def test_zero_is_a_depth_like_any_other_without_a_unit() -> None:
    values = np.array([[0.0, 0, 2, 0]])
    for kind in ("relative", "inverse"):
        assert to_grid(depth_map(values, kind), (1, 4), (1, 4)).depth.tolist() == values.tolist()


@pytest.mark.parametrize("size", [(480, 640), (96, 128), (97, 128), (24, 32), (10, 13)])
def test_any_size_of_the_same_picture(size: tuple[int, int]) -> None:
    ramp = np.linspace(1, 2, size[1])[None].repeat(size[0], 0)
    found = to_grid(depth_map(ramp), (480, 640), (6, 8)).depth
    assert found.shape == (6, 8)
    np.testing.assert_allclose(found[0], 1 + (np.arange(8) + 0.5) / 8, atol=0.1)


RAMP = np.linspace(1, 2, 12).reshape(3, 4)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (RAMP.T, "metric", "3x4 pixels, another aspect ratio than the image's 4x3"),
        (np.where(RAMP > 1.9, np.nan, RAMP), "metric", "17 % of its depth is NaN or infinite"),
        (np.where(RAMP > 1.95, np.inf, RAMP), "inverse", "8.3 % of its depth is NaN or infinite"),
        (np.full((3, 4), 1.5), "metric", "1.5 everywhere"),
        (np.zeros((3, 4)), "relative", "0 everywhere"),
        (np.zeros((3, 4)), "metric", "only 0 % of its pixels have a depth"),
        (np.where(RAMP > 1.95, 1.5, 0), "metric", "1.5 everywhere"),
        (RAMP - 1.5, "metric", "negative in places"),
    ],
)
def test_a_map_that_cannot_be_is_named(values: np.ndarray, kind: DepthKind, message: str) -> None:
    with pytest.raises(ImageProblem, match=message):
        to_grid(depth_map(values, kind), (3, 4), (3, 4))


class Counting:
    """A model that takes the red channel for depth and counts the images it saw."""

    name, kind, predicts = "hub/counting", "relative", True

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[DepthMap]:
        self.seen += len(images)
        return [depth_map(image[..., 0], self.kind) for image in images]


def test_predictions_are_kept_by_the_pixels_of_the_image(tmp_path: Path) -> None:
    model = Counting()
    source = GridDepth(model, tmp_path / "cache")
    a, b = (np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8) for seed in (0, 1))
    name = ImageFile(Path("a.png"), "a.png")
    first = source([a, b], [name, name], (4, 4))
    again = source([b, a], [name, name], (4, 4))
    assert model.seen == 2
    assert torch.equal(first[0].depth, again[1].depth) and torch.equal(first[1].depth, again[0].depth)
    assert again[0].kind == "relative"
    source([a], [name], (2, 2))
    assert model.seen == 3


def test_another_model_of_the_same_name_predicts_again(tmp_path: Path) -> None:
    a, name = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8), ImageFile(Path("a.png"), "a.png")
    model = tmp_path / "model"
    (model / "unet").mkdir(parents=True)
    weights = model / "unet" / "weights.safetensors"
    identities = []
    for content, seen in ((b"one", 1), (b"two", 1), (b"one", 0)):
        weights.write_bytes(content)
        counting = Counting()
        counting.checksum = model_checksum(str(model))
        source = GridDepth(counting, tmp_path / "cache")
        source([a], [name], (4, 4))
        identities.append(source.identity)
        assert counting.seen == seen
    assert identities[0] == identities[2] != identities[1]
    assert identities[0] == {"name": "hub/counting", "kind": "relative", "checksum": identities[0]["checksum"]}
    assert model_checksum("Intel/zoedepth-nyu-kitti") == ""


def test_a_damaged_entry_is_predicted_again(tmp_path: Path) -> None:
    model = Counting()
    source = GridDepth(model, tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    (before,) = source([image], [ImageFile(Path("a"), "a")], (4, 4))
    (entry,) = tmp_path.rglob("*.npy")
    entry.write_bytes(entry.read_bytes()[:-7])
    (after,) = source([image], [ImageFile(Path("a"), "a")], (4, 4))
    assert model.seen == 2 and torch.equal(before.depth, after.depth)
