from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.semantic.views import student_view


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_view_depends_on_the_generator_only(order: str) -> None:
    views = [student_view(image(), np.random.default_rng(seed), order) for seed in (1, 1, 2)]
    assert views[0].dtype == np.float32 and views[0].shape == (24, 32, 3)
    np.testing.assert_array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])


def test_a_grey_picture_stays_grey_and_keeps_its_mean() -> None:
    flat = np.full((24, 32, 3), 90, dtype=np.uint8)
    for seed in range(30):
        view = student_view(flat, np.random.default_rng(seed), "before")
        assert np.ptp(view) < 0.1  # nothing moves and nothing is coloured
        assert 90 * 0.89 < view.mean() < 90 * 1.11  # brightness by a tenth at most


def test_shares_of_the_branches() -> None:
    """Half of the views may be jittered (30 %), the other half made grey (10 %); all are blurred."""
    flat = np.tile(np.uint8([200, 100, 50]), (24, 24, 1))
    kinds = {"same": 0, "grey": 0, "jittered": 0}
    for seed in range(600):
        colour = student_view(flat, np.random.default_rng(seed), "before")[4, 4]
        kind = "grey" if np.ptp(colour) < 1e-3 else "same" if np.allclose(colour, flat[0, 0], atol=1e-3) else "jittered"
        kinds[kind] += 1
    assert abs(kinds["grey"] / 600 - 0.05) < 0.03 and abs(kinds["jittered"] / 600 - 0.15) < 0.05


def test_the_published_order_loses_what_is_darker_than_the_mean() -> None:
    dark, darker = (np.full((24, 24, 3), level, dtype=np.uint8) for level in (90, 20))
    jittered = next(
        seed for seed in range(99) if np.ptp(student_view(dark, np.random.default_rng(seed), "after") - 90) > 1
    )
    views = [student_view(level, np.random.default_rng(jittered), "after") for level in (dark, darker)]
    np.testing.assert_allclose(views[0], views[1], atol=1e-3)
    views = [student_view(level, np.random.default_rng(jittered), "before") for level in (dark, darker)]
    assert np.abs(views[0] - views[1]).min() > 50


def test_another_order_is_refused() -> None:
    with pytest.raises(UnsegError, match=r"SEMANTIC\.VIEWS\.ORDER .* must be one of 'before', 'after'"):
        load_cfg(None, ["SEMANTIC.VIEWS.ORDER", "never"])
