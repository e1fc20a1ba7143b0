from __future__ import annotations

import dataclasses
import errno
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fvcore.common.config import CfgNode
from PIL import Image
from pseudo_fakes import (
    deep_pipeline,
    fake_pipeline,
    killed_by_white_pipeline,
    killed_pipeline,
    picture,
    save_pictures,
)

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import find_image_root, read_coco
from unseg_d2.data.images import Reading
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import read_label_set, summarise
from unseg_d2.pseudo.make_shard import ShardMaker
from unseg_d2.viz.labels import LabelView


def settings(*opts: str) -> CfgNode:
    return load_cfg(None, ["FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "64", "PSEUDO.SHARD_SIZE", "4", *opts])


def generate(images: Path, output: Path, *opts: str, num_workers: int = 0, **arguments: int) -> Path:
    arguments.setdefault("num_workers", num_workers)
    return generate_label_set(settings(*opts), images, output, build=fake_pipeline, **arguments)


def begin(images: Path | str, output: Path, every: int = 2) -> None:
    """Leave a label set of which one in ``every`` shards is made, as if the command had been killed."""
    generate(images, output)
    for name in ("labels.json", "failures.jsonl"):
        (output / name).unlink()
    for shard, path in enumerate(sorted((output / "shards").iterdir())):
        if shard % every:
            path.unlink()


def content(folder: Path) -> dict[str, bytes]:
    """What is in a folder, but for the times that runs took."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "timings.jsonl")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


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
    assert info["supervision"] == {"not stated": "it was not recorded"}  # this backend says nothing of its weights
    assert info["image_root"] == "../images" and find_image_root(read_coco(path), path).samefile(images)
    assert (tmp_path / "out" / "failures.jsonl").read_bytes() == b""


def test_settings_of_parts_that_are_not_named_are_said_to_have_no_effect(images, tmp_path, caplog) -> None:
    changed = ("MASKS.TOKENCUT.TAU", "0.3", "REFINE.CRF.ITERATIONS", "3", "MASKS.MASKCUT.TAU", "0.2")
    with caplog.at_level(logging.INFO, logger="unseg_d2"):
        changed = (*changed, "FEATURES.NAME", "palette", "FEATURES.WEIGHTS", "dino.pth")
        generate(images, tmp_path / "out", *changed, "FEATURES.DESCRIPTORS.PATCH_SIZE", "4")
        generate(
            images, tmp_path / "other", "FEATURES.VIT.ARCH", "dino_vits8", "FEATURES.MEMBERS", "[{'BATCH_SIZE': 1}]"
        )
    said = [record.getMessage() for record in caplog.records if "no effect" in record.getMessage()]
    assert said == [
        "FEATURES.WEIGHTS is 'dino.pth', which has no effect with FEATURES.NAME palette.",
        "MASKS.TOKENCUT.TAU is 0.3, which has no effect: MASKS.GENERATOR does not name tokencut.",
        "REFINE.CRF.ITERATIONS is 3, which has no effect: REFINE.NAME does not name crf.",
    ]


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
        {"file_name": "blue.png", "reason": "too blue to segment"},
        {"file_name": "empty.jpg", "reason": "zero bytes"},
        {"file_name": "half.png", "reason": "truncated"},
        {"file_name": "text.jpg", "reason": "not an image"},
        {"file_name": "tiny.png", "reason": "1x1 pixels: too small"},
    ]
    assert len(labels["images"]) == len(labels["annotations"]) == 22


def test_large_images_are_refused_by_the_setting(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match=r"None of the 22 images could be used; the first is 000.png \(60x40 pixels"):
        generate(images, tmp_path / "out", "INPUT.MAX_PIXELS", "2399")


@pytest.mark.parametrize("batch", ["1", "3"])
def test_each_of_several_commands_makes_what_is_left(images: Path, tmp_path: Path, batch: str) -> None:
    opts = ("FEATURES.BATCH_SIZE", batch)
    path = generate(images, tmp_path / "whole", *opts)
    written = path.stat().st_mtime_ns
    assert generate(images, tmp_path / "whole", *opts, shard_index=2, num_shards=5) == path
    assert path.stat().st_mtime_ns == written
    generate(images, tmp_path / "shares", *opts, shard_index=1, num_shards=3)
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
    while not any((output / "shards").glob("*.part-*")) or len(list((output / "shards").iterdir())) < 3:
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


def with_a_white_corner(path: Path) -> None:
    with Image.open(path) as image:
        image.putpixel((0, 0), (255, 255, 255))
        image.save(path)


@pytest.mark.parametrize("batch", ["1", pytest.param("3", marks=pytest.mark.slow)])
def test_an_image_that_kills_its_worker_once_changes_nothing(
    batch: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_white_corner(sorted(images.rglob("*.png"))[2])
    opts = ("FEATURES.BATCH_SIZE", batch)
    monkeypatch.setenv("KILLED_ONCE_IN", str(tmp_path))
    arguments = (settings(*opts), images, tmp_path / "replaced")
    generate_label_set(*arguments, num_workers=2, build=killed_by_white_pipeline)
    assert (tmp_path / "killed").exists()
    generate(images, tmp_path / "whole", *opts)
    assert content(tmp_path / "replaced") == content(tmp_path / "whole")


@pytest.mark.parametrize("batch", ["1", pytest.param("3", marks=pytest.mark.slow)])
def test_an_image_that_always_kills_its_worker_is_recorded(batch: str, images: Path, tmp_path: Path) -> None:
    paths = sorted(images.rglob("*.png"))
    with_a_white_corner(paths[2])
    opts = ("FEATURES.BATCH_SIZE", batch)
    generate_label_set(settings(*opts), images, tmp_path / "out", num_workers=1, build=killed_by_white_pipeline)
    labels = json.loads((tmp_path / "out" / "labels.json").read_text())
    (failure,) = map(json.loads, (tmp_path / "out" / "failures.jsonl").read_text().splitlines())
    assert failure["file_name"] == paths[2].relative_to(images).as_posix()
    assert "killed twice" in failure["reason"]
    assert len(labels["images"]) == len(paths) - 1


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
        ("shard_writer.open", lambda path, *_, **__: io.BufferedRandom(FullDisk(path, "a+"))),
        ("shard_writer.os.fsync", full),
        ("shard_writer.os.replace", full),
        ("label_set.write_label_set", full),
    ],
)
def test_full_disk_leaves_nothing_half_written(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, replacement: Callable
) -> None:
    generate(images, tmp_path / "whole")
    begin(images, tmp_path / "out", 3)
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


def test_places_speed_and_notes_are_no_part_of_the_result(images: Path, tmp_path: Path) -> None:
    """A log among the pictures, another folder for the project, other batches and devices: the run goes on."""
    generate(images, tmp_path / "whole")
    project = tmp_path / "project"
    begin(images, project / "masks")
    shutil.copytree(images, project / "photos")  # a staged copy
    (project / "photos" / "slurm-17.out").write_text("a log")
    project.rename(tmp_path / "renamed")
    masks = tmp_path / "renamed" / "masks"
    path = generate(tmp_path / "renamed" / "photos", masks, "FEATURES.BATCH_SIZE", "2", "PSEUDO.SHARD_SIZE", "9")
    assert find_image_root(read_coco(path), path).samefile(tmp_path / "renamed" / "photos")
    whole = json.loads((tmp_path / "whole" / "labels.json").read_text())
    assert json.loads(path.read_text())["annotations"] == whole["annotations"]


def test_a_label_set_of_a_version_with_fewer_keys_is_resumed(images: Path, tmp_path: Path) -> None:
    begin(images, tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["settings"]["MASKS"]["TOKENCUT"], content["settings"]["REFINE"]["MIN_IOU"]
    manifest.write_text(json.dumps(content))
    with pytest.raises(UnsegError, match=r"REFINE.MIN_IOU was not set, now 0.25"):
        generate(images, tmp_path / "out", "REFINE.MIN_IOU", "0.25")
    assert generate(images, tmp_path / "out")


def test_other_versions_go_on_with_a_warning(images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(images, tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["versions"]["pillow"] = "1.0"
    manifest.write_text(json.dumps(content))
    assert generate(images, tmp_path / "out")
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "versions.pillow was '1.0', now '" in warning and "last digits" in warning


def test_the_own_output_below_the_images_is_none_of_them(images: Path) -> None:
    begin(images, images / "masks")
    picture(99).save(images / "masks" / "overlay.png")
    path = generate(images, images / "masks")
    assert len(read_coco(path).images) == 22


def test_a_repaired_image_is_tried_again(images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="unseg_d2")
    whole = (images / "003.png").read_bytes()
    (images / "003.png").write_bytes(whole[:100])
    path = generate(images, tmp_path / "out", "FEATURES.BATCH_SIZE", "2")
    assert len(read_coco(path).images) == 21
    before = (tmp_path / "out" / "labels.json").read_bytes()
    assert generate(images, tmp_path / "out", "FEATURES.BATCH_SIZE", "2") and path.read_bytes() == before
    assert not caplog.messages
    (images / "003.png").write_bytes(whole)
    generate(images, tmp_path / "out", "FEATURES.BATCH_SIZE", "2")
    assert "1 image has changed since it was read, and is tried again: 003.png." in caplog.messages
    generate(images, tmp_path / "new", "FEATURES.BATCH_SIZE", "2")
    assert content(tmp_path / "out") == content(tmp_path / "new")


def test_images_replaced_under_the_same_names_are_made_again(images: Path, tmp_path: Path) -> None:
    """In finished shards, and in one that had begun; of another size, and of the same size in bytes."""
    for name in ("000", "001", "002", "003"):
        picture(int(name)).save(images / f"{name}.bmp")
    generate(images, tmp_path / "out")
    finished = tmp_path / "out" / "shards" / "000005.jsonl"
    finished.rename(finished.with_name("000005.jsonl.part"))
    (tmp_path / "out" / "labels.json").unlink()
    picture(50).save(images / "001.bmp")
    picture(51, 30, 20).save(images / "more" / "009.png")
    generate(images, tmp_path / "out")
    generate(images, tmp_path / "new")
    assert content(tmp_path / "out") == content(tmp_path / "new")


def test_a_shard_that_was_deleted_is_made_and_exported_again(images: Path, tmp_path: Path) -> None:
    """As a damaged one is advised to be; one of its images is another one by then."""
    path = generate(images, tmp_path / "out")
    shard = tmp_path / "out" / "shards" / "000003.jsonl"
    name = json.loads(shard.read_text().splitlines()[0])["file_name"]
    before = path.read_bytes()
    shard.unlink()
    picture(50, 30, 20).save(images / name)
    generate(images, tmp_path / "out")
    generate(images, tmp_path / "new")
    assert content(tmp_path / "out") == content(tmp_path / "new") and path.read_bytes() != before


def ramp(path: Path, low: float, high: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.tile(np.linspace(low, high, 60, dtype=np.float32), (40, 1)))


def test_depth_files_replaced_added_and_removed_make_their_images_again(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In finished shards, and in one that had begun."""
    caplog.set_level(logging.WARNING, logger="unseg_d2")

    def run(output: Path) -> Path | None:
        options = ("DEPTH.SOURCE", "files", "DEPTH.KIND", "metric", "FEATURES.BATCH_SIZE", "2")
        return generate_label_set(settings(*options), images, output, num_workers=0, build=deep_pipeline)

    names = sorted(path.relative_to(images).with_suffix("").as_posix() for path in images.rglob("*.png"))
    depth = [tmp_path / "depth" / f"{name}.npy" for name in names]
    for index, path in enumerate(depth):
        if index != 5:
            ramp(path, 1, 9)
    run(tmp_path / "out")
    before = (tmp_path / "out" / "labels.json").read_bytes()
    assert run(tmp_path / "out") and (tmp_path / "out" / "labels.json").read_bytes() == before and not caplog.messages
    ramp(depth[2], 9, 1)  # of the same size
    ramp(depth[5], 1, 9)  # had none
    depth[8].unlink()
    ramp(depth[21], 9, 1)
    finished = tmp_path / "out" / "shards" / "000010.jsonl"
    finished.rename(finished.with_name("000010.jsonl.part"))
    run(tmp_path / "out")
    assert any("3 images have changed since they were read" in message for message in caplog.messages)
    run(tmp_path / "new")
    assert content(tmp_path / "out") == content(tmp_path / "new")
    assert (tmp_path / "out" / "labels.json").read_bytes() != before
    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert [failure["file_name"] for failure in failures] == [f"{names[8]}.png"]


def test_a_second_depth_file_is_a_failure_and_a_shared_one_is_refused(images: Path, tmp_path: Path) -> None:
    """What an image is made from must not depend on which of two files comes first, nor be that of another image."""

    def run(output: Path) -> Path | None:
        options = ("DEPTH.SOURCE", "files", "DEPTH.KIND", "metric")
        return generate_label_set(settings(*options), images, output, num_workers=0, build=deep_pipeline)

    names = sorted(path.relative_to(images).with_suffix("").as_posix() for path in images.rglob("*.png"))
    depth = [tmp_path / "depth" / f"{name}.npy" for name in names]
    for path in depth:
        ramp(path, 1, 9)
    run(tmp_path / "out")
    before, other = content(tmp_path / "out"), depth[3].with_suffix(".npz")
    np.savez(other, depth=np.load(depth[3]))
    for _ in range(2):  # it stays so, and is tried again only when there is a change
        run(tmp_path / "out")
        (failure,) = (json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines())
        assert failure["file_name"] == f"{names[3]}.png"
        assert f"depth file, {depth[3].name} and {other.name}: remove" in failure["reason"]
    other.unlink()
    run(tmp_path / "out")
    assert content(tmp_path / "out") == before
    picture(200, 30, 20).save(images / f"{names[4]}.bmp")
    with pytest.raises(UnsegError, match=rf"{names[4]}\.npy would belong to both images .*\.bmp and .*\.png; rename"):
        run(tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


def test_images_that_are_not_there_are_said_at_once(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the work begins it is refused; later the images become failures, and their number is said."""
    listed = [{"id": number, "file_name": f"{number:03d}.png"} for number in range(4)]
    (tmp_path / "list.json").write_text(json.dumps({"images": listed}))
    spec, output = f"{tmp_path}/list.json::{images}", tmp_path / "out"
    for name in ("001", "003"):
        (images / f"{name}.png").rename(tmp_path / f"{name}.png")
    with pytest.raises(UnsegError, match=r"^2 of the 4 images of .*list\.json.* are not there.*001\.png; put"):
        generate(spec, output)
    assert not output.exists()
    for name in ("001", "003"):
        (tmp_path / f"{name}.png").rename(images / f"{name}.png")
    begin(spec, output)
    (images / "003.png").unlink()
    assert generate(spec, output)
    assert [message for message in caplog.messages if "any more" in message] == [
        f"Not there any more, and so failures: 1 of the listed images, such as {images / '003.png'}."
    ]
    (failure,) = map(json.loads, (output / "failures.jsonl").read_text().splitlines())
    assert failure == {"file_name": "003.png", "reason": "the file does not exist"}


def test_nothing_to_work_on(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(UnsegError, match="There is no image in"):
        generate(tmp_path / "images", tmp_path / "out")
    with pytest.raises(UnsegError, match="from 0 to 1, but is 2"):
        generate(tmp_path / "images", tmp_path / "out", shard_index=2, num_shards=2)
    assert not (tmp_path / "out").exists()


def test_what_was_done_to_the_pictures_is_counted_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for index, high in enumerate((1000, 4095)):
        values = np.linspace(100, high, 48 * 64).reshape(48, 64).astype(np.uint16)
        Image.fromarray(values).save(folder / f"{index}.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (64, 48), "red").save(folder / "turned.jpg", exif=exif)
    generate(folder, tmp_path / "out")
    text = summarise(tmp_path / "out")
    assert (
        "2 pictures of uint16: each is stretched to 8 bit from the values that it uses (100 to 4095 over all)" in text
    )
    assert "1 picture turned as EXIF says" in text
    generate(folder, tmp_path / "other", "INPUT.WINDOW", "[0, 4095]", "INPUT.EXIF", "ignore")
    text = summarise(tmp_path / "other")
    assert "2 pictures of uint16: stretched to 8 bit from INPUT.WINDOW (0 to 4095)" in text
    assert "1 picture not turned as EXIF says" in text
    labels = read_label_set(tmp_path / "other")
    assert labels.info["settings"]["INPUT"] == {"WINDOW": [0, 4095], "EXIF": "ignore"}
    assert LabelView("", labels).reading == Reading(window=[0, 4095], exif="ignore")
    assert "INPUT" not in read_label_set(tmp_path / "out").info["settings"]
    with pytest.raises(UnsegError, match="INPUT"):
        generate(folder, tmp_path / "out", "INPUT.EXIF", "ignore")


def test_a_folder_of_everything_ends_and_names_what_is_no_picture(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "images", 2)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 10\n"
    for name in ("photo.jpg", "plan.eps"):
        (folder / name).write_bytes(eps)
    for name in ("pipe.jpg", "pipe"):
        os.mkfifo(folder / name)
    Image.new("1", (13_300, 13_300)).save(folder / "bomb.png")
    generate(folder, tmp_path / "out")
    failures = map(json.loads, (tmp_path / "out" / "failures.jsonl").read_text().splitlines())
    assert {line["file_name"]: line["reason"] for line in failures} == {
        "bomb.png": "13300x13300 pixels: over the limit of 134217728 (INPUT.MAX_PIXELS)",
        "photo.jpg": "EPS is not read; convert it to PNG or TIFF",
        "plan.eps": "EPS is not read; convert it to PNG or TIFF",
        "pipe.jpg": "a FIFO, not a file",
        "pipe": "a FIFO, not a file",
    }
    assert len(read_label_set(tmp_path / "out").images) == 2


class _Learnt:
    """Features whose weights have seen labels; everything else is that of the stand-in."""

    def __init__(self, features: object, words: tuple[str, ...]) -> None:
        self.features, self.supervision = features, words

    def __getattr__(self, name: str) -> object:
        return getattr(self.features, name)

    def __call__(self, images: list) -> object:
        return self.features(images)


@pytest.mark.parametrize(("words", "said"), [(("none",), False), (("imagenet-labels",), True)])
def test_a_label_set_says_what_its_features_have_learnt_from(images, tmp_path, words, said) -> None:
    def build(cfg: CfgNode) -> object:
        pipeline = fake_pipeline(cfg)
        return dataclasses.replace(pipeline, features=_Learnt(pipeline.features, words))

    path = generate_label_set(settings(), images, tmp_path / "out", build=build, num_workers=0)
    assert list(json.loads(path.read_text())["info"]["supervision"]) == list(words)
    assert list(read_label_set(path).info["supervision"]) == list(words)
    assert ("ImageNet labels in the backbone" in summarise(tmp_path / "out")) == said


def test_no_work_in_silence(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match=r"1 share or more and 0 processes or more, not 1 and -1"):
        generate_label_set(settings(), images, tmp_path / "out", num_workers=-1)
    with pytest.raises(UnsegError, match=r"is a folder of images, on which ::masks has no effect"):
        generate_label_set(settings(), f"{images}::masks", tmp_path / "out", num_workers=0)
