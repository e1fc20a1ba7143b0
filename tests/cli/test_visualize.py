from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.cli.visualize import main, read_views
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path):
    """Images, a label set and results for them, and ``truth.json`` with other ids and names."""
    mask = np.zeros((30, 40), bool)
    mask[5:25, 10:30] = True
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / f"{number}.png")

    def content(ids: dict[int, str], **more) -> dict:
        segmentation = encode_mask(mask)
        images = [{"id": key, "file_name": name, "height": 30, "width": 40} for key, name in ids.items()]
        objects = [{"id": k, "image_id": k, "bbox": [10, 5, 20, 20], "segmentation": segmentation, **more} for k in ids]
        return {"images": images, "annotations": objects}

    labels = content({1: "1.png", 2: "2.png"}, score=0.5)
    truth = content({71: "val/1.png", 73: "val/3.png"})
    results = [{**item, "image_id": 71, "category_id": 1} for item in labels["annotations"]]
    for name, value in {"labels": labels, "truth": truth, "results": results}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    return tmp_path


def test_page_beside_the_labels_without_naming_the_images(folder, capsys):
    main(["--labels", str(folder / "labels.json"), "--output", str(folder / "page.html")])
    assert (folder / "page.html").is_file()
    assert "gallery   " in capsys.readouterr().out
    assert sorted(os.listdir(folder)) == ["images", "labels.json", "page.html", "results.json", "truth.json"]


def test_folder_with_overlays(folder):
    labels, images, output = (str(folder / name) for name in ("labels.json", "images", "out"))
    main(["--labels", labels, "--images", images, "--output", output, "--overlays"])
    written = {path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("*.*")}
    assert written == {"index.html", "index_overlays/1.png.jpg", "index_overlays/2.png.jpg"}


def test_ground_truth_takes_the_names_of_the_labels(folder):
    labels, truth = read_views(folder / "labels.json", folder / "truth.json")
    assert [image["file_name"] for image in labels.dataset.images] == ["1.png", "2.png"]
    assert [image["file_name"] for image in truth.dataset.images] == ["1.png"]
    assert [annotation["image_id"] for annotation in truth.dataset.annotations] == [71]


def test_results_take_names_from_the_ground_truth(folder):
    labels, _ = read_views(folder / "results.json", folder / "truth.json")
    assert [annotation["image_id"] for annotation in labels.dataset.annotations] == [71, 71]
    assert [image["file_name"] for image in labels.dataset.images] == ["val/1.png", "val/3.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "results.json"], "name the file that they are for with --gt"),
        (["--labels", "missing.json"], "missing.json"),
        (["--labels", "labels.json", "--images", "nowhere"], "There is no folder nowhere"),
        (["--labels", "labels.json", "--images", "."], "None of the 2 images can be shown"),
        (["--labels", "labels.json", "--gt", "results.json"], "list of results"),
        (["--labels", "labels.json", "--limit", "-1"], "--limit is -1"),
        (["--labels", "results.json", "--gt", "labels.json"], "image 71, which is not listed"),
    ],
)
def test_mistakes_are_named_and_leave_nothing_behind(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    before = sorted(os.listdir(folder))
    with pytest.raises(UnsegError, match=message):
        main([*arguments, "--output", "page.html"])
    assert sorted(os.listdir(folder)) == before


def test_images_that_are_not_near_have_to_be_named(folder):
    (folder / "images").rename(folder / "photos")
    with pytest.raises(UnsegError, match="name their folder with --images"):
        main(["--labels", str(folder / "labels.json"), "--output", str(folder / "page.html")])


def test_command_fails_with_one_line(folder):
    command = [sys.executable, str(ROOT / "tools" / "visualize.py"), "--labels", "none.json", "--output", "page.html"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
