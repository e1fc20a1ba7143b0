"""Label sets of images in archives and stores: the same masks as of a folder, resuming, and what is wrong with some."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packing import files_of, write_parquet, write_tar
from pseudo_fakes import fake_pipeline, picture, save_pictures

from unseg_d2.config import load_cfg
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.coco import find_image_root, open_coco
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.pictures import place
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.steps import Reader
from unseg_d2.storage.addresses import to_path
from unseg_d2.storage.problems import Unreachable

CFG = load_cfg(None, ["FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "64", "PSEUDO.SHARD_SIZE", "4"])
COUNT = 10


def generate(images: Path | str, output: Path, *opts: Any) -> dict[str, Any]:
    cfg = CFG if not opts else load_cfg(None, [*("FEATURES.DEVICE", "cpu"), *opts])
    return json.loads(generate_label_set(cfg, images, output, num_workers=0, build=fake_pipeline).read_bytes())


def masks(labels: dict[str, Any]) -> list[Any]:
    """What was found, whatever the names of the images."""
    found = [(a["image_id"], a["segmentation"], a["score"], a["confidence"]) for a in labels["annotations"]]
    return [*found, [(image["id"], image["height"], image["width"]) for image in labels["images"]]]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "images", COUNT)


@pytest.fixture
def shards(images: Path, tmp_path: Path) -> Path:
    """The images in two tars, in their order."""
    files = list(files_of(images).items())
    for number, part in enumerate((files[:6], files[6:])):
        write_tar(tmp_path / "shards" / f"{number:06d}.tar", part)
    return tmp_path / "shards"


def test_masks_of_tars_are_those_of_a_folder(images: Path, shards: Path, tmp_path: Path) -> None:
    expected = generate(images, tmp_path / "of_folder")
    names = list(files_of(images))
    packed = generate(f"{shards}/{{000000..000001}}.tar", tmp_path / "of_tars")
    assert masks(packed) == masks(expected) and len(packed["images"]) == COUNT
    assert [image["file_name"] for image in packed["images"]] == [
        f"{'000000' if k < 6 else '000001'}.tar/{name}" for k, name in enumerate(names)
    ]
    one = write_tar(tmp_path / "all.tar", files_of(images))
    whole = generate(one, tmp_path / "of_tar")
    assert whole["images"] == expected["images"] and whole["annotations"] == expected["annotations"]
    assert whole["info"]["image_root"] == "../all.tar"
    nested = write_tar(tmp_path / "nested.tar", {"n1.tar": one.read_bytes()})
    assert masks(generate(nested, tmp_path / "of_nested")) == masks(expected)


def test_masks_of_tables_are_those_of_a_folder(images: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    content = list(files_of(images).values())
    write_parquet(tmp_path / "data" / "train-00000.parquet", content[:7], row_group_size=3)
    write_parquet(tmp_path / "data" / "train-00001.parquet", content[7:], row_group_size=3)
    packed = generate(tmp_path / "data", tmp_path / "of_tables")
    assert masks(packed) == masks(generate(images, tmp_path / "of_folder"))
    assert packed["images"][8]["file_name"] == "train-00001.parquet/000001.png"


def test_it_resumes_and_makes_only_what_has_changed_again(shards: Path, tmp_path: Path, monkeypatch) -> None:
    output = tmp_path / "out"
    whole = generate(shards, output)
    before = {path.name: path.read_bytes() for path in (output / "shards").glob("*.jsonl")}
    (output / "labels.json").unlink()
    (output / "shards" / sorted(before)[1]).unlink()
    made: list[str] = []
    read = Reader.__call__
    monkeypatch.setattr(Reader, "__call__", lambda reader, image: made.append(image[1]) or read(reader, image))
    assert generate(shards, output) == whole
    size = len(before[sorted(before)[0]].splitlines())
    assert made == [image["file_name"] for image in whole["images"][size : 2 * size]]
    made.clear()
    changed = whole["images"][COUNT - 1]["file_name"]
    content = files_of_tar(shards / "000001.tar")
    picture(99).save(tmp_path / "other.png")
    content[changed.partition("/")[2]] = (tmp_path / "other.png").read_bytes()
    write_tar(shards / "000001.tar", content)
    again = generate(shards, output)
    assert changed in made and len(made) <= size  # its batch, and no other
    assert masks(again)[: COUNT - 1] == masks(whole)[: COUNT - 1] and masks(again) != masks(whole)


def files_of_tar(path: Path) -> dict[str, bytes]:
    from unseg_d2.storage.access import files_below, read_bytes

    return {name: read_bytes(path / name) for name in files_below(path)}


def test_images_that_cannot_be_used_are_recorded(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "good.png")
    good = (tmp_path / "good.png").read_bytes()
    files = [("bad.png", good[:60]), ("empty.png", b""), ("good.png", good), ("../out.png", good), ("1.json", b"{}")]
    labels = generate(write_tar(tmp_path / "a.tar", files), tmp_path / "out")
    assert [image["file_name"] for image in labels["images"]] == ["good.png"]
    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert {line["file_name"]: line["reason"] for line in failures} == {
        "bad.png": "truncated",
        "empty.png": "zero bytes",
        "../out.png": "its name leads out of the archive",
    }


def test_label_sets_find_their_images_in_archives(shards: Path, images: Path, tmp_path: Path) -> None:
    generate(shards, tmp_path / "out")
    path = tmp_path / "out" / "labels.json"
    assert find_image_root(open_coco(path), path) == shards
    records = load_dataset(str(path), CFG)
    assert records[0]["file_name"] == str(shards / "000000.tar" / "000.png")
    assert list(records) == list(load_dataset(f"{path}::{shards}/{{000000..000001}}.tar", CFG))
    (shards / "000001.tar").unlink()
    with pytest.raises(UnsegError, match=r"4 of the 10 images of .* are not in .*shards; the first is 000001\.tar/"):
        load_dataset(str(path), CFG)
    place(shards, "000000.tar/000.png", tmp_path / "copy" / "000.png", "copy")
    assert (tmp_path / "copy" / "000.png").read_bytes() == (images / "000.png").read_bytes()
    with pytest.raises(UnsegError, match=r"no file on the disk that could be linked; use --images-as copy"):
        place(shards, "000000.tar/000.png", tmp_path / "link.png", "link")


@pytest.fixture
def bucket(images: Path) -> Iterator[Path]:
    """The images in a store in the memory."""
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    memory = fsspec.filesystem("memory", use_listings_cache=False)
    for name, content in files_of(images).items():
        memory.pipe_file(f"/bucket/images/{name}", content)
    yield to_path("memory://bucket/images")
    memory.rm("/bucket", recursive=True)


def test_masks_of_an_address_are_those_of_a_folder(
    bucket: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "deep" / "out"
    packed = generate("memory://bucket/images", output)
    assert masks(packed) == masks(generate(images, tmp_path / "of_folder"))
    assert packed["info"]["image_root"] == "memory://bucket/images"
    spec = f"{output / 'labels.json'}::memory://bucket/images"
    assert load_dataset(spec, CFG)[0]["file_name"] == str(bucket / "000.png")
    with pytest.raises(UnsegError, match=r"The images of .* were not found"):
        load_dataset(str(output / "labels.json"), CFG)  # of stores, a file may name those with credentials only
    monkeypatch.setattr(Reader, "__call__", lambda *_: pytest.fail("an image was made again"))
    (output / "labels.json").unlink()
    assert masks(generate("memory://bucket/images", output)) == masks(packed)


def test_a_store_that_fails_ends_the_run_which_resumes(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    store = type(fsspec.filesystem("memory"))
    read: Callable[..., bytes] = store.cat_file
    calls: list[str] = []

    def failing(self, path: str, **options: Any) -> bytes:
        calls.append(path)
        if len(calls) > 5:
            raise RuntimeError("the network is unreachable")
        return read(self, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store, "cat_file", failing)
        with pytest.raises(Unreachable, match="the same command resumes"):
            generate("memory://bucket/images", tmp_path / "out")
    labels = generate("memory://bucket/images", tmp_path / "out")
    assert len(labels["images"]) == COUNT and (tmp_path / "out" / "failures.jsonl").read_bytes() == b""
    assert len(calls) == len(set(calls)) == 6  # each was read once, for its content and its pixels


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("memory://bucket/missing", "There is no folder memory://bucket/missing"),
        ("nothing://bucket/a", "is an address of an unknown kind"),
    ],
)
def test_addresses_without_images(bucket: Path, tmp_path: Path, named: str, message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        generate(named, tmp_path / "out")
    assert not os.path.exists(tmp_path / "out" / "manifest.json")
