"""Clips of moving solids: the same ones in every frame, told apart by how far away they are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from unseg_d2.config import get_cfg
from unseg_d2.data.catalog import find_annotations, load_dataset
from unseg_d2.data.synthetic.film import random_clip
from unseg_d2.data.synthetic.film_dataset import ensure_film, synthetic_clip
from unseg_d2.errors import UnsegError
from unseg_d2.rle import decode_mask

SETTINGS = {"one_colour_share": 0.5, "pitch": (14.0, 38.0), "floor_contrast": 0.12, "by_class": False}


def clip(seed: int, num_frames: int = 9):
    rng = np.random.default_rng(seed)
    return random_clip(rng, size=(90, 120), num_frames=num_frames, max_objects=4, **SETTINGS)


@pytest.mark.parametrize("seed", range(4))
def test_a_number_is_one_solid_in_all_frames(seed: int) -> None:
    """Lanes do not touch, and solids have their numbers from the farthest to the nearest: depth tells who is who."""
    frames = clip(seed)
    count = len(frames[0].shapes)
    nearest = []
    for number in range(1, count + 1):
        seen = [frame.depth[frame.instances == number] for frame in frames]
        depth = np.concatenate(seen)
        assert len(depth), "a solid that is never seen"
        nearest.append(depth.min())
        assert {frame.shapes for frame in frames} == {frames[0].shapes}
    assert nearest == sorted(nearest, reverse=True)


@pytest.mark.parametrize("seed", range(4))
def test_one_solid_leaves_the_picture_and_comes_back(seed: int) -> None:
    frames = clip(seed)
    seen = [{*np.unique(frame.instances).tolist()} - {0} for frame in frames]
    back = [number for number in seen[0] & seen[-1] if any(number not in middle for middle in seen[1:-1])]
    assert back


def test_solids_move_and_hide_each_other() -> None:
    frames = clip(2, num_frames=16)
    areas = np.stack([np.bincount(frame.instances.ravel(), minlength=10) for frame in frames])
    assert (np.diff(areas, axis=0) != 0).any(axis=0)[1 : len(frames[0].shapes) + 1].all()
    assert not np.array_equal(frames[0].instances, frames[-1].instances)


def test_the_same_seed_gives_the_same_clip_and_noise_differs_between_frames() -> None:
    first, again = clip(1, 3), clip(1, 3)
    for one, other in zip(first, again):
        np.testing.assert_array_equal(one.image, other.image)
    sky = np.isinf(first[0].depth) & np.isinf(first[1].depth)
    if sky.any():
        assert not np.array_equal(first[0].image[sky], first[1].image[sky])
    with pytest.raises(ValueError, match="num_frames"):
        clip(1, 1)


def config(root: Path):
    cfg = get_cfg()
    cfg.SYNTHETIC.ROOT, cfg.SYNTHETIC.SIZE = str(root), (64, 96)
    cfg.SYNTHETIC.FILM.NUM_CLIPS, cfg.SYNTHETIC.FILM.NUM_FRAMES = 2, 5
    return cfg


def test_files_hold_the_clips_with_their_tracks(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    images, path = ensure_film(cfg)
    content = json.loads(path.read_text())
    assert [video["length"] for video in content["videos"]] == [5, 5] and len(content["images"]) == 10
    for image in content["images"]:
        scene = synthetic_clip(cfg, image["video_id"] - 1)[image["frame_id"]]
        np.testing.assert_array_equal(cv2.imread(str(images / image["file_name"]))[..., ::-1], scene.image)
        found = [item for item in content["annotations"] if item["image_id"] == image["id"]]
        assert {item["track_id"] for item in found} == {*np.unique(scene.instances).tolist()} - {0}
        for item in found:
            mask = decode_mask(item["segmentation"], 64, 96)
            np.testing.assert_array_equal(mask, scene.instances == item["track_id"])
            assert content["categories"][item["category_id"] - 1]["name"] == scene.shapes[item["track_id"] - 1]
            assert item["video_id"] == image["video_id"]
    assert len({item["id"] for item in content["annotations"]}) == len(content["annotations"])
    assert find_annotations("synthetic_film", cfg) == path
    assert len(load_dataset("synthetic_film", cfg)) == 10


def test_impossible_settings_name_their_key(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    cfg.SYNTHETIC.FILM.NUM_FRAMES = 1
    with pytest.raises(UnsegError, match=r"SYNTHETIC.FILM do not work: num_frames must be"):
        ensure_film(cfg)
