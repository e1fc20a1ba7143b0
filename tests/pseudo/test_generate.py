from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fvcore.common.config import CfgNode
from pseudo_fakes import fake_pipeline, killed_pipeline, picture, save_pictures

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.make_shard import ShardMaker


def settings(*opts: str) -> CfgNode:
    return load_cfg(None, ["FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "64", "PSEUDO.SHARD_SIZE", "4", *opts])


def generate(images: Path, output: Path, *opts: str, num_workers: int = 0, **arguments: int) -> Path | None:
    arguments.setdefault("num_workers", num_workers)
    return generate_label_set(settings(*opts), images, output, build=fake_pipeline, **arguments)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture()
def images(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "images", 22)


def test_makes_a_coco_file_of_a_folder(images: Path, tmp_path: Path) -> None:
    path = generate(images, tmp_path / "out")
    assert path == tmp_path / "out" / "labels.json"
    labels = json.loads(path.read_bytes())
    assert [image["id"] for image in labels["images"]] == list(range(1, 23))
    assert labels["images"][0] == {"id": 1, "file_name": "000.png", "height": 40, "width": 60}
    assert labels["images"][11] == {"id": 12, "file_name": "more/000.png", "height": 40, "width": 60}
    assert [annotation["id"] for annotation in labels["annotations"]] == list(range(1, 23))
    first = labels["annotations"][0]
    assert first["image_id"] == 1 and first["score"] == 0.75 and first["segmentation"]["size"] == [40, 60]
    assert labels["categories"][0]["name"] == "fg"
    info = labels["info"]
    assert info["settings"]["FEATURES"]["IMAGE_SIZE"] == 64 and info["versions"]["torch"]
    assert info["features"] == {"name": "mean_colour", "checksum": "0" * 64}
    assert info["image_root"] == str(images)
    assert (tmp_path / "out" / "failures.jsonl").read_bytes() == b""


def test_ids_of_a_coco_file_are_kept(images: Path, tmp_path: Path) -> None:
    listed = [{"id": 391895, "file_name": "more/001.png"}, {"id": 5, "file_name": "000.png"}]
    (tmp_path / "list.json").write_text(json.dumps({"images": listed}))
    labels = json.loads(generate(f"{tmp_path}/list.json::{images}", tmp_path / "out").read_bytes())
    assert [(image["id"], image["file_name"]) for image in labels["images"]] == [
        (391895, "more/001.png"),
        (5, "000.png"),
    ]
    assert {annotation["image_id"] for annotation in labels["annotations"]} == {391895, 5}


def test_unusable_images_are_named_and_the_rest_is_used(images: Path, tmp_path: Path) -> None:
    (images / "empty.jpg").touch()
    (images / "text.jpg").write_text("no image")
    (images / "notes.txt").write_text("no image either")
    picture(0).resize((1, 1)).save(images / "tiny.png")
    picture(0).point(lambda _: 255).save(images / "blue.png")  # the generator fails on it
    whole = (images / "000.png").read_bytes()
    (images / "half.png").write_bytes(whole[: len(whole) // 2])
    labels = json.loads(generate(images, tmp_path / "out", "FEATURES.BATCH_SIZE", "4").read_bytes())
    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert failures == [
        {"file_name": "blue.png", "reason": "ValueError: too blue to segment"},
        {"file_name": "empty.jpg", "reason": "zero bytes"},
        {"file_name": "half.png", "reason": "truncated"},
        {"file_name": "text.jpg", "reason": "not an image"},
        {"file_name": "tiny.png", "reason": "1x1 pixels: too small"},
        {"file_name": "notes.txt", "reason": "not an image"},
    ]
    assert len(labels["images"]) == len(labels["annotations"]) == 22


def test_large_images_are_refused_by_the_setting(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match=r"None of the 22 images could be used; the first is 000.png \(60x40 pixels"):
        generate(images, tmp_path / "out", "PSEUDO.MAX_PIXELS", "2399")


@pytest.mark.parametrize("batch", ["1", "3"])
def test_shares_give_the_same_bytes(images: Path, tmp_path: Path, batch: str) -> None:
    opts = ("FEATURES.BATCH_SIZE", batch)
    generate(images, tmp_path / "whole", *opts)
    assert generate(images, tmp_path / "shares", *opts, shard_index=1, num_shards=3) is None
    assert generate(images, tmp_path / "shares", *opts, shard_index=0, num_shards=3) is None
    assert not (tmp_path / "shares" / "labels.json").exists()
    assert generate(images, tmp_path / "shares", *opts, shard_index=2, num_shards=3)
    assert content(tmp_path / "shares") == content(tmp_path / "whole")


def test_workers_give_the_same_bytes(images: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        generate(images, tmp_path / f"{workers}", num_workers=workers)
    assert content(tmp_path / "1") == content(tmp_path / "2")


COMMAND = """
import sys
sys.path.insert(0, {tests!r})
from pseudo_fakes import slow_pipeline
from test_generate import settings, generate_label_set
if __name__ == "__main__":
    generate_label_set(settings(), {images!r}, {output!r}, num_workers=2, build=slow_pipeline)
"""


def test_killed_and_repeated_gives_the_same_bytes(images: Path, tmp_path: Path) -> None:
    generate(images, tmp_path / "whole")
    output = tmp_path / "killed"
    script = tmp_path / "command.py"
    script.write_text(COMMAND.format(tests=str(Path(__file__).parent), images=str(images), output=str(output)))
    process = subprocess.Popen(
        [sys.executable, str(script)], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    while not any((output / "shards").glob("*.part")) or len(list((output / "shards").iterdir())) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (output / "labels.json").exists()
    generate(images, output)  # its orphaned workers notice that it is gone and release their shards
    assert content(output) == content(tmp_path / "whole")


def test_killed_worker_is_reported(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match=r"ended by signal 9 \(Killed\), perhaps for lack of memory"):
        generate_label_set(settings(), images, tmp_path / "out", num_workers=1, build=killed_pipeline)


class FullDisk(io.FileIO):
    """A file that takes 200 bytes."""

    def write(self, data: bytes) -> int:
        room = 200 - os.fstat(self.fileno()).st_size
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[:room])


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("name", "replacement"),
    [
        ("shards.open", lambda path, _: io.BufferedRandom(FullDisk(path, "a+"))),
        ("shards.os.fsync", full),
        ("shards.os.replace", full),
        ("label_set.write_label_set", full),
    ],
)
def test_full_disk_leaves_nothing_half_written(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, replacement: Callable
) -> None:
    generate(images, tmp_path / "whole")
    generate(images, tmp_path / "out", shard_index=0, num_shards=3)
    with monkeypatch.context() as patch:
        patch.setattr(f"unseg_d2.pseudo.{name}", replacement, raising=False)
        with pytest.raises((UnsegError, OSError), match=r"disk is full|No space left"):
            generate(images, tmp_path / "out")
    assert not (tmp_path / "out" / "labels.json").exists()
    generate(images, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("FEATURES.IMAGE_SIZE", "128"), "settings.FEATURES.IMAGE_SIZE was 64, now 128"),
        (("MASKS.GENERATOR", "tokencut"), "settings.MASKS.GENERATOR was 'maskcut', now 'tokencut'"),
    ],
)
def test_other_settings_need_another_folder(images: Path, tmp_path: Path, change: tuple, message: str) -> None:
    generate(images, tmp_path / "out")
    with pytest.raises(UnsegError, match=message):
        generate(images, tmp_path / "out", *change)


def test_other_images_need_another_folder(images: Path, tmp_path: Path) -> None:
    generate(images, tmp_path / "out")
    picture(0).save(images / "new.png")
    with pytest.raises(UnsegError, match="num_images was 22, now 23"):
        generate(images, tmp_path / "out")


def test_finished_label_sets_are_left_alone(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(images, tmp_path / "out")
    before = content(tmp_path / "out")
    monkeypatch.setattr(ShardMaker, "__call__", lambda *_: pytest.fail("there is nothing left to make"))
    generate(images, tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_nothing_to_work_on(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(UnsegError, match="There is no image in"):
        generate(tmp_path / "images", tmp_path / "out")
    with pytest.raises(UnsegError, match="from 0 to 1, but is 2"):
        generate(tmp_path / "images", tmp_path / "out", shard_index=2, num_shards=2)
    assert not (tmp_path / "out").exists()
