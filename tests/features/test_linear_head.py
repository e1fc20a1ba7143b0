"""A linear head on features, and the foreground that it gives to generators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features import build_features
from unseg_d2.features.linear_head import with_foreground
from unseg_d2.masks import build_generator
from unseg_d2.masks.registry import idle_prior
from unseg_d2.pseudo.pipeline import build_pipeline

SMALL = ["FEATURES.NAME", "descriptors", "FEATURES.IMAGE_SIZE", "128", "REFINE.NAME", "none"]


def picture() -> np.ndarray:
    """A red and a blue square on grey."""
    image = np.full((128, 128, 3), 110, np.uint8)
    image[16:48, 16:56], image[72:112, 64:112] = (220, 40, 40), (40, 40, 220)
    return image


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A layer that tells both squares from the background, by least squares on the picture itself."""
    (image,) = build_features(load_cfg(None, SMALL))([picture()])
    cells = picture().reshape(image.grid[0], 128 // image.grid[0], image.grid[1], 128 // image.grid[1], 3)
    objects = torch.from_numpy(np.ptp(cells.mean((1, 3)), axis=2) > 60).flatten().double()
    tokens = torch.cat([image.tokens.flatten(1).T, torch.ones(len(objects), 1)], 1).double()
    weight = torch.linalg.lstsq(tokens, 20 * (objects - 0.5)[:, None], driver="gelsd").solution[:, 0].float()
    stored = {"decoder": {"weight": weight[:-1].view(1, -1, 1, 1), "bias": weight[-1:]}}
    torch.save(stored, tmp_path / "head.pt")
    return tmp_path / "head.pt"


def options(head: Path, *more: str) -> list[str]:
    return [*SMALL, "MASKS.PRIOR.SOURCE", "head", "MASKS.PRIOR.HEAD", str(head), *more]


def test_features_have_a_foreground_by_hand(head: Path) -> None:
    backend = build_features(load_cfg(None, SMALL))
    both = with_foreground(backend, str(head))
    (plain,), (image,) = backend([picture()]), both([picture()])
    stored = torch.load(head)["decoder"]
    logits = torch.einsum("c,chw->hw", stored["weight"].flatten(), plain.tokens) + stored["bias"]
    torch.testing.assert_close(image.foreground, 1 / (1 + torch.exp(-logits)))
    assert torch.equal(image.tokens, plain.tokens) and plain.foreground is None
    assert both.checksum != backend.checksum and both.patch_size == backend.patch_size
    assert both.name == f"{backend.name}, foreground of {head}"


def test_the_number_of_masks_follows_the_head(head: Path) -> None:
    counted = build_pipeline(load_cfg(None, [*SMALL, "MASKS.MASKCUT.NUM_MASKS", "6"]))([picture()])[0]
    guided = build_pipeline(load_cfg(None, options(head, "MASKS.STOP", "prior", "MASKS.MASKCUT.NUM_MASKS", "6")))
    assert len(guided([picture()])[0]) == 2 <= len(counted)
    side = ["MASKS.GENERATOR", "tokencut", "MASKS.TOKENCUT.SIDE", "union"]
    (mask,) = build_pipeline(load_cfg(None, options(head, *side)))([picture()])[0]
    assert mask.mask[16:48, 16:56].mean() > 0.9 or mask.mask[72:112, 64:112].mean() > 0.9


def test_the_checksum_is_that_of_the_head(head: Path) -> None:
    first = build_pipeline(load_cfg(None, options(head, "MASKS.STOP", "prior"))).features
    stored = torch.load(head)
    stored["decoder"]["bias"] += 1
    torch.save(stored, head)
    second = build_pipeline(load_cfg(None, options(head, "MASKS.STOP", "prior"))).features
    assert first.name == second.name and first.checksum != second.checksum


def test_features_without_a_head_are_named(head: Path) -> None:
    for more in (["MASKS.STOP", "prior"], ["MASKS.GENERATOR", "tokencut", "MASKS.TOKENCUT.SIDE", "union"]):
        cfg = load_cfg(None, options(head, *more))
        with pytest.raises(ValueError, match="no foreground of a head"):
            build_generator(cfg)(build_features(cfg)([picture()]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MASKS.PRIOR.SOURCE", "head"], r"SOURCE head needs MASKS\.PRIOR\.HEAD"),
        (["MASKS.PRIOR.HEAD", "zoo:found"], r"HEAD has no effect with MASKS\.PRIOR\.SOURCE unioncut"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        load_cfg(None, words)


def test_settings_of_unioncut_have_no_effect_beside_a_head(head: Path) -> None:
    cfg = load_cfg(None, options(head, "MASKS.STOP", "prior", "MASKS.PRIOR.UNIONCUT.GRID", "20"))
    (sentence,) = idle_prior(cfg)
    assert sentence.startswith("MASKS.PRIOR.UNIONCUT.GRID is 20, which has no effect with MASKS.PRIOR.SOURCE head")


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    backend = build_features(load_cfg(None, SMALL))
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(UnsegError, match=r"is no linear head; name that of FOUND or UnionSeg"):
        with_foreground(backend, str(tmp_path / "other.pt"))
    torch.save({"decoder": {"weight": torch.zeros(1, 384, 1, 1), "bias": torch.zeros(1)}}, tmp_path / "wide.pt")
    with pytest.raises(UnsegError, match="needs features of 384 channels"):
        with_foreground(backend, str(tmp_path / "wide.pt"))
    with pytest.raises(UnsegError, match="zoo:cuts3d is not"):
        with_foreground(backend, "zoo:cuts3d")
