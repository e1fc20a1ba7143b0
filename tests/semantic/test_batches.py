from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from semantic_files import save

from unseg_d2.config import load_cfg
from unseg_d2.semantic.batches import BatchMaker, FeatureCache
from unseg_d2.semantic.datasets import SemanticSet, load_semantic_set
from unseg_d2.semantic.proposals import cache_proposals
from unseg_d2.semantic.settings import SemanticSettings, ViewSettings

SIDE = 16


class Means:
    """Features: the mean colour of each quarter; counts how many images it saw."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: list[np.ndarray]) -> torch.Tensor:
        self.seen += len(images)
        stacked = torch.stack([torch.from_numpy(np.asarray(image, np.float32)) for image in images])
        return torch.nn.functional.avg_pool2d(stacked.permute(0, 3, 1, 2), SIDE // 2)


@pytest.fixture
def data(tmp_path: Path) -> SemanticSet:
    rng = np.random.default_rng(0)
    for index in range(5):
        save(tmp_path / f"images/{index}.png", rng.integers(0, 256, (SIDE, 20, 3), dtype=np.uint8))
        save(tmp_path / f"labels/{index}.png", rng.integers(0, 3, (SIDE, 20), dtype=np.uint8))
    cfg = load_cfg(None, ["SEMANTIC.NUM_CLASSES", "3"])
    found = load_semantic_set(f"{tmp_path}/images::{tmp_path}/labels", cfg)
    left = np.tile(np.arange(SIDE) < 5, (1, SIDE, 1))
    names = [image.name for image in found.images]
    cache_proposals(tmp_path / "maps", names, lambda i: np.zeros((SIDE, SIDE, 3)), lambda _: left, {})
    return found


def maker(
    data: SemanticSet, cache: FeatureCache, tmp_path: Path, with_truth: bool = False, number: int = 0, flip: float = 0.5
) -> BatchMaker:
    return BatchMaker(
        data,
        choose=lambda t: [t % 5, (t + 1) % 5, (t + 2) % 5],
        generator=lambda t: np.random.default_rng([7, t]),
        cache=cache,
        settings=SemanticSettings(image_size=SIDE, flip=flip),
        views=ViewSettings(number=number),
        seed=0,
        proposals=tmp_path / "maps",
        with_truth=with_truth,
    )


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("with_truth", [False, True])
def test_kept_features_are_those_that_would_be_computed(
    data: SemanticSet, tmp_path: Path, number: int, with_truth: bool
) -> None:
    plain, kept = FeatureCache(Means(), gigabytes=0), FeatureCache(Means(), gigabytes=1)
    options = {"number": number, "with_truth": with_truth}
    for step in [0, 1, 2, 3, 4] * 5:
        pairs = []
        for cache in (plain, kept):
            batch = maker(data, cache, tmp_path, **options)(step % 5)
            pairs.append((cache(batch.clean), cache(batch.student), batch.proposals, batch.truth))
        for one, other in zip(*pairs):
            assert (one is None and other is None) or torch.equal(one, other)
    students = plain.describe.seen // 2
    assert kept.describe.seen < (students if number else students + 11)


def test_a_full_cache_keeps_what_it_has(data: SemanticSet, tmp_path: Path) -> None:
    cache = FeatureCache(Means(), gigabytes=100e-9)  # two views of 3 x 2 x 2 floats
    for step in range(5):
        cache(maker(data, cache, tmp_path)(step).clean)
    assert len(cache.kept) == 2


def test_proposals_and_labels_are_mirrored_with_the_image(data: SemanticSet, tmp_path: Path) -> None:
    batches = {}
    for flip in (0.0, 1.0):
        batches[flip] = maker(data, FeatureCache(Means(), gigabytes=0), tmp_path, flip=flip, with_truth=True)(0)
    straight, mirrored = batches[0.0], batches[1.0]
    for index in range(3):
        np.testing.assert_array_equal(straight.clean[index][1][:, ::-1], mirrored.clean[index][1])
    assert torch.equal(straight.truth.flip(-1), mirrored.truth)
    assert torch.equal(straight.proposals.flip(-1), mirrored.proposals)
    assert straight.proposals[0, 0].tolist() == [1] * 5 + [255] * 11
