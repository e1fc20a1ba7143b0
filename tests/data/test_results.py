"""COCO results on disk."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from unseg_d2.data import results as results_module
from unseg_d2.data.annotations.entries import EntryReader
from unseg_d2.data.results import ResultsIndex, read_result_list, read_results
from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json
from unseg_d2.rle import encode_mask


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


def listed(seed: int = 0) -> list[dict[str, Any]]:
    """Results in no order of images, with ids of two kinds, scores, boxes alone, masks alone and polygons."""
    rng = np.random.default_rng(seed)
    results: list[dict[str, Any]] = []
    for _ in range(60):
        mask = np.zeros((6, 8), bool)
        mask[1 : rng.integers(2, 6), 2 : rng.integers(3, 8)] = True
        entry = {"image_id": [7, 3, "a", "7", 12][rng.integers(5)], "score": round(float(rng.random()), 2)}
        kind = rng.integers(4)
        entry |= {} if kind == 1 else {"bbox": [0.5, 1.0, 2.0, 3.0]}
        entry |= {"segmentation": encode_mask(mask)} if kind in (1, 2) else {}
        entry |= {"segmentation": [[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]]} if kind == 3 else {}
        results.append(entry)
    return results


def expected(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same, completed in plain steps."""
    complete = []
    for entry in results:
        box = entry.get("bbox") or mask_utils.toBbox(entry["segmentation"]).tolist()
        complete.append({"category_id": 1, "bbox": box, **entry})
    return complete


LAYOUTS = {
    "one line": json.dumps,
    "a line each": lambda results: "[\n" + ",\n".join(map(json.dumps, results)) + "\n]\n",
    "indented": lambda results: json.dumps(results, indent=1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunk", [64, 1 << 20])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_results_by_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, chunk: int, encoding: str
) -> None:
    """Whatever the layout of the file and the parts in which it is read; UTF-16 is read as a whole."""
    monkeypatch.setattr(results_module, "EntryReader", functools.partial(EntryReader, chunk=chunk))
    path, results = tmp_path / "results.json", listed()
    path.write_text(LAYOUTS[layout](results), encoding=encoding)
    index, wanted = ResultsIndex(path), expected(results)
    assert list(index) == read_results(path) == wanted and len(index) == 60 and index.has_masks
    assert index.image_ids == list(dict.fromkeys(entry["image_id"] for entry in results))
    for key in reversed(index.image_ids):
        assert index.of_image(key) == [entry for entry in wanted if entry["image_id"] == key]
    assert index.of_image(7, "7") == [entry for entry in wanted if str(entry["image_id"]) == "7"]
    assert index.of_image("b") == [] and index.of_image() == []
    best = ResultsIndex(path, min_score=0.8)
    kept = [entry for entry in wanted if entry["score"] >= 0.8]
    assert list(best) == kept and len(best) == len(kept)
    assert best.image_ids[: len({entry["image_id"] for entry in kept})] == list(
        dict.fromkeys(entry["image_id"] for entry in kept)
    )
    assert set(best.image_ids) == set(index.image_ids)


def test_an_index_keeps_the_file_that_it_has_read(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, listed())
    index = ResultsIndex(path)
    write_json(path, [])
    assert list(index) == expected(listed()) and list(ResultsIndex(path)) == [] and not ResultsIndex(path).has_masks


def test_a_damaged_mask_is_named_when_it_is_used(tmp_path: Path) -> None:
    """The third result: the second of its image."""
    path, mask = tmp_path / "results.json", encode_mask(np.ones((4, 4), bool))
    entries = [{"image_id": key, "bbox": [0, 0, 4, 4], "segmentation": dict(mask), "score": 1} for key in (1, 2, 2)]
    entries[2]["segmentation"]["size"] = [4, 5]
    path.write_text(json.dumps(entries))
    index = ResultsIndex(path)
    assert len(index.of_image(1)) == 1
    for read in (lambda: index.of_image(2), lambda: read_results(path)):
        with pytest.raises(UnsegError, match=r"the mask of result 3 \(image 2\) is damaged: .* 4x5 pixels"):
            read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": None}, 'the "image_id" of result 41 is null, but a number or text is needed'),
        ({"image_id": 1.5}, r"result 41 \(image 1.5\): the id 1.5 is neither"),
        ({"bbox": [1, 2, 3]}, r'result 41 \(image .*\): its "bbox" has 3 values'),
        ({"bbox": None, "segmentation": None}, 'result 41 has neither a "bbox" nor a "segmentation"'),
        ({"score": "good"}, 'the "score" of result 41 is "good", but a number is needed'),
    ],
)
def test_results_that_cannot_be_used_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    results = listed()
    results[40] |= change
    for number, layout in enumerate(LAYOUTS.values()):
        path = tmp_path / f"{number}.json"
        path.write_text(layout(results))
        with pytest.raises(UnsegError, match=message):
            ResultsIndex(path)
