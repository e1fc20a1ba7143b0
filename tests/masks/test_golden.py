"""MaskCut and TokenCut against outputs of the published code (see the README of the golden data for the rules)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unseg_d2.graph import binary_affinity_by_precision
from unseg_d2.masks.maskcut.parity import ParityStep, parity_steps
from unseg_d2.masks.tokencut import salient_cuts, tokencut
from unseg_d2.pseudo.geometry import network_input

SETTINGS = {"tau": 0.15, "eps": 1e-5, "num_masks": 3, "max_overlap": 0.5, "min_area": 0.01}


@pytest.fixture(scope="module")
def tokens(golden: Path) -> torch.Tensor:
    return torch.from_numpy(np.load(golden / "features.npz")["features"].astype(np.float32))


@pytest.fixture(scope="module")
def published(golden: Path) -> dict[str, np.ndarray]:
    return dict(np.load(golden / "maskcut.npz"))


@pytest.fixture(scope="module")
def steps(tokens: torch.Tensor, image: int) -> list[ParityStep]:
    return parity_steps(tokens[[image]], **SETTINGS)[0]


def unpack(bits: np.ndarray, side: int) -> np.ndarray:
    return np.unpackbits(bits, axis=-1)[..., : side * side].reshape(*bits.shape[:-1], side, side).astype(bool)


def expected(published: dict[str, np.ndarray], image: int) -> dict[str, np.ndarray]:
    """The published run of one image whose eigenvectors have a positive peak, as ours have."""
    rows, prefix = published["pos_image_index"].tolist(), "pos_"
    if image not in rows:
        rows, prefix = published["raw_image_index"].tolist(), "raw_"
    row = rows.index(image)
    return {key[4:]: value[row] for key, value in published.items() if key.startswith(prefix) and "final" not in key}


def degrees(tokens: torch.Tensor, painted: np.ndarray, iteration: int) -> np.ndarray:
    single, double = binary_affinity_by_precision(tokens[None].flatten(2), SETTINGS["tau"], SETTINGS["eps"])
    affinity = double if iteration else single
    return affinity.isolate(torch.from_numpy(painted).flatten()[None]).degrees()[0].numpy()


class TestMaskCut:
    def test_eigenvectors(self, image, tokens, published, steps):
        reference = expected(published, image)
        painted = np.zeros((60, 60), dtype=bool)
        for iteration, step in enumerate(steps):
            d = degrees(tokens[image], painted, iteration)
            ours, theirs = step.eigenvector.ravel(), reference["eigvec"][iteration]
            cosine = (ours * d) @ theirs / np.sqrt((ours * d) @ ours * ((theirs * d) @ theirs))
            assert abs(cosine) >= 1 - 1e-8, f"iteration {iteration}"
            painted |= step.mask

    def test_bipartition_and_seed(self, image, published, steps):
        reference = expected(published, image)
        sides = unpack(reference["bipartition60"], 60)
        for iteration, step in enumerate(steps):
            x = step.eigenvector
            decided = np.abs(x - x.mean()) >= 1e-6 * np.ptp(x)
            np.testing.assert_array_equal(step.side[decided], sides[iteration][decided])
            if reference["seed_tie_count"][iteration] == 1:
                assert step.seed == reference["seed"][iteration]

    def test_masks(self, image, published, steps):
        reference = expected(published, image)
        for name, size in (("component60", 60), ("mask60", 60)):
            theirs = unpack(reference[name], size)
            for iteration, step in enumerate(steps):
                ours = getattr(step, name.removesuffix("60"))
                np.testing.assert_array_equal(ours, theirs[iteration], err_msg=f"{name}, iteration {iteration}")

    def test_disjoint_outputs(self, image, published, steps):
        theirs = unpack(expected(published, image)["out480"], 480)
        ours = np.stack([step.output for step in steps]).repeat(8, axis=1).repeat(8, axis=2)
        np.testing.assert_array_equal(ours, theirs)


def test_tokencut(golden, tokens):
    """Nothing in TokenCut depends on the sign of the eigenvector."""
    reference = np.load(golden / "tokencut.npz")
    sides, components = (unpack(reference[key], 60) for key in ("bipartition60", "component60"))
    seen = network_input(np.zeros((480, 480, 3), np.uint8), 8, "square", 480)
    for i, image in enumerate(tokens):
        (cut,) = salient_cuts(image[None])
        affinity, _ = binary_affinity_by_precision(image[None].flatten(2), tau=0.2, eps=1e-5)
        ours, theirs, d = cut.eigenvector.ravel(), reference["eigvec_raw"][i], affinity.degrees()[0].numpy()
        assert abs(ours @ (d * theirs)) / np.sqrt(theirs @ (d * theirs)) >= 1 - 1e-8
        np.testing.assert_array_equal(cut.side, sides[i])
        if reference["seed_tie_count"][i] == 1:
            assert cut.seed == reference["seed"][i]
        (proposals,) = tokencut(image[None])
        assert len(proposals) == 1
        np.testing.assert_array_equal(cut.mask, components[i])
        np.testing.assert_array_equal(proposals.masks[0].numpy(), components[i])
        np.testing.assert_array_equal(seen.boxes(proposals.masks.numpy())[0], reference["box_xyxy"][i])
