from __future__ import annotations

import json
from pathlib import Path

import pytest
from pseudo_fakes import save_pictures

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import open_coco
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.inputs import list_inputs, lost_videos


@pytest.fixture()
def images(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "images", 4)


def write(path: Path, *names: str) -> Path:
    path.write_text(json.dumps({"images": [{"id": 10 + i, "file_name": name} for i, name in enumerate(names)]}))
    return path


def test_folder(images: Path) -> None:
    (images / "notes.txt").write_text("no image")
    inputs = list_inputs(images, load_cfg())
    assert inputs.file_names == ["000.png", "001.png", "more/000.png", "more/001.png"]
    assert inputs.ids == [1, 2, 3, 4] and inputs.others.names() == ["notes.txt"] and inputs.root == images


def test_coco_file_beside_its_images_or_with_their_folder_named(images: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "list.json", "more/001.png", "000.png")
    for spec in (path, f"{path}::{images}"):
        inputs = list_inputs(spec, load_cfg())
        assert (inputs.ids, inputs.file_names, inputs.root) == ([10, 11], ["more/001.png", "000.png"], images)


def test_name_of_a_data_set(tmp_path: Path) -> None:
    cfg = load_cfg(None, ["SYNTHETIC.ROOT", str(tmp_path), "SYNTHETIC.NUM_VAL", "2", "SYNTHETIC.SIZE", "(64, 64)"])
    inputs = list_inputs("synthetic_val", cfg)
    assert len(inputs) == 2 and all((inputs.root / name).is_file() for name in inputs.file_names)


def test_the_checksum_knows_names_and_order(images: Path, tmp_path: Path) -> None:
    names = ["000.png", "001.png"]
    lists = [write(tmp_path / "a.json", *names), write(tmp_path / "b.json", *names[::-1])]
    first, second = (list_inputs(path, load_cfg()).checksum for path in lists)
    assert first != second and first == list_inputs(lists[0], load_cfg()).checksum


def test_says_what_is_wrong(images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for spec, message in [
        (tmp_path / "empty", "There is no image in .*: it is empty"),
        (tmp_path / "missing", "There is no folder"),
        ("synthetic_vall", "Did you mean 'synthetic_val'"),
        (tmp_path / "missing.json", "There is no file"),
        (write(tmp_path / "none.json"), "lists no images"),
        (write(tmp_path / "lost.json", "lost.png"), "images of .* were not found"),
        (f"{write(tmp_path / 'list.json', '000.png')}::{tmp_path / 'missing'}", "There is no folder"),
        (f"{write(tmp_path / 'escape.json', '../000.png')}::{images}", "points outside the image folder"),
    ]:
        with pytest.raises(UnsegError, match=message):
            list_inputs(spec, load_cfg())


def test_videos_that_only_a_file_knows_are_counted(tmp_path: Path) -> None:
    """Folders and numbers in names say the same of the first two videos, and put the frames of the others together."""
    path = write(tmp_path / "v.json", "a/1.png", "a/5.png", "b/2.png", "c/1.png", "c/2.png", "c/3.png")
    assert lost_videos(open_coco(path, need_annotations=False)) == 0
    content = json.loads(path.read_text())
    for image, (video, frame) in zip(content["images"], [(1, 0), (1, 1), (2, 0), (3, 0), (4, 0), (3, 1)]):
        image |= {"video_id": video, "frame_id": frame}
    path.write_text(json.dumps(content))
    assert lost_videos(open_coco(path, need_annotations=False)) == 2
    path.write_text(json.dumps({"images": content["images"][:3]}))
    assert lost_videos(open_coco(path, need_annotations=False)) == 0
    content["images"][1]["frame_id"], content["images"][0]["frame_id"] = 0, 1  # the names say the other order
    path.write_text(json.dumps({"images": content["images"][:3]}))
    assert lost_videos(open_coco(path, need_annotations=False)) == 1
