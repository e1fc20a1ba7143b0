"""ProMerge against outputs of the published code (see the README of the golden data for the rules)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unseg_d2.masks.promerge.promerge import ProMergeSettings, promerge, promerge_steps

SETTINGS = {"promerge": {}, "promerge_alt": {"tau": 0.45, "min_similarity": 0.45, "max_likeness": 0.2}}


@pytest.fixture(scope="module")
def tokens(golden: Path) -> torch.Tensor:
    return torch.from_numpy(np.load(golden / "features.npz")["features"].astype(np.float32))


def unpack(bits: np.ndarray) -> np.ndarray:
    return np.unpackbits(bits, axis=-1)[..., :3600].reshape(*bits.shape[:-1], 60, 60).astype(bool)


def multiset(masks: np.ndarray) -> list[bytes]:
    return sorted(np.packbits(mask).tobytes() for mask in masks)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_step(name, image, golden, tokens):
    published = np.load(golden / f"{name}.npz")
    settings = {"mode": "parity", **SETTINGS[name]}
    (steps,) = promerge_steps(tokens[[image]], ProMergeSettings(**settings))
    assert steps.num_votes == published["n_bg_votes"][image]
    assert len(steps.proposals) == published["n_fg"][image]
    assert len(set(multiset(steps.proposals))) == published["n_distinct_fg"][image]
    np.testing.assert_array_equal(steps.background, unpack(published["background60"])[image])
    for step in ("accepted", "merged"):
        theirs = unpack(published[f"{step}60"][published[f"{step}_image_index"] == image])
        assert multiset(getattr(steps, step)) == multiset(theirs), step
    (proposals,) = promerge(tokens[[image]], ProMergeSettings(**settings))
    assert multiset(proposals.masks.numpy()) == multiset(steps.merged)
