"""The page of a label set from Python: two files of other ids and names, side by side."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import unseg_d2
from unseg_d2.apps.visualize import read_views, visualize


def test_ground_truth_takes_the_names_of_the_labels(label_sets: Path) -> None:
    labels, truth = read_views(label_sets / "labels.json", label_sets / "truth.json")
    assert [image["file_name"] for image in labels.dataset.images] == ["1.png", "2.png"]
    assert [image["file_name"] for image in truth.dataset.images] == ["1.png"]
    assert [annotation["image_id"] for annotation in truth.dataset.annotations] == [71]


def test_results_take_names_from_the_ground_truth(label_sets: Path) -> None:
    labels, _ = read_views(label_sets / "results.json", label_sets / "truth.json")
    assert [annotation["image_id"] for annotation in labels.dataset.annotations] == [71, 71]
    assert [image["file_name"] for image in labels.dataset.images] == ["val/1.png", "val/3.png"]


def test_a_page_and_overlays(label_sets: Path) -> None:
    shown = visualize(label_sets / "labels.json", label_sets / "out", ground_truth=label_sets / "truth.json")
    assert (shown.page, shown.images, shown.overlays) == (label_sets / "out" / "index.html", 2, None)
    shown = unseg_d2.visualize(str(label_sets / "labels.json"), str(label_sets / "page.html"), overlays=True, limit=1)
    assert (shown.page, shown.images) == (label_sets / "page.html", 1)
    assert shown.overlays == label_sets / "page_overlays" and os.listdir(shown.overlays) == ["1.png.jpg"]


@pytest.mark.parametrize(
    ("options", "sentence"), [({"limit": -1}, "The limit is -1"), ({"images": "nowhere"}, "There is no folder nowhere")]
)
def test_refusals(options: dict, sentence: str, label_sets: Path) -> None:
    with pytest.raises(unseg_d2.UnsegError, match=sentence):
        visualize(label_sets / "labels.json", label_sets / "page.html", **options)
    assert not (label_sets / "page.html").exists()
