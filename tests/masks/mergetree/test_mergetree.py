from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.graph.merge_tree import Merges, spans
from unseg_d2.masks.mergetree.mergetree import MergeTree, MergeTreeSettings, chosen_nodes, mergetree, separation
from unseg_d2.pseudo.pipeline import build_pipeline
from unseg_d2.structures import PatchFeatures

OF_PIXELS = MergeTreeSettings(superpixels=120, colour=0.5, contour=1.0)


def scene(*objects: tuple[slice, slice], noise: float = 0.02) -> tuple[torch.Tensor, np.ndarray]:
    """Tokens ``(1, 8, 20, 24)`` of objects on a background, each of a direction of its own; and their masks."""
    masks = np.zeros((len(objects), 20, 24), bool)
    tokens = np.zeros((8, 20, 24))
    tokens[0] = 1
    for number, (mask, place) in enumerate(zip(masks, objects), start=1):
        mask[place] = True
        tokens[:, mask] = np.eye(8)[number][:, None]
    tokens += noise * np.random.default_rng(0).standard_normal(tokens.shape)
    return torch.from_numpy(tokens)[None].float(), masks


def test_separation_by_hand() -> None:
    """Leaves 0 to 3; 4 = 0 + 1 at 1, 5 = 2 + 3 at 4, 6 = 4 + 5 at 5; then a lower last merge, which counts as 4."""
    children = np.array([[0, 1], [2, 3], [4, 5]])
    assert separation(children, np.array([1.0, 4, 5]), 4).tolist() == [1, 1, 4, 4, 5, 5, 0]
    assert separation(children, np.array([1.0, 4, 2]), 4).tolist() == [1, 1, 4, 4, 4, 4, 0]


def test_nodes_that_a_better_one_covers_are_left_out() -> None:
    """Node 5 has three of the four patches of node 6, and node 4 two of the three of node 5."""
    places = spans(Merges(np.array([[0, 1], [2, 4], [3, 5]]), np.array([1.0, 2, 3])), 4)
    allowed = places.areas > 1
    scores = np.array([9.0, 9, 9, 9, 0.5, 0.9, 0.7])
    assert chosen_nodes(places, scores, allowed, 9, 0.76) == [5, 6, 4]
    assert chosen_nodes(places, scores, allowed, 9, 0.7) == [5, 4]
    assert chosen_nodes(places, scores, allowed, 9, 0.6) == [5]
    assert chosen_nodes(places, scores, allowed, 2, 1.0) == [5, 6]


def test_planted_objects_come_first() -> None:
    tokens, masks = scene((slice(3, 9), slice(3, 10)), (slice(11, 18), slice(14, 22)))
    (found,) = mergetree(tokens)
    first = {mask.numpy().tobytes() for mask in found.masks[:4]}
    assert {mask.tobytes() for mask in masks} <= first
    assert found.scores[0] == 1 and (found.scores.diff() <= 0).all()


def test_parts_lie_within_their_object() -> None:
    left, right = (slice(4, 16), slice(4, 10)), (slice(4, 16), slice(10, 16))
    tokens, masks = scene(left, right)
    tokens[0, :, masks.any(0)] += 3 * torch.eye(8)[5][:, None]  # what both have in common
    (found,) = mergetree(tokens, MergeTreeSettings(min_patches=30))
    place = {mask.numpy().tobytes(): number for number, mask in enumerate(found.masks)}
    whole = place[masks.any(0).tobytes()]
    parts = [place[mask.tobytes()] for mask in masks]
    assert found.parents[parts].tolist() == [whole, whole]
    assert (found.levels[parts] < found.levels[whole]).all()
    for child, parent in enumerate(found.parents.tolist()):
        assert parent < 0 or (found.masks[child] <= found.masks[parent]).all()


def test_sizes_are_kept_within_limits() -> None:
    tokens, _ = scene((slice(3, 9), slice(3, 10)))
    areas = mergetree(tokens, MergeTreeSettings(min_patches=10, max_share=0.5, num_masks=7))[0].masks.flatten(1).sum(1)
    assert len(areas) == 7 and areas.min() >= 10 and areas.max() <= 240


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_where_all_is_alike_there_is_nothing(value: float) -> None:
    (found,) = mergetree(torch.full((1, 5, 9, 9), value))
    assert len(found) == 0 and found.rejected == {"no region differs from what is around it": 1}


def photo(size: tuple[int, int] = (96, 120)) -> tuple[np.ndarray, np.ndarray]:
    """A red disc on grey with a little noise, uint8; and its mask."""
    mask = np.zeros(size, np.uint8)
    cv2.circle(mask, (size[1] // 3, size[0] // 2), 21, 1, -1)
    noise = np.random.default_rng(0).integers(-4, 5, (*size, 3))
    return (np.where(mask[..., None], (200, 30, 30), 128) + noise).astype(np.uint8), mask > 0


def test_superpixels_give_an_object_its_outline() -> None:
    pixels, wanted = photo()
    coarse = cv2.resize(wanted.astype(np.float32), (15, 12), interpolation=cv2.INTER_AREA)
    tokens = torch.from_numpy(np.stack([1 - coarse, coarse]))[None]
    for settings, least in ((OF_PIXELS, 0.95), (MergeTreeSettings(), 0.75)):
        (found,) = mergetree(tokens, settings, [pixels])
        first = found.masks[:3].numpy()
        if first.shape[1:] != wanted.shape:
            first = first.repeat(8, 1).repeat(8, 2)
        iou = ((first & wanted).sum((1, 2)) / (first | wanted).sum((1, 2))).max()
        assert iou > least and (settings is OF_PIXELS or iou < 0.95)


def test_without_colour_and_edges_patches_of_pixels_are_patches() -> None:
    """A colour share too small to matter takes the way over the pixels; features are constant within each patch."""
    tokens, _ = scene((slice(3, 9), slice(3, 10)), (slice(11, 18), slice(14, 22)))
    pixels = np.random.default_rng(1).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    (plain,) = mergetree(tokens)
    (found,) = mergetree(tokens, MergeTreeSettings(colour=1e-12), [pixels])
    assert torch.equal(found.masks, plain.masks) and torch.equal(found.parents, plain.parents)
    torch.testing.assert_close(found.scores, plain.scores, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("grid", [(9, 12), (1, 12), (12, 1), (2, 2), (1, 1)])
@pytest.mark.parametrize("options", [{"superpixels": 50}, {"colour": 0.5}, {"contour": 1.0}])
def test_any_grid_with_pixels(grid: tuple[int, int], options: dict[str, float]) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (8 * grid[0], 8 * grid[1], 3)).astype(np.uint8)
    features = PatchFeatures(torch.from_numpy(rng.standard_normal((4, *grid))).float(), 8, pixels=pixels)
    (found,) = MergeTree(MergeTreeSettings(min_patches=1, **options))([features])
    assert found.masks.shape[1:] == pixels.shape[:2] and found.masks.flatten(1).any(1).all()
    if grid == (1, 1):
        assert len(found) == 0  # no mask covers more than 90 %
        return
    assert len(found)
    areas = found.masks.flatten(1).sum(1)
    assert (areas >= 64).all() and (areas <= 0.9 * pixels[..., 0].size).all()
    for child, parent in enumerate(found.parents.tolist()):
        assert parent < 0 or (found.masks[child] <= found.masks[parent]).all()


def test_an_even_image_has_no_regions() -> None:
    (found,) = mergetree(torch.ones(1, 3, 6, 6), OF_PIXELS, [np.full((48, 48, 3), 77, np.uint8)])
    assert len(found) == 0 and found.rejected == {"no region differs from what is around it": 1}


def test_missing_pixels_are_named() -> None:
    tokens, _ = scene((slice(3, 9), slice(3, 10)))
    with pytest.raises(UnsegError, match=r"MASKS\.MERGETREE\.SUPERPIXELS, COLOUR and CONTOUR need the pixels"):
        MergeTree(OF_PIXELS)([PatchFeatures(tokens[0], 8)])


@pytest.mark.parametrize("resize", ["square", "pad", "nearest_multiple"])
def test_from_an_image_to_masks_of_its_size(resize: str) -> None:
    options = ["FEATURES.NAME", "descriptors", "FEATURES.IMAGE_SIZE", "96", "FEATURES.RESIZE", resize]
    options += ["MASKS.GENERATOR", "mergetree", "MASKS.MERGETREE.SUPERPIXELS", "150", "REFINE.NAME", "none"]
    pixels, wanted = photo((101, 123))
    (found,) = build_pipeline(load_cfg(None, options))([pixels])
    assert found[0].mask.shape == wanted.shape
    assert max((one.mask & wanted).sum() / (one.mask | wanted).sum() for one in found[:5]) > 0.9
