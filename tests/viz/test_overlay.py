from __future__ import annotations

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
