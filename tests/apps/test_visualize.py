"""The page of a label set from Python: two files of other ids and names, side by side."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

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


def test_names_of_another_machine_are_found_below_the_named_folder(label_sets: Path) -> None:
    content = json.loads((label_sets / "labels.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"/home/somebody/{image['file_name']}"
    (label_sets / "other.json").write_text(json.dumps(content))
    folder = Path(visualize(label_sets / "labels.json", label_sets / "one.html").page).parent
    images = next(path.parent for path in folder.rglob("1.png"))
    shown = visualize(label_sets / "other.json", label_sets / "page.html", images=images, overlays=True)
    assert (shown.images, shown.problems) == (2, []) and "1.png.jpg" in os.listdir(label_sets / "page_overlays")


@pytest.mark.parametrize(
    ("options", "sentence"), [({"limit": -1}, "The limit is -1"), ({"images": "nowhere"}, "There is no folder nowhere")]
)
def test_refusals(options: dict, sentence: str, label_sets: Path) -> None:
    with pytest.raises(unseg_d2.UnsegError, match=sentence):
        visualize(label_sets / "labels.json", label_sets / "page.html", **options)
    assert not (label_sets / "page.html").exists()


@pytest.mark.parametrize("root", ["/", "/etc", "{elsewhere}"])
def test_a_label_set_opens_no_folder_of_its_own_choice(root: str, label_sets: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for image in (label_sets).rglob("*.png"):
        (elsewhere / image.name).write_bytes(image.read_bytes())
    labels = json.loads((label_sets / "labels.json").read_text())
    root = root.format(elsewhere=elsewhere)
    labels["info"] = {"image_root": root}
    if root == "/":  # so that the names lead to pictures that exist
        for image in labels["images"]:
            image["file_name"] = (elsewhere / image["file_name"]).relative_to("/").as_posix()
    lonely = tmp_path_factory.mktemp("received") / "labels"
    lonely.mkdir()
    (lonely / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(unseg_d2.UnsegError, match=r"say so with --images|were not found"):
        visualize(lonely / "labels.json", lonely / "page.html")
    assert not (lonely / "page.html").exists()
    if root == str(elsewhere):
        assert visualize(lonely / "labels.json", lonely / "page.html", images=elsewhere).images == 2


HOSTILE = "</script><script>alert(1)</script>\"'&{{7*7}}{% raw %}\u202e.png"


def test_hostile_names_are_text_on_the_page(tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "\u2215")
    Image.new("RGB", (30, 20)).save(tmp_path / name, format="PNG")
    box = {"id": 1, "image_id": 1, "bbox": [1, 2, 9, 8], "area": 72, "score": 0.5, "category_id": 1}
    labels = {"images": [{"id": 1, "file_name": name, "height": 20, "width": 30}], "annotations": [box]}
    labels |= {"categories": [{"id": 1, "name": HOSTILE}], "info": {HOSTILE: HOSTILE, "image_root": "."}}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    page = visualize(tmp_path / "labels.json", tmp_path / "page.html").page.read_text(encoding="utf-8")
    assert "<script>alert" not in page and "</script><script>" not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page and "\\u003cscript\\u003ealert(1)" in page
    assert "49" not in page.partition("7*7")[2][:9], "a name is no template"


def test_chunks_follow_the_umask(label_sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unseg_d2.apps.visualize.ONE_FILE_LIMIT", 1)
    before = os.umask(0o077)
    try:
        visualize(label_sets / "labels.json", label_sets / "private")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o077 for path in (label_sets / "private").rglob("*")}
    assert "index_chunks" in modes and set(modes.values()) == {0}
