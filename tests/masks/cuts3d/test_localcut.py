from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from unseg_d2.masks.cuts3d.localcut import LocalCutSettings, cut_mask, localcut
from unseg_d2.masks.cuts3d.point_cloud import point_cloud

PLAIN = LocalCutSettings(depth_axis="depth", z_scale=1.0)  # z in [0, 1], so that lengths can be read off
NOISE = 0.001 * np.random.default_rng(0).standard_normal((25, 30))
MASK = np.ones((25, 30), bool)
MASK[0] = False  # the first row is background
LEFT = MASK & (np.arange(30) < 15)


def planes(gap: float, *, blur: int = 0) -> np.ndarray:
    """Distance ``(25, 30)`` of two planes, patches 1 / 30 apart, that meet at column 15 or over ``blur`` columns."""
    return gap * np.clip((np.arange(30) - 14.5) / (blur + 1) + 0.5, 0, 1) + NOISE


def falling() -> np.ndarray:
    """An eigenvector with its peak at the left of the mask, its least entry there at the right, and background."""
    return np.where(MASK, np.linspace(1, -1, 30) + NOISE, -2)


def cut(distance: np.ndarray, eigenvector: np.ndarray | None = None, **settings) -> tuple[np.ndarray, np.ndarray]:
    return cut_mask(MASK, point_cloud(distance), eigenvector, replace(PLAIN, **settings))


class TestToyClouds:
    @pytest.mark.parametrize("point_set", ["v1", "v3"])
    @pytest.mark.parametrize("capacity", ["gaussian", "linear", "binary", "distance"])
    def test_two_planes_apart_split_exactly_and_surely(self, point_set, capacity):
        mask, confidence = cut(planes(0.3), falling(), point_set=point_set, capacity=capacity)
        np.testing.assert_array_equal(mask, LEFT)
        np.testing.assert_array_equal(confidence, LEFT.astype(np.float32))

    def test_the_other_plane_if_the_eigenvector_says_so(self):
        np.testing.assert_array_equal(cut(planes(0.3), np.where(MASK, -falling(), -2))[0], MASK & ~LEFT)

    @pytest.mark.parametrize("eigenvector", [None, falling()], ids=["alone", "eigenvector"])
    def test_a_single_plane_keeps_the_whole_mask(self, eigenvector):
        mask, confidence = cut(planes(0), eigenvector)
        np.testing.assert_array_equal(mask, MASK)
        assert (confidence[MASK] == 1).all()

    def test_confidence_counts_the_thresholds_that_cross_a_step(self):
        """Across a step of .073 neighbours are .080 apart: more than .0575 and .069, less than .0805 ... .115."""
        mask, confidence = cut(planes(0.073), falling(), k=20)
        np.testing.assert_array_equal(mask, MASK)
        assert (confidence[LEFT] == 1).all()
        np.testing.assert_allclose(confidence[MASK & ~LEFT], 4 / 6, rtol=1e-6)

    def test_a_blurred_step_is_uncertain_at_the_border(self):
        """A slope of 1.5 patches per patch before the step: each column of it is further than some thresholds."""
        distance = planes(0.3)
        distance[:, 12:15] += 0.3 * np.array([0.17, 0.38, 0.62])
        mask, confidence = cut(distance, falling(), k=20)
        border = MASK & np.isin(np.arange(30), [12, 13, 14])
        np.testing.assert_array_equal(mask, LEFT)
        assert (confidence[LEFT & ~border] == 1).all()
        assert ((confidence[border] >= 0.5) & (confidence[border] <= 1)).all()
        assert confidence[:, 14].max() < 1

    def test_few_neighbours_do_not_see_across_a_step_that_the_threshold_would_cross(self):
        """All 10 neighbours of a patch lie on its own plane; why k matters as much as the threshold."""
        np.testing.assert_array_equal(cut(planes(0.1), falling(), k=10)[0], LEFT)
        np.testing.assert_array_equal(cut(planes(0.1), falling(), k=25)[0], MASK)


class TestMinimumCut:
    """What ``v1`` does where source and sink hang together."""

    def test_the_guard_replaces_a_cut_that_severs_one_point(self):
        """A source in a corner has the fewest edges of all points; the sink is in the middle."""
        eigenvector = np.zeros((25, 30))
        eigenvector[1, 0], eigenvector[12, 15] = 1, -1
        degenerate, _ = cut(planes(0), eigenvector, point_set="v1", min_area=0.0)
        assert degenerate.sum() == 1
        np.testing.assert_array_equal(cut(planes(0), eigenvector, point_set="v1")[0], MASK)

    def test_seeds_find_a_neck_and_the_gate_refuses_to_split_a_plane(self):
        """The planes touch along two of 24 rows, by a slope."""
        distance = planes(0.3)
        distance[10:12] = planes(0.3, blur=4)[10:12]
        neck = {"point_set": "v1", "seeds": 25}
        assert cut(distance, falling(), **neck, gate=0.0)[0].sum() == MASK.sum()
        mask, _ = cut(distance, falling(), **neck)
        assert (mask != LEFT).sum() <= 10
        np.testing.assert_array_equal(cut(planes(0), falling(), **neck)[0], MASK)
        assert cut(planes(0), falling(), **neck, gate=1.0)[0].sum() < MASK.sum()

    def test_v3_cuts_where_the_sink_lies_in_the_mask(self):
        """With eigenvectors from elsewhere it may; then both point sets are the same."""
        eigenvector = np.where(MASK, falling(), 0)
        masks = [cut(planes(0.085), eigenvector, point_set=name, k=25)[0] for name in ("v1", "v3")]
        np.testing.assert_array_equal(masks[0], LEFT)
        np.testing.assert_array_equal(masks[1], LEFT)


class TestLocalCut:
    def test_masks_of_anybody(self):
        """A mask over a near and a far object, which differ in size, keeps the larger one; nothing else is needed."""
        depth = np.full((40, 40), 9.0)
        depth[10:30, 5:20], depth[10:30, 20:30] = 2, 5
        masks = np.stack([depth < 9, depth == 5, np.zeros_like(depth, bool)])
        cut = localcut(masks, depth, "metric")
        np.testing.assert_array_equal(cut.masks, np.stack([depth == 2, depth == 5, masks[2]]))
        np.testing.assert_array_equal(cut.confidence, cut.masks.astype(np.float32))

    @pytest.mark.parametrize(("kind", "convert"), [("inverse", lambda z: 1 / z), ("relative", lambda z: z / 9)])
    def test_any_kind_of_depth(self, kind, convert):
        depth = np.where(np.arange(30)[None] < 12, 2.0, 6.0).repeat(20, 0)
        depth[:2] = 9
        masks = (depth < 9)[None]
        metric = localcut(masks, depth, "metric").masks
        np.testing.assert_array_equal(metric[0], depth == 6)
        np.testing.assert_array_equal(localcut(masks, convert(depth), kind).masks, metric)

    def test_results_are_parts_of_the_masks_and_confident_within_them_only(self):
        rng = np.random.default_rng(0)
        masks = rng.random((4, 18, 25)) < 0.5
        cut = localcut(masks, rng.random((18, 25)), eigenvectors=rng.standard_normal(masks.shape))
        assert not (cut.masks & ~masks).any()
        assert ((cut.confidence >= 0.5) == cut.masks).all()
        assert ((cut.confidence == 0) == ~cut.masks).all()

    def test_no_masks_and_one_patch(self):
        assert localcut(np.zeros((0, 5, 6), bool), np.ones((5, 6))).masks.shape == (0, 5, 6)
        assert localcut(np.ones((1, 1, 1), bool), np.ones((1, 1))).masks.all()

    def test_the_input_is_left_alone(self):
        masks, depth = np.ones((1, 25, 30), bool), planes(0.3)
        before = masks.copy(), depth.copy()
        localcut(masks, depth)
        np.testing.assert_array_equal(masks, before[0])
        np.testing.assert_array_equal(depth, before[1])

    @pytest.mark.parametrize(
        ("masks", "depth", "vectors", "message"),
        [
            (np.ones((1, 5, 6)), np.ones((5, 6)), None, "must be bool"),
            (np.ones((5, 6), bool), np.ones((5, 6)), None, r"shape \(n, h, w\)"),
            (np.ones((1, 5, 6), bool), np.ones((6, 5)), None, "resize"),
            (np.ones((1, 5, 6), bool), np.ones((5, 6)), np.ones((2, 5, 6)), "eigenvectors"),
            (np.ones((1, 5, 6), bool), np.full((5, 6), np.nan), None, "NaN"),
        ],
    )
    def test_bad_input_is_named(self, masks, depth, vectors, message):
        with pytest.raises(ValueError, match=message):
            localcut(masks, depth, eigenvectors=vectors)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("point_set", "v2"),
        ("capacity", "cubic"),
        ("k", 0),
        ("tau_knn", 0.0),
        ("t_min", 1.5),
        ("z_scale", float("inf")),
        ("percentile", 50.0),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        LocalCutSettings(**{name: value})
