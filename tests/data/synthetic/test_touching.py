from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unseg_d2.data.synthetic.touching import MOST_IN_A_ROW, border_map, touching_scene

SIZE = (96, 128)


def scene(seed: int, shading: float = 0.3):
    return touching_scene(np.random.default_rng(seed), size=SIZE, most_rows=3, shading=shading)


def test_the_same_state_gives_the_same_picture():
    first, second, other = scene(3), scene(3), scene(4)
    for name in ("image", "instances", "depth", "edges"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.image != other.image).any()


@pytest.mark.parametrize("seed", range(6))
def test_instances_edges_and_depth_agree(seed):
    found = scene(seed)
    numbers = np.unique(found.instances)
    assert numbers.tolist() == list(range(len(numbers))) and len(numbers) > 1
    assert found.image.shape == (*SIZE, 3) and found.image.dtype == np.uint8
    depths = [np.unique(found.depth[found.instances == number]) for number in numbers]
    assert all(len(values) == 1 for values in depths)
    assert depths[0][0] > max(values[0] for values in depths[1:])
    inside, _ = ndimage.label(found.edges == 0)
    for number in range(1, inside.max() + 1):
        assert len(np.unique(found.instances[inside == number])) == 1


def test_objects_of_a_row_touch_and_have_one_colour():
    """All rows together form as many connected parts as there are rows, of which some hold several objects."""
    several = 0
    for seed in range(12):
        found = scene(seed, shading=0.0)
        rows, count = ndimage.label(found.instances > 0, np.ones((3, 3)))
        assert 1 <= count <= 3
        for row in range(1, count + 1):
            objects = np.unique(found.instances[rows == row])
            assert len(objects) <= MOST_IN_A_ROW
            several += len(objects) > 1
            colours = found.image[ndimage.binary_erosion(rows == row, iterations=3)].reshape(-1, 3)
            assert colours.astype(int).std(0).max() < 6  # noise alone
    assert several > 3


def test_borders_by_hand():
    instances = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 1, 2, 4]])
    np.testing.assert_array_equal(border_map(instances), [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]])


@pytest.mark.parametrize(("rows", "shading"), [(0, 0.3), (2, 1.5)])
def test_bad_arguments_are_named(rows, shading):
    with pytest.raises(ValueError, match="at least 1 row"):
        touching_scene(np.random.default_rng(0), size=SIZE, most_rows=rows, shading=shading)
