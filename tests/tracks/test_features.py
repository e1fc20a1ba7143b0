"""The features of the masks of a video's frames, by a stand-in network that counts what it sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.data.pictures.reading import DEFAULT_READING
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask
from unseg_d2.structures import PatchFeatures
from unseg_d2.tracks.features import MaskFeatures
from unseg_d2.tracks.settings import TrackSettings
from unseg_d2.tracks.video import track_video

SIZE = (24, 32)
PATCH = 8
LEFTS = ([3, 20], [], [], [5], [7, 18], [], [9])
"""Columns of the squares of each frame."""


class Counting:
    """Tokens are the mean colours of the patches; remembers the grey level that each batch of images begins with."""

    name = "counting"
    patch_size = PATCH
    checksum = "0" * 64

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        self.seen.append([int(image[0, 0, 0]) for image in images])
        return [self._of(image) for image in images]

    def _of(self, image: np.ndarray) -> PatchFeatures:
        rows, columns = (side // PATCH for side in image.shape[:2])
        patches = image.reshape(rows, PATCH, columns, PATCH, 3).mean((1, 3))
        return PatchFeatures(torch.from_numpy(patches).permute(2, 0, 1).float(), PATCH)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Frames that begin with their number as a grey level, and are noise elsewhere."""
    found = []
    for number in range(len(LEFTS)):
        pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        pixels[0, 0] = number
        found.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(found[-1])
    return found


def masks() -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    for lefts in LEFTS:
        found.append([])
        for left in lefts:
            mask = np.zeros(SIZE, bool)
            mask[6:16, left : left + 10] = True
            found[-1].append(encode_mask(mask))
    return found


def features(batch_size: int, backend: Counting | None = None) -> MaskFeatures:
    return MaskFeatures(backend or Counting(), 0, "nearest_multiple", batch_size, DEFAULT_READING)


@pytest.mark.parametrize(("batch_size", "seen"), [(1, [[0], [3], [4], [6]]), (3, [[0, 3, 4], [6]])])
def test_frames_without_masks_do_not_go_through_the_network(
    paths: list[Path], batch_size: int, seen: list[list[int]]
) -> None:
    """The others have what they have when each is described by itself."""
    for number in (1, 2, 5):
        paths[number].unlink()
    backend = Counting()
    found = list(features(batch_size, backend)(paths, masks(), SIZE))
    assert backend.seen == seen
    assert [len(of_frame) for of_frame in found] == [len(lefts) for lefts in LEFTS]
    for path, given, of_frame in zip(paths, masks(), found):
        if given:
            (alone,) = features(1)([path], [given], SIZE)
            assert of_frame.shape == (len(given), 3)
            np.testing.assert_array_equal(of_frame, alone)


def test_tracks_are_those_of_features_of_all_frames(paths: list[Path]) -> None:
    frames = [[{"category_id": 1, "segmentation": rle, "iscrowd": 0} for rle in found] for found in masks()]
    every = [of_frame if len(of_frame) else np.zeros((0, 3)) for of_frame in features(2)(paths, masks(), SIZE)]
    settings = replace(TrackSettings(), appearance=0.5)
    skipped = track_video(frames, range(len(LEFTS)), SIZE, settings, features(2)(paths, masks(), SIZE))
    assert skipped == track_video(frames, range(len(LEFTS)), SIZE, settings, every)
    assert skipped.num_filled > 0


def test_a_frame_with_masks_must_be_there(paths: list[Path]) -> None:
    paths[4].unlink()
    with pytest.raises(UnsegError, match=r"4\.png cannot be used: .*TRACKS\.APPEARANCE 0"):
        list(features(2)(paths, masks(), SIZE))
