"""A minimal feature backend, generator and refiner that worker processes can import."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from unseg_d2.depth import GridDepth, build_depth
from unseg_d2.errors import Unusable
from unseg_d2.pseudo.pipeline import MaskPipeline
from unseg_d2.pseudo.post_process import PostProcess
from unseg_d2.refine import RefineSettings
from unseg_d2.structures import PatchFeatures, Proposals

PATCH = 8


class MeanColour:
    """Tokens are the mean colours of the patches."""

    name = "mean_colour"
    patch_size = PATCH
    checksum = "0" * 64

    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        return [self.describe(image) for image in images]

    def describe(self, image: np.ndarray) -> PatchFeatures:
        side = len(image) // PATCH
        patches = image.reshape(side, PATCH, side, PATCH, 3).mean((1, 3))
        return PatchFeatures(torch.from_numpy(patches).permute(2, 0, 1).float(), PATCH)


class BrightRed:
    """One proposal: the patches whose red is above 128, with a spatial confidence."""

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        return [self.propose(one) for one in features]

    def propose(self, features: PatchFeatures) -> Proposals:
        red, _, blue = features.tokens
        if (blue > 250).all():
            raise Unusable("too blue to segment")
        mask = red > 128
        if not mask.any():
            return Proposals.empty(features.grid)
        return Proposals(mask[None], torch.tensor([0.75]), (red / 255)[None])


def keep(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the masks unchanged."""
    return masks


def pipeline_of(
    features, generator, refiner=keep, side=64, *, resize="square", mode="default", cap=0, depth=None, **refine
) -> MaskPipeline:
    """A pipeline whose refinement has the settings ``refine``."""
    post_process = PostProcess(refiner, RefineSettings(**refine), mode)
    return MaskPipeline(features, generator, post_process, side, resize, cap, depth)


def fake_pipeline(cfg) -> MaskPipeline:
    return pipeline_of(MeanColour(), BrightRed(), side=cfg.FEATURES.IMAGE_SIZE, mode=cfg.MASKS.MODE)


class Near:
    """One proposal: the patches that are nearer than 5."""

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        return [Proposals((one.depth.depth < 5)[None], torch.ones(1)) for one in features]


def deep_pipeline(cfg) -> MaskPipeline:
    """Masks of depth files."""
    return pipeline_of(MeanColour(), Near(), side=cfg.FEATURES.IMAGE_SIZE, depth=GridDepth(build_depth(cfg)))


def slow(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the masks unchanged, slowly."""
    time.sleep(0.05)
    return masks


def slow_pipeline(cfg) -> MaskPipeline:
    return pipeline_of(MeanColour(), BrightRed(), slow, cfg.FEATURES.IMAGE_SIZE)


def killed_pipeline(cfg) -> MaskPipeline:
    """The process that uses it is killed before its first image, as if out of memory."""
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), 9)
    return fake_pipeline(cfg)


def killed_by_white_pipeline(cfg) -> MaskPipeline:
    """A process that uses it is killed by an image with a white corner: every time, or once if a folder is named."""
    return pipeline_of(MeanColour(), BrightRed(), _killed_by_white, cfg.FEATURES.IMAGE_SIZE)


def _killed_by_white(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    if (image[0, 0] == 255).all():
        once = os.environ.get("KILLED_ONCE_IN")
        if once is None or not Path(once, "killed").exists():
            if once:
                Path(once, "killed").touch()
            os.kill(os.getpid(), 9)
    return masks


def picture(seed: int, height: int = 40, width: int = 60) -> Image.Image:
    """A red rectangle on a dark background."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (height, width, 3), np.uint8)
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    pixels[top : top + height // 2, left : left + width // 2] = (230, 20, 20)
    return Image.fromarray(pixels)


def save_pictures(folder: Path, count: int) -> Path:
    """Fill a folder, and a sub-folder with the same names."""
    for index in range(count):
        path = folder / ("more" if index % 2 else "") / f"{index // 2:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(index).save(path)
    return folder
