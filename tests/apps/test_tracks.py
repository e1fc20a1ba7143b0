"""Identities of objects whose paths are known: boxes that move, hide, weaken and flash up."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest

from unseg_d2.apps.tracks import Tracks
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.errors import UnsegError

Boxes = dict[str, tuple[list[float], float]]


def follow(frames: list[Boxes], rate: Fraction = Fraction(10)) -> list[dict[str, int]]:
    """Return the identity of each named box in each frame; boxes that were left out are missing."""
    pytest.importorskip("trackers", reason="trackers is not installed")
    tracks, found = Tracks(rate, 0.5), []
    for number, boxes in enumerate(frames):
        corners = np.array([box for box, _ in boxes.values()], np.float32).reshape(-1, 4)
        scores = np.array([score for _, score in boxes.values()], np.float32)
        prediction = Prediction({}, (400, 600), corners, scores, classes=np.arange(len(scores)))
        tracked = tracks(prediction, number / rate)
        assert len(tracked.tracks) == len(tracked) and tracked.boxes.tolist() == corners[tracked.classes].tolist()
        found.append({list(boxes)[place]: track for place, track in zip(tracked.classes, tracked.tracks.tolist())})
    return found


def a(k: int) -> list[float]:
    return [10 + 5 * k, 20, 50 + 5 * k, 60]


def b(k: int) -> list[float]:
    return [300 - 5 * k, 100, 340 - 5 * k, 160]


def test_two_objects_that_cross_keep_their_numbers_from_their_first_frame() -> None:
    """Side by side they would be confused by the nearest box alone: their paths cross at k = 29."""
    frames: list[Boxes] = [{"a": (a(k), 0.9), "b": ([300 - 5 * k, 45, 340 - 5 * k, 85], 0.8)} for k in range(50)]
    assert follow(frames) == [{"a": 1, "b": 2}] * 50


def test_an_object_that_hides_for_half_a_second_comes_back() -> None:
    frames: list[Boxes] = [{"a": (a(k), 0.9)} if k not in range(10, 15) else {} for k in range(30)]
    assert follow(frames) == [{"a": 1} if k not in range(10, 15) else {} for k in range(30)]


def test_one_that_is_away_for_long_is_another() -> None:
    frames: list[Boxes] = [{"a": (a(0), 0.9)} if k not in range(10, 25) else {} for k in range(30)]
    assert follow(frames)[9] == {"a": 1} and follow(frames)[25:] == [{"a": 2}] * 5


def test_a_second_frame_may_be_missing() -> None:
    frames: list[Boxes] = [{"a": (a(0), 0.9)}, {}, {"a": (a(0), 0.9)}, {"a": (a(0), 0.9)}]
    assert follow(frames) == [{"a": 1}, {}, {"a": 1}, {"a": 1}]


def test_weak_detections_continue_an_object_and_begin_none() -> None:
    frames: list[Boxes] = [{"a": (a(k), 0.9 if k % 3 == 0 else 0.2), "weak": (b(k), 0.3)} for k in range(20)]
    assert follow(frames) == [{"a": 1}] * 20


def test_what_flashes_up_once_has_a_number_of_its_own() -> None:
    frames: list[Boxes] = [{"a": (a(k), 0.9)} | ({"flash": (b(k), 0.6)} if k in (0, 5) else {}) for k in range(10)]
    found = follow(frames)
    assert found[0] == {"a": 1, "flash": 2} and found[5] == {"a": 1, "flash": 3}


def test_numbers_of_a_frame_differ() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 200, (30, 12, 2))
    frames: list[Boxes] = [
        {str(k): ([*place, *(place + 40)], score) for k, (place, score) in enumerate(zip(of, rng.uniform(0.1, 1, 12)))}
        for of in corners
    ]
    for of_frame in follow(frames):
        assert len(set(of_frame.values())) == len(of_frame)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(UnsegError, match=r"'trackers' is not installed.*--no-deps"):
        Tracks(Fraction(10), 0.5)
