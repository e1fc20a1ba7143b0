"""A whole video: tracks, gaps and key masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.rle import decode_mask, encode_mask
from unseg_d2.tracks.settings import TrackSettings
from unseg_d2.tracks.video import track_video

SIZE = (40, 60)
SETTINGS = TrackSettings(appearance=0.0, keys=1)


def square(left: int, top: int = 12, side: int = 9, **more: Any) -> dict[str, Any]:
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return {"category_id": 1, "segmentation": encode_mask(mask), "iscrowd": 0, **more}


def test_a_gap_is_filled_and_said_so() -> None:
    frames = [[square(5 + 2 * t, score=0.9 - t / 10)] if t != 2 else [] for t in range(5)]
    found = track_video(frames, range(5), SIZE, SETTINGS)
    assert (found.num_tracks, found.num_filled, found.num_keys, found.left_out) == (1, 1, 1, 0)
    (filled,) = found.frames[2]
    assert filled["filled"] and filled["track_id"] == 1 and filled["score"] == pytest.approx(0.6)
    np.testing.assert_array_equal(
        decode_mask(filled["segmentation"], *SIZE), decode_mask(square(9)["segmentation"], *SIZE)
    )
    assert filled["bbox"] == [9, 12, 9, 9] and filled["area"] == 81
    assert [item.get("key", False) for of_frame in found.frames for item in of_frame] == [True, *[False] * 4]
    assert all("track_id" not in item for of_frame in frames for item in of_frame)  # they are as they were


def test_what_is_not_filled() -> None:
    frames = [[square(5)], [], [], [square(5)]]
    assert track_video(frames, range(4), SIZE, SETTINGS).num_filled == 2
    assert track_video(frames, range(4), SIZE, replace(SETTINGS, max_filled=1)).num_filled == 0
    assert track_video(frames, [0, 1, 5, 6], SIZE, SETTINGS).num_filled == 2  # of a gap of 5, in the frames that exist
    assert track_video(frames, [0, 1, 6, 7], SIZE, SETTINGS).num_filled == 0
    hiding = [[square(5)], [square(4, 11, 11)], [square(5)]]  # what is in front is another object
    apart = replace(SETTINGS, min_similarity=0.95)
    assert track_video(hiding, range(3), SIZE, apart).num_filled == 0


@pytest.mark.parametrize("lost", ["part", "whole"])
def test_a_mask_is_not_hidden_by_what_contains_it_or_is_its_part(lost: str) -> None:
    """A part within a whole; in the second of three frames one of them is not found, and is filled as it was."""
    whole = square(20, 5, 30, node=7, level=1, granularity=1.0)
    part = square(25, 10, 6, node=3, level=0, granularity=0.2, parent=7)
    middle = [part] if lost == "whole" else [whole]
    found = track_video([[part, whole], middle, [part, whole]], range(3), SIZE, SETTINGS)
    assert (found.num_tracks, found.num_filled) == (2, 1)
    filled, expected = found.frames[1][-1], whole if lost == "whole" else part
    assert filled["segmentation"] == expected["segmentation"] and filled["granularity"] == expected["granularity"]
    assert not {"node", "parent", "level"} & filled.keys()
    apart = [[{key: value for key, value in item.items() if key != "parent"} for item in f] for f in found.frames]
    apart[1].pop()
    other = track_video(apart, range(3), SIZE, SETTINGS)
    assert other.num_filled == (lost == "whole")  # objects that have nothing to do with each other do hide each other
    assert lost == "part" or other.frames[1][-1]["area"] == 900 - 36


def test_short_tracks_are_left_out_and_counted() -> None:
    frames = [[square(5), square(40)], [square(6)], [square(7)]]
    found = track_video(frames, range(3), SIZE, replace(SETTINGS, min_length=2))
    assert (found.num_tracks, found.left_out) == (1, 1)
    assert [len(of_frame) for of_frame in found.frames] == [1, 1, 1]


def test_earlier_tracks_are_replaced_and_everything_else_stays() -> None:
    frames = [[square(5, track_id=9, key=True, corrected=True, confidence={"data": "x"})], [square(6, filled=True)]]
    (first,), (second,) = track_video(frames, range(2), SIZE, replace(SETTINGS, keys=0)).frames
    assert first["track_id"] == second["track_id"] == 1
    assert "key" not in first and "filled" not in second
    assert first["corrected"] and first["confidence"] == {"data": "x"}


def test_features_go_frame_by_frame_with_the_masks() -> None:
    red, blue = np.eye(2, dtype=np.float32)
    frames = [[square(5), square(20)], [square(12), square(12, 13)], [square(20), square(5)]]
    features = [np.stack([red, blue]), np.stack([red, blue]), np.stack([red, blue])]
    found = track_video(frames, range(3), SIZE, TrackSettings(appearance=0.9), features)
    assert [[item["track_id"] for item in of_frame] for of_frame in found.frames] == [[1, 2]] * 3


def test_masks_that_cannot_be_used() -> None:
    with pytest.raises(UnsegError, match="size"):
        track_video([[square(5)]], [0], (39, 60), SETTINGS)
    with pytest.raises(ValueError, match="empty"):
        track_video([[square(5, side=0)]], [0], SIZE, SETTINGS)
