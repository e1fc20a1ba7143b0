from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unseg_d2.cli.visualize import main
from unseg_d2.errors import UnsegError

ROOT = Path(__file__).resolve().parents[2]


def test_page_beside_the_labels_without_naming_the_images(label_sets, capsys):
    main(["--labels", str(label_sets / "labels.json"), "--output", str(label_sets / "page.html")])
    assert (label_sets / "page.html").is_file()
    assert "gallery   " in capsys.readouterr().out
    assert sorted(os.listdir(label_sets)) == ["images", "labels.json", "page.html", "results.json", "truth.json"]


def test_folder_with_overlays(label_sets):
    labels, images, output = (str(label_sets / name) for name in ("labels.json", "images", "out"))
    main(["--labels", labels, "--images", images, "--output", output, "--overlays"])
    written = {path.relative_to(label_sets / "out").as_posix() for path in (label_sets / "out").rglob("*.*")}
    assert written == {"index.html", "index_overlays/1.png.jpg", "index_overlays/2.png.jpg"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "results.json"], "name the ground truth .--gt. that they are for"),
        (["--labels", "missing.json"], "missing.json"),
        (["--labels", "labels.json", "--images", "nowhere"], "There is no folder nowhere"),
        (["--labels", "labels.json", "--images", "."], "None of the 2 images can be shown"),
        (["--labels", "labels.json", "--gt", "results.json"], "list of results"),
        (["--labels", "labels.json", "--limit", "-1"], "The limit is -1"),
        (["--labels", "results.json", "--gt", "labels.json"], "image 71, which is not listed"),
    ],
)
def test_mistakes_are_named_and_leave_nothing_behind(label_sets, monkeypatch, arguments, message):
    monkeypatch.chdir(label_sets)
    before = sorted(os.listdir(label_sets))
    with pytest.raises(UnsegError, match=message):
        main([*arguments, "--output", "page.html"])
    assert sorted(os.listdir(label_sets)) == before


def test_images_elsewhere_have_to_be_named(label_sets):
    (label_sets / "images").rename(label_sets / "photos")
    with pytest.raises(UnsegError, match=r"name their folder \(--images\)"):
        main(["--labels", str(label_sets / "labels.json"), "--output", str(label_sets / "page.html")])


def test_command_fails_with_one_line(label_sets):
    command = [sys.executable, str(ROOT / "tools" / "visualize.py"), "--labels", "none.json", "--output", "page.html"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=label_sets, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
