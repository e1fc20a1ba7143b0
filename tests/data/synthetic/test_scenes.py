from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.data.synthetic.raycast import cast_floor
from unseg_d2.data.synthetic.scenes import CLASSES, random_scene
from unseg_d2.data.synthetic.surfaces import PATTERNS, SOLIDS, Surface

SIZE = (120, 160)


def scene(seed: int, **kwargs: float):
    settings = {"max_objects": 7, "one_colour_share": 0.5, "pitch": (14.0, 38.0), "floor_contrast": 0.12}
    return random_scene(np.random.default_rng(seed), size=SIZE, **{**settings, "by_class": False, **kwargs})


def test_the_same_seed_gives_the_same_scene_and_another_seed_another() -> None:
    first, again, other = scene(3), scene(3), scene(4)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.instances, again.instances)
    np.testing.assert_array_equal(first.depth, again.depth)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("seed", range(8))
def test_every_solid_is_seen_and_depth_agrees_with_the_instances(seed: int) -> None:
    result = scene(seed, max_objects=5)
    labels, areas = np.unique(result.instances, return_counts=True)
    assert labels.tolist() == list(range(len(result.shapes) + 1))
    assert 2 <= len(result.shapes) <= 5
    assert areas[1:].min() >= 0.0015 * result.instances.size
    floor = np.asarray(cast_floor(result.camera))
    solid = result.instances > 0
    assert (result.depth[solid] < floor[solid] + 1e-9).all()  # solids stand on the floor
    np.testing.assert_array_equal(result.depth[~solid], floor[~solid])
    assert result.image.shape == (*SIZE, 3) and result.image.dtype == np.uint8


def test_share_of_one_coloured_scenes() -> None:
    assert all(scene(seed, one_colour_share=1.0).one_colour for seed in range(3))
    assert not any(scene(seed, one_colour_share=0.0).one_colour for seed in range(3))


def test_solids_of_a_one_coloured_scene_share_their_hue() -> None:
    """The mean colour of a solid, divided by its brightness, is the same for all of them but not for the floor."""
    result = scene(12, one_colour_share=1.0)
    means = np.stack([result.image[result.instances == i].mean(axis=0) for i in range(len(result.shapes) + 1)])
    hues = means / means.sum(axis=1, keepdims=True)
    assert np.abs(hues[1:] - hues[1]).max() < 0.5 * np.abs(hues[1:] - hues[0]).max(axis=1).min()


@pytest.mark.parametrize("pattern", PATTERNS[1:])
def test_a_pattern_shows_both_colours_near_and_their_mean_far_away(pattern: str) -> None:
    rng = np.random.default_rng(0)
    surface = Surface(pattern, np.float32([[0.2] * 3, [0.8] * 3]), 0.5, rng.normal(0, 3, (6, 4)).astype(np.float32))
    points = rng.uniform(-5, 5, (500, 3)).astype(np.float32)
    near = surface.albedo(points, np.full(500, 1e-3, dtype=np.float32))
    far = surface.albedo(points, np.full(500, 1.0, dtype=np.float32))
    assert near.min() < 0.4 and near.max() > 0.6
    np.testing.assert_allclose(far, 0.5, atol=1e-6)


def test_classes_are_sky_floor_and_the_shapes_of_the_solids() -> None:
    result = scene(5, pitch=(14.0, 15.0))
    names = np.array(CLASSES)[result.classes]
    assert (names[np.isinf(result.depth)] == "sky").all() and np.isinf(result.depth).any()
    assert (names[(result.instances == 0) & np.isfinite(result.depth)] == "floor").all()
    for number, shape in enumerate(result.shapes, start=1):
        assert (names[result.instances == number] == shape).all()


def test_a_surface_tells_the_class_where_it_is_asked_to() -> None:
    """The hue of each solid's brightest channel differs by shape: red spheres, blue cylinders."""
    found = {shape: [] for shape in SOLIDS}
    for seed in range(12):
        result = scene(seed, by_class=True, one_colour_share=1.0, pitch=(30.0, 38.0))
        assert not result.one_colour
        for number, shape in enumerate(result.shapes, start=1):
            found[shape].append(result.image[result.instances == number].mean(0).argmax())
    assert set(found["sphere"]) == {0} and set(found["cylinder"]) == {2} and set(found["box"]) == {0}


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="max_objects"):
        scene(0, max_objects=1)
