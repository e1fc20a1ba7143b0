"""COCO results on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from unseg_d2.data.results import read_result_list, read_results
from unseg_d2.errors import UnsegError


def test_a_list_of_results_is_told_from_a_label_set(tmp_path: Path) -> None:
    results, labels = tmp_path / "results.json", tmp_path / "labels.json"
    results.write_text('\ufeff [{"image_id": 7, "bbox": [1, 2, 3, 4]}]', encoding="utf-8")
    labels.write_text('{"images": [], "annotations": []}')
    assert (
        read_result_list(results) == read_results(results) == [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}]
    )
    assert read_result_list(labels) is None and read_result_list(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ("[1]", "result 1 is 1, but an object"),
        ('[{"id": 1}]', 'result 1 lacks the key "image_id"'),
    ],
)
def test_damaged_lists(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "results.json").write_text(content)
    for read in (read_results, read_result_list):
        with pytest.raises(UnsegError, match=message):
            read(tmp_path / "results.json")
