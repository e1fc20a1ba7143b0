from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.config import get_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.masks import VoteCutSettings, build_generator, cut_vectors, votecut
from unseg_d2.masks.votecut.clusters import greedy_clusters, pairwise_iou, vote
from unseg_d2.masks.votecut.votecut import VoteCut, label_pieces, pieces
from unseg_d2.structures import PatchFeatures


def boxes(*corners: tuple[int, int, int, int], side: int = 20) -> np.ndarray:
    """Masks ``(n, side, side)`` of rectangles ``(top, left, bottom, right)``."""
    masks = np.zeros((len(corners), side, side), dtype=bool)
    for mask, (top, left, bottom, right) in zip(masks, corners):
        mask[top:bottom, left:right] = True
    return masks


class TestPieces:
    def test_what_may_be_an_object(self):
        labels = np.zeros((20, 30), dtype=np.int64)  # 0 touches four corners
        labels[2:8, 2:6] = 1
        labels[2:6, 10:14] = 1  # both sides below five patches
        labels[10, 10:15] = 1  # one side is long enough
        labels[11, 15:21] = 1  # touches the last one by a corner only
        labels[12:, 25:] = 2  # touches one corner
        found = label_pieces(labels, (20, 30))
        expected = np.zeros((4, 20, 30), dtype=bool)
        expected[0, 2:8, 2:6] = expected[1, 10, 10:15] = expected[2, 11, 15:21] = expected[3, 12:, 25:] = True
        np.testing.assert_array_equal(found, expected)

    def test_a_label_at_two_corners_is_background(self):
        labels = np.zeros((10, 10), dtype=np.int64)
        labels[:6] = 1
        assert len(label_pieces(labels, (10, 10))) == 0

    @pytest.mark.parametrize(("count", "kept"), [(30, True), (31, False)])
    def test_a_label_in_too_many_pieces_is_noise(self, count, kept):
        labels = np.zeros((2 * count + 1, 9), dtype=np.int64)
        labels[1::2, 1:8] = 1
        assert len(label_pieces(labels, labels.shape)) == (count if kept else 0)

    def test_grids_are_resized_to_the_nearest_patch(self):
        labels = np.zeros((6, 10), dtype=np.int64)
        labels[1:3, 2:8] = 1
        (larger,) = label_pieces(labels, (12, 15))
        np.testing.assert_array_equal(larger, (labels == 1)[np.arange(12) * 6 // 12][:, np.arange(15) * 10 // 15])
        assert label_pieces(labels, (3, 5)).shape == (1, 3, 5)

    def test_a_constant_eigenvector_has_none(self):
        assert pieces(np.zeros((9, 9)), (12, 12), (2, 3), "default").shape == (0, 12, 12)


class TestClusters:
    def test_iou_of_all_pairs(self):
        masks = boxes((0, 0, 4, 4), (2, 0, 6, 4), (10, 10, 12, 12), (0, 0, 0, 0))
        expected = np.eye(4)
        expected[0, 1] = expected[1, 0] = 8 / 24
        expected[3, 3] = 0
        np.testing.assert_allclose(pairwise_iou(masks), expected)

    def test_the_one_with_most_neighbours_starts(self):
        masks = boxes((0, 0, 10, 10), (0, 0, 10, 8), (0, 0, 10, 12), (12, 12, 20, 20), (0, 0, 10, 7))
        first, second = greedy_clusters(pairwise_iou(masks), 0.6, "default")
        assert (first.pivot, first.members.tolist()) == (1, [0, 1, 2, 4])
        assert (second.pivot, second.members.tolist()) == (3, [3])

    @pytest.mark.parametrize(("mode", "order"), [("default", [0, 1, 2]), ("parity", [2, 1, 0])])
    def test_ties(self, mode, order):
        assert [cluster.pivot for cluster in greedy_clusters(np.eye(3), 0.6, mode)] == order

    def test_an_iou_at_the_threshold_is_not_above_it(self):
        masks = boxes((0, 0, 1, 3), (0, 0, 1, 5))
        assert len(greedy_clusters(pairwise_iou(masks), 0.6, "default")) == 2

    def test_a_proposal_whose_pivot_is_taken(self):
        """1, 2 and 4 are neighbours of 0; 3 only of 1, which is taken when its turn comes."""
        iou = np.eye(5)
        for i, j, value in [(0, 1, 0.7), (0, 2, 0.7), (0, 4, 0.7), (1, 3, 0.65)]:
            iou[i, j] = iou[j, i] = value
        default, parity = ([c.members.tolist() for c in greedy_clusters(iou, 0.6, m)] for m in ("default", "parity"))
        assert default == [[0, 1, 2, 4], [3]]
        assert parity == [[0, 1, 2, 4]]

    def test_no_proposal_votes_twice(self):
        rng = np.random.default_rng(0)
        iou = np.triu(rng.random((40, 40)), 1)
        iou += iou.T + np.eye(40)
        for mode in ("default", "parity"):
            members = np.concatenate([cluster.members for cluster in greedy_clusters(iou, 0.8, mode)])
            assert sorted(members) == list(range(40))

    def test_votes_must_exceed_the_share(self):
        masks = boxes((0, 0, 5, 5), (0, 0, 5, 4), (0, 0, 5, 4), (0, 0, 5, 4), (0, 0, 5, 3))
        np.testing.assert_array_equal(vote(masks, 0.2), boxes((0, 0, 5, 4))[0])
        np.testing.assert_array_equal(vote(masks, 0.19), boxes((0, 0, 5, 5))[0])


def step_vector(h: int, w: int, *objects: tuple[int, int, int, int]) -> np.ndarray:
    """An eigenvector that is high on rectangles ``(top, left, bottom, right)`` in fifths of the grid."""
    vector = np.zeros((h, w))
    for top, left, bottom, right in objects:
        vector[top * h // 5 : bottom * h // 5, left * w // 5 : right * w // 5] = 1
    return vector


class TestVoteCut:
    def test_members_vote_on_the_finest_grid(self):
        whole, part = (1, 1, 4, 4), (1, 1, 3, 3)
        vectors = [step_vector(20, 30, whole), step_vector(40, 60, whole), step_vector(30, 30, part)]
        proposals = votecut(vectors, VoteCutSettings(num_clusters=(2,)))
        expected = torch.from_numpy(np.stack([step_vector(40, 60, box) > 0 for box in (whole, part)]))
        assert torch.equal(proposals.masks, expected)
        torch.testing.assert_close(proposals.scores, torch.tensor([1.0, 0.5]))

    def test_the_grid_of_the_published_code(self):
        proposals = votecut([step_vector(20, 30, (1, 1, 4, 4))], VoteCutSettings(grid=60, mode="parity"))
        assert proposals.masks.shape == (1, 60, 60)

    def test_the_largest_groups_are_kept(self):
        lone, twice = (0, 1, 2, 2), (3, 3, 5, 4)
        vectors = [step_vector(30, 30, lone), step_vector(30, 30, twice), step_vector(30, 30, twice)]
        proposals = votecut(vectors, VoteCutSettings(num_clusters=(2,), max_masks=1))
        assert torch.equal(proposals.masks[0], torch.from_numpy(vectors[1] > 0))

    def test_without_members_the_features_vote_alone(self):
        tokens = torch.randn(8, 20, 26, generator=torch.Generator().manual_seed(0)) * 0.1
        tokens[0] += 1
        tokens[:2, 5:15, 6:16] = torch.tensor([0.0, 1.0])[:, None, None]
        (alone,) = VoteCut()([PatchFeatures(tokens, 8)])
        (listed,) = VoteCut()([PatchFeatures(tokens, 8, members=(PatchFeatures(tokens, 8),))])
        assert torch.equal(alone.masks, listed.masks)
        expected = torch.zeros(20, 26, dtype=torch.bool)
        expected[5:15, 6:16] = True
        assert torch.equal(alone.masks[0], expected)
        assert alone.scores[0] == 1

    def test_eigenvectors_of_the_symmetric_laplacian(self):
        """Against NumPy's dense solver; not scaled by the degrees."""
        tokens = torch.randn(1, 5, 6, 7, generator=torch.Generator().manual_seed(3))
        (vector,) = cut_vectors(tokens, VoteCutSettings(tau=0.15))
        unit = torch.nn.functional.normalize(tokens.double().flatten(2)[0], dim=0).numpy()
        affinity = np.where(unit.T @ unit > 0.15, 1, 1e-5)
        scale = affinity.sum(1) ** -0.5
        expected = np.linalg.eigh(np.eye(42) - scale[:, None] * affinity * scale)[1][:, 1]
        assert abs(vector.ravel() @ expected) == pytest.approx(1, abs=1e-10)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"mode": "exact"}, "mode"),
            ({"num_clusters": (1, 2)}, "num_clusters"),
            ({"num_clusters": ()}, "num_clusters"),
            ({"min_iou": 1.5}, "min_iou"),
            ({"min_votes": 1.0}, "min_votes"),
            ({"max_masks": 0}, "max_masks"),
            ({"grid": -1}, "grid"),
        ],
    )
    def test_settings_out_of_range_are_named(self, settings, message):
        with pytest.raises(ValueError, match=message):
            votecut([np.zeros((3, 3))], VoteCutSettings(**settings))

    def test_no_members(self):
        with pytest.raises(ValueError, match="at least one member"):
            votecut([])

    def test_settings_reach_it_from_a_configuration(self):
        cfg = get_cfg()
        cfg.MASKS.GENERATOR = "votecut"
        cfg.MASKS.VOTECUT.NUM_CLUSTERS = [2]
        assert build_generator(cfg).settings.num_clusters == [2]
        cfg.MASKS.VOTECUT.TAU = 2.0
        with pytest.raises(UnsegError, match="tau must be a number in"):
            build_generator(cfg)
