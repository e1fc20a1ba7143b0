"""The image that objects are pasted from is another one of the same orientation."""

from __future__ import annotations

from typing import Any

import numpy as np

from unseg_d2.config import load_cfg
from unseg_d2.data.paste_source import PasteSources, orientation_groups
from unseg_d2.data.transport import PackedRecords


def record(number: int, width: int = 40) -> dict[str, Any]:
    return {"file_name": f"{number}.png", "image_id": number, "height": 30, "width": width}


def drawn(records: list[dict[str, Any]], target: dict[str, Any], *options: str) -> list[int]:
    sources = PasteSources(PackedRecords(records), orientation_groups(records, load_cfg(None, options)))
    rng = np.random.default_rng(0)
    return [sources.draw(target, rng)["image_id"] for _ in range(60)]


def test_another_image_of_the_same_orientation() -> None:
    records = [record(0), record(1, width=20), record(2), record(3, width=20), record(4)]
    assert set(drawn(records, records[0])) == {2, 4}
    assert set(drawn(records, records[3])) == {1}


def test_any_orientation_without_groups() -> None:
    records = [record(0), record(1, width=20), record(2)]
    assert set(drawn(records, records[0], "DATALOADER.ASPECT_RATIO_GROUPING", "False")) == {1, 2}


def test_the_image_itself_where_it_is_alone_even_if_listed_twice() -> None:
    assert set(drawn([record(0)], record(0))) == {0}
    assert set(drawn([record(0), record(0), record(1, width=20)], record(0))) == {0}
