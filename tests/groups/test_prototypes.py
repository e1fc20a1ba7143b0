"""Nearest prototypes, confidence and reach, by hand; the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.groups.prototypes import NONE, Prototypes

LINE = Prototypes(np.array([1.0, 0.0]), np.array([[1.0, 0.0]]), np.array([[0.0], [4.0], [10.0]]), np.array([1.0, 1, 2]))
"""The first coordinate less 1 counts; prototypes are at 0, 4 and 10."""


def points(*values: float) -> np.ndarray:
    return np.array([[value + 1, 99.0] for value in values], np.float32)


def test_the_confidence_is_the_margin_to_the_second_prototype() -> None:
    found = LINE.assign(points(0, 1, 2, 9))
    assert found.groups.tolist() == [0, 0, 0, 2]
    assert found.confidence == pytest.approx([1, 1 - 1 / 3, 0, 1 - 1 / 5])


def test_what_is_beyond_the_reach_of_its_group_is_in_none() -> None:
    """2.4 is 1.6 from the prototype at 4, whose spread is 1; 13 is 3 from the one at 10, whose spread is 2."""
    found = LINE.assign(points(1.4, 2.4, 13, 13.1), reach=1.5)
    assert found.groups.tolist() == [0, NONE, 2, NONE]
    assert found.confidence[[1, 3]].tolist() == [0, 0]
    assert LINE.assign(points(2.4)).groups.tolist() == [1]


def test_masks_without_features_have_no_group() -> None:
    found = LINE.assign(np.array([[np.nan, np.nan], [1, 0]], np.float32))
    assert found.groups.tolist() == [NONE, 0] and found.confidence.tolist() == [0, 1]
    assert LINE.assign(np.zeros((2, 0), np.float32)).groups.tolist() == [NONE, NONE]


def test_a_single_group_is_certain() -> None:
    one = Prototypes(np.zeros(1), np.eye(1), np.array([[3.0]]), np.ones(1))
    found = one.assign(np.array([[7.0]], np.float32))
    assert found.groups.tolist() == [0] and found.confidence.tolist() == [1]


def test_prototypes_are_read_as_they_were_written(tmp_path: Path) -> None:
    LINE.write(tmp_path / "a.safetensors", {"features": {"checksum": "x"}})
    found, about = Prototypes.read(tmp_path / "a.safetensors")
    assert found.fingerprint == LINE.fingerprint and about == {"features": {"checksum": "x"}}
    other = Prototypes(LINE.mean, LINE.components, LINE.centres + 1e-9, LINE.spread)
    assert other.fingerprint != LINE.fingerprint


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(UnsegError, match="There is no file"):
        Prototypes.read(path)
    LINE.write(path, {})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UnsegError, match="is damaged"):
        Prototypes.read(path)


def test_equal_masks_are_within_the_reach_of_a_group_of_equal_masks() -> None:
    """Their spread is 0, and features differ in their last digits from run to run."""
    same = Prototypes(np.zeros(2), np.eye(2), np.array([[0.6, 0.8]]), np.zeros(1))
    found = same.assign(np.array([[0.6 + 1e-7, 0.8 - 1e-7], [0.61, 0.79]], np.float32), reach=1.5)
    assert found.groups.tolist() == [0, NONE]
