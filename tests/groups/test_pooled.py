"""The parts of pooled features on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unseg_d2.content import Content
from unseg_d2.errors import UnsegError
from unseg_d2.groups.pooled import Part


def test_a_part_is_read_as_it_was_written_however_its_numbers_lie_in_memory(tmp_path: Path) -> None:
    features = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    part = Part(features, [1, 0, 1], np.array([True, False]), [Content(3, "ab"), None, Content(4, "cd")], {2: "why"})
    part.write(tmp_path / "a.safetensors")
    found = Part.read(tmp_path / "a.safetensors")
    assert np.array_equal(found.features, features) and found.objects.tolist() == [True, False]
    assert (found.counts, found.images, found.failures) == (part.counts, part.images, part.failures)


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    Part(np.zeros((2, 3), np.float32), [3], np.ones(2, bool), [None], {}).write(path)
    with pytest.raises(UnsegError, match="its numbers do not fit together"):
        Part.read(path)
    path.write_bytes(b"")
    with pytest.raises(UnsegError, match="is damaged"):
        Part.read(path)
