from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from unseg_d2.viz.overlay import draw_instances
from unseg_d2.viz.palette import NUM_COLOURS, hex_colour, instance_colour


def one_mask(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[rows, columns] = True
    return mask


def test_fill_blends_inside_and_leaves_the_rest_alone():
    image = np.full((40, 60, 3), 100, dtype=np.uint8)
    mask = one_mask(40, 60, slice(10, 20), slice(15, 45))
    drawn = draw_instances(image, mask[None], opacity=0.5, outline=False)
    expected = np.rint(0.5 * 100 + 0.5 * np.array(instance_colour(0)))
    assert (drawn[mask] == expected).all()
    assert (drawn[~mask] == 100).all()
    assert (image == 100).all()


def test_outline_follows_the_border():
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    mask = one_mask(64, 64, slice(10, 50), slice(10, 50))
    drawn = draw_instances(image, mask[None], opacity=0.0)
    assert np.abs(drawn[10, 20] - np.array(instance_colour(0))).max() < 60  # anti-aliased
    assert (drawn[30, 30] == 0).all()
    assert (drawn[5, 5] == 0).all()


def test_small_instances_lie_above_large_ones_whatever_their_order():
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    small, large = one_mask(40, 40, slice(15, 20), slice(15, 20)), one_mask(40, 40, slice(0, 40), slice(0, 40))
    drawn = draw_instances(image, np.stack([small, large]), opacity=1.0, outline=False)
    assert (drawn[17, 17] == instance_colour(0)).all()
    assert (drawn[2, 2] == instance_colour(1)).all()


def test_scores_are_written_inside_the_image_even_in_the_last_corner():
    image = np.zeros((120, 160, 3), dtype=np.uint8)
    mask = one_mask(120, 160, slice(118, 120), slice(158, 160))
    plain = draw_instances(image, mask[None])
    drawn = draw_instances(image, mask[None], scores=[0.93])
    changed = (plain != drawn).any(axis=2)
    assert changed.any() and changed.sum() < 0.1 * changed.size


def test_no_instances_and_empty_masks_return_the_image():
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    assert (draw_instances(image, np.zeros((0, 20, 30), bool)) == image).all()
    assert (draw_instances(image, np.zeros((1, 20, 30), bool), scores=[0.5]) == image).all()


@pytest.mark.parametrize(
    ("image", "masks", "keywords", "message"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((0, 4, 4), bool), {}, "image must be uint8"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 5), bool), {}, "masks must be bool"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4), np.uint8), {}, "masks must be bool"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4), bool), {"scores": []}, "as many scores"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4), bool), {"opacity": 2}, "opacity"),
    ],
)
def test_bad_arguments_are_named(image, masks, keywords, message):
    with pytest.raises(ValueError, match=message):
        draw_instances(image, masks, **keywords)


def test_colours_are_distinct_and_repeat():
    colours = [instance_colour(index) for index in range(NUM_COLOURS)]
    assert len(set(colours)) == NUM_COLOURS
    assert instance_colour(NUM_COLOURS) == colours[0]
    assert all(0 <= value <= 255 for colour in colours for value in colour)
    assert hex_colour(0) == "#56b4e9"


def test_base_colours_stay_apart_for_red_green_blind_readers():
    """Projection of linear RGB for deuteranopia: Viénot, Brettel and Mollon (1999)."""
    simulate = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    linear = (np.array([instance_colour(index) for index in range(7)]) / 255) ** 2.2
    seen = (linear @ simulate.T).clip(0, 1) ** (1 / 2.2) * 255
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=2)[np.triu_indices(7, 1)]
    assert distances.min() > 25


def whole_canvas(image: np.ndarray, masks: np.ndarray, scores: list[float] | None, opacity: float) -> np.ndarray:
    """The same picture drawn on the whole canvas for each instance, without boxes."""
    canvas, width = image.copy(), max(1, round(max(image.shape[:2]) / 320))
    order = [i for i in np.argsort(-masks.sum((1, 2)), kind="stable") if masks[i].any()]
    for i in order:
        colour = instance_colour(i)
        blended = (1 - opacity) * canvas[masks[i]] + opacity * np.array(colour)
        canvas[masks[i]] = np.rint(blended).astype(np.uint8)
        contours = cv2.findContours(masks[i].astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
        cv2.drawContours(canvas, contours, -1, colour, width, cv2.LINE_AA)
    return canvas if scores is None else draw_instances(canvas, masks, scores=scores, opacity=0.0, outline=False)


def some_masks(rng: np.random.Generator, n: int, height: int, width: int, radius: int) -> np.ndarray:
    """Ellipses with holes, some cut off by the border of the image, some of two parts."""
    masks = np.zeros((n, height, width), np.uint8)
    for mask in masks:
        for value in (1, 1, 0):
            centre = int(rng.integers(width)), int(rng.integers(height))
            axes = int(rng.integers(2, radius)), int(rng.integers(2, radius))
            cv2.ellipse(mask, centre, axes, int(rng.integers(180)), 0, 360, value, cv2.FILLED)
    return masks.astype(bool)


@pytest.mark.parametrize("seed", range(8))
def test_the_pixels_are_those_of_the_whole_canvas(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(30, 400, 2)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    masks = some_masks(rng, 7, height, width, 60)
    scores = rng.random(7).tolist() if seed % 2 else None
    opacity = 0.45 if seed % 4 else 0.0
    expected = whole_canvas(image, masks, scores, opacity)
    np.testing.assert_array_equal(draw_instances(image, masks, scores=scores, opacity=opacity), expected)


def test_small_finds_on_a_large_picture_are_drawn_in_their_boxes():
    """24 megapixels: filling and outlining each find on the whole canvas takes several times as long."""
    rng = np.random.default_rng(0)
    image = np.zeros((4000, 6000, 3), np.uint8)
    masks = np.zeros((12, 4000, 6000), bool)
    for mask in masks:
        top, left = rng.integers(0, 3900), rng.integers(0, 5900)
        mask[top : top + 60, left : left + 80] = True

    def seconds(draw: Callable[[], np.ndarray]) -> float:
        start = time.process_time()
        draw()
        return time.process_time() - start

    draw_instances(image, masks)  # the first touch of the masks' memory belongs to neither
    boxes = seconds(lambda: draw_instances(image, masks))
    assert boxes < 0.6 * seconds(lambda: whole_canvas(image, masks, None, 0.45))
