"""Which masks are in which group, over several parts, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unseg_d2.groups.members import members_of
from unseg_d2.groups.pooled import Part, PooledFolder
from unseg_d2.groups.prototypes import Prototypes


def test_masks_are_counted_over_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unseg_d2.groups.pooled.PART", 2)
    folder = PooledFolder(tmp_path, 3)
    nothing = np.full((1, 1), np.nan, np.float32)
    first = np.concatenate([np.array([[0.0], [1.0]], np.float32), nothing])
    Part(first, [2, 1], np.ones(3, bool), [None, None], {1: "is broken"}).write(folder.path(0))
    Part(np.array([[9.0]], np.float32), [1], np.ones(1, bool), [None], {}).write(folder.path(1))
    prototypes = Prototypes(np.zeros(1), np.eye(1), np.array([[0.0], [4.0]]), np.ones(2))
    found = members_of(folder, prototypes, 2.0)
    assert found.groups.tolist() == [0, 0, -1, -1] and found.confidence == pytest.approx([1, 2 / 3, 0, 0])
    assert (found.far, found.unread) == (1, 1) and found.failures == [(1, "is broken")]
    assert found.images.tolist() == [0, 0, 1, 2] and found.places.tolist() == [0, 1, 0, 0]
    assert found.sizes(2).tolist() == [2, 0] and found.mean_confidence(2)[0] == pytest.approx(5 / 6)
    assert np.isnan(found.mean_confidence(2)[1]) and found.per_image == [2, 1, 1]
