"""Images of a data set without their annotations."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from unseg_d2.data.image_list import ImageList
from unseg_d2.data.records import Records

IMAGES: list[dict[str, Any]] = [
    {"file_name": "/photos/caf\u00e9.png", "image_id": 7, "height": 8, "width": 9},
    {"file_name": "/photos/\udcff.png", "image_id": 1 << 40},
    {"file_name": "/photos/\ud800.png", "image_id": -3, "height": 1, "width": 1},
]


@pytest.mark.parametrize("key", [5, 1 << 70, "7", "caf\u00e9"])
def test_images_are_those_of_the_records(key: Any) -> None:
    """Names that are not text, without a size, and ids that are texts or huge; also in another process."""
    images = [*IMAGES, {"file_name": "d.png", "image_id": key}]
    listed = ImageList(image | {"annotations": [{"bbox": [0, 0, 1, 1]}]} for image in images)
    for each in (listed, pickle.loads(pickle.dumps(listed)), ImageList(listed)):
        assert list(each) == each[:] == images and len(each) == 4 and each[-1] == images[3]
        assert each[1:3] == images[1:3] and [type(image["image_id"]) for image in each] == [int, int, int, type(key)]
    with pytest.raises(IndexError):
        listed[4]


def test_categories() -> None:
    categories = [{"id": 3, "name": "cat"}, {"id": 5, "name": "cow"}]
    assert ImageList(Records(IMAGES, categories)).category_ids() == [3, 5]
    assert ImageList(IMAGES).category_ids() == 1 and ImageList([]).categories == [] and list(ImageList([])) == []


def test_many_images_take_few_bytes() -> None:
    """Annotations of 10 kB each are not handed on."""
    records = [{"file_name": f"/photos/{key}.png", "image_id": key, "annotations": ["x" * 10_000]} for key in range(99)]
    assert len(pickle.dumps(ImageList(records))) < 99 * 60
