from __future__ import annotations

import errno
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.label_set import export, read_label_set, summarise, write_label_set
from unseg_d2.pseudo.shard_writer import ShardWriter
from unseg_d2.pseudo.shards import ShardFolder
from unseg_d2.rle import encode_mask

MANIFEST = {"num_images": 4, "shard_size": 2, "image_root": "/images", "not_images": ["notes.txt"], "settings": {}}


def line(index: int) -> dict[str, object]:
    """Image 2 could not be used; the others have one mask each."""
    if index == 2:
        return {"id": index, "file_name": "2.png", "failure": "truncated"}
    rle = encode_mask(np.eye(8, 6) > 0)
    annotation = {"bbox": [0.0, 0.0, 6.0, 6.0], "area": 6, "segmentation": rle, "score": 0.5}
    return {"id": index, "file_name": f"{index}.png", "height": 8, "width": 6, "annotations": [annotation]}


def make(folder: Path, *which: int) -> Path:
    shards = ShardFolder(folder)
    shards.open(MANIFEST)
    for shard in which:
        with ShardWriter(shards, shard) as writer:
            writer.append([line(index) for index in shards.positions(shard)])
            writer.finish()
    return folder


def test_export_is_a_coco_file_with_consecutive_ids(tmp_path: Path) -> None:
    dataset = read_label_set(export(make(tmp_path / "set", 0, 1)))
    assert [image["id"] for image in dataset.images] == [0, 1, 3]
    assert [(a["id"], a["image_id"], a["category_id"]) for a in dataset.annotations] == [
        (1, 0, 1),
        (2, 1, 1),
        (3, 3, 1),
    ]
    assert dataset.info["image_root"] == "/images" and "not_images" not in dataset.info
    failures = [json.loads(text) for text in (tmp_path / "set" / "failures.jsonl").read_text().splitlines()]
    assert failures == [
        {"file_name": "2.png", "reason": "truncated"},
    ]
    assert summarise(tmp_path / "set").splitlines()[0] == f"3 masks on 3 images: {tmp_path / 'set' / 'labels.json'}"


def test_unfinished_label_sets(tmp_path: Path) -> None:
    folder = make(tmp_path / "set", 1)
    assert [image["id"] for image in read_label_set(folder).images] == [3]
    for arguments in ({}, {"partial": True}, {"output": tmp_path / "part.json"}):
        with pytest.raises(UnsegError, match="not finished: 2 of 4 images are still to be done"):
            export(folder, **arguments)
    assert len(read_label_set(export(folder, tmp_path / "part.json", partial=True)).annotations) == 1
    assert not (folder / "labels.json").exists()


def test_a_folder_is_read_like_its_file(tmp_path: Path) -> None:
    folder = make(tmp_path / "set", 0, 1)
    before = read_label_set(folder)
    export(folder)
    after = read_label_set(folder)
    assert (before.images, before.annotations) == (after.images, after.annotations) and before.info == after.info
    with pytest.raises(UnsegError, match="holds no label set"):
        read_label_set(tmp_path)


def test_export_needs_little_memory(tmp_path: Path) -> None:
    images = [{"id": index, "file_name": f"{index}.png", "height": 8, "width": 6} for index in range(20_000)]
    annotation = {"image_id": 0, "segmentation": {"size": [8, 6], "counts": "0" * 500}}
    tracemalloc.start()
    write_label_set(tmp_path / "labels.json", {}, images, (annotation for _ in images))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "labels.json").stat().st_size > 10_000_000 and peak < 1_000_000


def test_full_disk_keeps_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_label_set(tmp_path / "labels.json", {"made": "before"}, [], [])
    before = (tmp_path / "labels.json").read_bytes()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UnsegError, match="The disk is full"):
        write_label_set(tmp_path / "labels.json", {}, [], [])
    assert [path.name for path in tmp_path.iterdir()] == ["labels.json"]
    assert (tmp_path / "labels.json").read_bytes() == before
