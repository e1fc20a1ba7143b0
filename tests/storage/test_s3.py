"""Against a server of S3 on this machine (moto): listing, archives, credentials, what is not there."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
from packing import encoded, write_parquet, write_tar

from unseg_d2.data.pictures.decode import read_picture
from unseg_d2.data.scan import scan_images
from unseg_d2.errors import UnsegError
from unseg_d2.storage import archives
from unseg_d2.storage.access import is_folder, look, names_in, read_bytes
from unseg_d2.storage.problems import Unreachable

s3fs = pytest.importorskip("s3fs", reason="the extra 's3' is not installed")
server_module = pytest.importorskip("moto.server", reason="moto, with its server, is not installed")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = server_module.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3fs.S3FileSystem]:
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem(use_listings_cache=False)
    store.mkdir("bucket")
    yield store
    store.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def values(named: str) -> dict[str, int]:
    """File name to the grey value of each image."""
    _, folder = scan_images(named)
    return {image.file_name: int(read_picture(image.path).pixels[0, 0, 0]) for image in folder.images}


def test_a_folder(bucket: s3fs.S3FileSystem) -> None:
    for name in ("a/1.png", "a/2.png", "3.png"):
        bucket.pipe_file(f"bucket/photos/{name}", encoded(int(name[-5])))
    bucket.pipe_file("bucket/photos/a/1.json", b"{}")
    assert values("s3://bucket/photos") == {"3.png": 3, "a/1.png": 1, "a/2.png": 2}
    assert values("s3://bucket/photos/a") == {"1.png": 1, "2.png": 2} and values("s3://bucket/photos/*/2.png")
    assert sorted(names_in("s3://bucket/photos")) == ["3.png", "a"] and is_folder("s3://bucket/photos/a")
    found = look("s3://bucket/photos/3.png")
    assert found.size == len(encoded(3)) and 1.7e9 < found.changed < 4e9
    with pytest.raises(FileNotFoundError):
        read_bytes("s3://bucket/photos/4.png")


def test_processes_that_are_forked_read_too(bucket: s3fs.S3FileSystem) -> None:
    """As the loaders of a training are, after the store was used."""
    bucket.pipe_file("bucket/photos/1.png", encoded(1))
    assert read_bytes("s3://bucket/photos/1.png") == encoded(1)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(read_bytes, ["s3://bucket/photos/1.png"] * 4).get(timeout=30)
    assert found == [encoded(1)] * 4


def test_archives(bucket: s3fs.S3FileSystem, tmp_path: Path) -> None:
    for number in range(2):
        tar = write_tar(tmp_path / f"{number}.tar", {f"{k}.png": encoded(10 * number + k) for k in range(3)})
        bucket.put_file(str(tar), f"bucket/shards/{number:06d}.tar")
    archives.forget("/s3:")
    expected = {f"{number:06d}.tar/{k}.png": 10 * number + k for number in range(2) for k in range(3)}
    assert values("s3://bucket/shards") == values("s3://bucket/shards/{000000..000001}.tar") == expected
    assert values("s3://bucket/shards/*.tar") == expected
    pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    table = write_parquet(tmp_path / "a.parquet", [encoded(5), encoded(6)])
    bucket.put_file(str(table), "bucket/tables/a.parquet")
    assert values("s3://bucket/tables") == {"a.parquet/000000.png": 5, "a.parquet/000001.png": 6}


def test_what_is_not_there_or_not_allowed(bucket: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    for named in ("s3://nobucket/photos", "s3://bucket/missing"):
        with pytest.raises(UnsegError, match=f"There is no folder {named}"):
            scan_images(named)
    bucket.pipe_file("bucket/photos/notes.txt", b"text")
    with pytest.raises(UnsegError, match=r"There is no file s3://bucket/photos/9\.png, which"):
        scan_images("s3://bucket/photos/{9..9}.png")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(
        Unreachable, match=r"s3://bucket/photos cannot be reached \(.*127\.0\.0\.1:9.*\); check the address"
    ):
        scan_images("s3://bucket/photos")
