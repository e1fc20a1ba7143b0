"""Images in folders, archives and stores by one way of naming them."""

from __future__ import annotations

from pathlib import Path

import pytest
from packing import encoded, write_parquet, write_tar

from unseg_d2.config import load_cfg
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.images import list_images, read_image, scan_folder, scan_images
from unseg_d2.data.media import list_media
from unseg_d2.data.scan import A_PACKED_VIDEO, BESIDE
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.inputs import list_inputs

CLASSES = {"n01/n01_1.JPEG": encoded(1, "JPEG"), "n01/n01_2.JPEG": encoded(2, "JPEG"), "n02/n02_1.JPEG": encoded(3)}


def names(named: Path | str) -> list[str]:
    return [image.file_name for image in scan_images(named)[1].images]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of webdataset."""
    for number in range(2):
        samples = {}
        for key in (f"{number}0", f"{number}1"):
            samples |= {f"{key}.cls": b"7", f"{key}.jpg": encoded(int(key)), f"{key}.json": b"{}"}
        write_tar(tmp_path / "shards" / f"shard-{number:06d}.tar", samples)
    return tmp_path / "shards"


def test_class_folders_of_imagenet(tmp_path: Path) -> None:
    for name, content in CLASSES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert names(tmp_path) == list(CLASSES) and names(tmp_path / "n02") == ["n02_1.JPEG"]
    assert list_inputs(tmp_path, load_cfg(None, [])).file_names == list(CLASSES)


def test_the_tar_of_tars_of_imagenet_has_the_names_of_its_folders(tmp_path: Path) -> None:
    for name in ("n01", "n02"):
        inside = {key.split("/")[1]: value for key, value in CLASSES.items() if key.startswith(name)}
        write_tar(tmp_path / f"{name}.tar", inside)
    tars = {path.name: path.read_bytes() for path in sorted(tmp_path.glob("*.tar"))}
    train = write_tar(tmp_path / "train.tar", tars)
    assert names(train) == [name.replace("/", ".tar/", 1) for name in CLASSES]
    assert names(train / "n02.tar") == ["n02_1.JPEG"]
    assert read_image(train / "n01.tar" / "n01_2.JPEG")[0, 0, 0] == 2


def test_shards_by_folder_by_one_name_and_by_pattern(shards: Path) -> None:
    every = [f"shard-00000{k}.tar/{k}{sample}.jpg" for k in (0, 1) for sample in (0, 1)]
    assert names(shards) == names(f"{shards}/shard-{{000000..000001}}.tar") == names(f"{shards}/*.tar") == every
    assert names(f"{shards}/shard-{{000001..000001}}.tar") == every[2:]
    assert names(shards / "shard-000001.tar") == ["10.jpg", "11.jpg"]
    root, folder = scan_images(f"{shards}/*.tar")
    assert root == shards and all(image.path == shards / image.file_name for image in folder.images)
    assert [read_image(image.path)[0, 0, 0] for image in folder.images] == [0, 1, 10, 11]
    assert folder.others.line() == "8 other files are no pictures (4 .cls, 4 .json)."
    with pytest.raises(UnsegError, match=r"There is no file .*shard-000002\.tar, which .* names"):
        scan_images(f"{shards}/shard-{{000000..000002}}.tar")


def test_what_belongs_to_an_image_in_its_sample_is_none(tmp_path: Path) -> None:
    """The key of a sample is a name up to its first dot, the rest says what it is."""
    files = ["a/1.jpg", "a/1.seg.png", "a/1.depth.png", "a/2.seg.png", "a/3.jpg", "a/3.png", "a.b/4.jpg"]
    tar = write_tar(tmp_path / "a.tar", dict.fromkeys(files, encoded(1)))
    assert names(tar) == ["a.b/4.jpg", "a/1.jpg", "a/2.seg.png", "a/3.jpg", "a/3.png"]
    assert [kind["suffix"] for kind in scan_folder(tar).others.to_json()] == [".depth.png", ".seg.png"]


def test_an_archive_beside_images_is_left_alone_and_said(shards: Path) -> None:
    (shards / "unpacked.png").write_bytes(encoded(1))
    folder = scan_folder(shards)
    assert [image.file_name for image in folder.images] == ["unpacked.png"]
    assert dict(folder.others.problems()) == dict.fromkeys(["shard-000000.tar", "shard-000001.tar"], BESIDE)
    assert len(names(f"{shards}/*.tar")) == 4


def test_what_an_archive_holds_besides(tmp_path: Path) -> None:
    tar = write_tar(
        tmp_path / "a.tar",
        [
            ("1.png", encoded(1)),
            ("film.mp4", b"film"),
            ("../out.png", encoded(2)),
            ("twice.png", encoded(3)),
            ("twice.png", encoded(4)),
            ("picture", encoded(5)),
            ("plan", b"%!PS-Adobe-3.0 EPSF-3.0"),
            ("readme", b"hello"),
        ],
    )
    folder = scan_folder(tar)
    assert [image.file_name for image in folder.images] == ["1.png", "picture", "twice.png"] and not folder.videos
    reasons = dict(folder.others.problems())
    assert reasons["film.mp4"] == A_PACKED_VIDEO and "leads out" in reasons["../out.png"]
    assert "another file of this name" in reasons["twice.png"] and reasons["plan"].startswith("EPS is not read")
    assert len(folder.others) == 5
    assert read_image(tar / "twice.png")[0, 0, 0] == 4  # as when it is unpacked


def test_tables(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
    for number in range(2):
        write_parquet(tmp_path / "data" / f"train-{number:05d}.parquet", [encoded(k + 5 * number) for k in range(3)])
    expected = [f"train-{number:05d}.parquet/{row:06d}.png" for number in range(2) for row in range(3)]
    assert names(tmp_path / "data") == names(f"{tmp_path}/data/train-{{00000..00001}}.parquet") == expected
    assert [read_image(image.path)[0, 0, 0] for image in list_images(tmp_path / "data")] == [0, 1, 2, 5, 6, 7]
    parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "data" / "captions.parquet")
    folder = scan_folder(tmp_path / "data")
    assert len(folder.images) == 6
    assert dict(folder.others.problems()) == {"captions.parquet": "a table without a column of images"}
    with pytest.raises(UnsegError, match=r"captions\.parquet has no column of images"):
        scan_folder(tmp_path / "data" / "captions.parquet")


def test_archives_without_images_are_an_error(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", {"1.json": b"{}", "1.cls": b"3"})
    for named in (tar, f"{tmp_path}/*.tar"):
        with pytest.raises(UnsegError, match=r"There is no image in .*\.tar: none of its 2 files is one\."):
            list_inputs(named, load_cfg(None, []))
    with pytest.raises(UnsegError, match=r"No file matches .*\*\.zip"):
        list_inputs(f"{tmp_path}/*.zip", load_cfg(None, []))
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(UnsegError, match=r"The archive .*a\.tar ends early.*copy it again"):
        list_inputs(tmp_path, load_cfg(None, []))


def test_all_commands_take_the_same_names(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg, pattern = load_cfg(None, []), f"{shards}/shard-{{000000..000001}}.tar"
    inputs = list_inputs(pattern, cfg)
    assert inputs.root == shards and inputs.ids == [1, 2, 3, 4]
    paths = [str(shards / name) for name in inputs.file_names]
    for named in (str(shards), pattern):
        assert [record["file_name"] for record in load_dataset(named, cfg)] == paths
        assert [str(path) for path in list_media([named]).images] == paths
    monkeypatch.chdir(shards)
    tar = "shard-000000.tar"
    assert len(load_dataset(tar, cfg)) == len(list_inputs(tar, cfg)) == len(list_media([tar]).images) == 2
    assert len(list_media([f"{tar}/00.jpg"]).images) == 1
