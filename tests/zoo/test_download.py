"""Downloads against a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import multiprocessing
import os
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from unseg_d2.errors import UnsegError
from unseg_d2.zoo.download import download

CONTENT = b"\x80" + bytes(range(256)) * 4000 + b"\x80"  # begins as a pickle does, also backwards
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def path(server, tmp_path: Path) -> Path:
    server.content = CONTENT
    return tmp_path / "zoo" / "file.pth"


def visible(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def test_whole_file(server, path):
    assert download(server.address, path, sha256=SHA256) == SHA256
    assert path.read_bytes() == CONTENT
    assert visible(path.parent) == ["file.pth"]
    assert download(server.address, path, sha256=SHA256) == SHA256
    assert server.ranges == [""], "a file that is there is not asked for"


def test_goes_on_within_a_call(server, path):
    server.cut_after = [1000, 200_000, 0]
    assert download(server.address, path, sha256=SHA256, pause=0.0) == SHA256
    assert server.ranges == ["", "bytes=1000-", "bytes=201000-", "bytes=201000-"]
    assert path.read_bytes() == CONTENT


def test_goes_on_in_a_later_call(server, path):
    path.parent.mkdir()
    path.with_name("file.pth.part").write_bytes(CONTENT[:5000])
    assert download(server.address, path, sha256=SHA256) == SHA256
    assert server.ranges == ["bytes=5000-"]


def test_a_complete_part_is_not_fetched_again(server, path):
    path.parent.mkdir()
    path.with_name("file.pth.part").write_bytes(CONTENT)
    assert download(server.address, path) == SHA256
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_is_thrown_away(server, path):
    path.parent.mkdir()
    path.with_name("file.pth.part").write_bytes(CONTENT + b"more")
    with pytest.raises(UnsegError, match="cannot be fetched"):
        download(server.address, path, pause=0.0)
    assert download(server.address, path, sha256=SHA256) == SHA256


def test_another_file_by_now_is_fetched_from_its_start(server, path):
    server.cut_after = [1000, 0, 0, 0, 0, 0]
    with pytest.raises(UnsegError, match="resumes where it stopped"):
        download(server.address, path, pause=0.0)
    server.content, server.etag = CONTENT[::-1], '"2"'
    download(server.address, path)
    assert path.read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges(server, path):
    server.knows_ranges, server.cut_after = False, [1000]
    assert download(server.address, path, sha256=SHA256, pause=0.0) == SHA256


def test_wrong_checksum(server, path):
    with pytest.raises(UnsegError, match=f"has the sha256 {SHA256} instead of {'0' * 64}"):
        download(server.address, path, sha256="0" * 64)
    assert visible(path.parent) == []


def test_no_such_file(server, path):
    with pytest.raises(UnsegError, match=r"answers 404 .*look at http://example.org"):
        download(server.address + "x", path, page="http://example.org")


def test_a_web_page_instead_of_the_file(server, path):
    server.kind = "text/html"
    with pytest.raises(UnsegError, match="web page instead of the file; fetch it with a browser"):
        download(server.address, path)
    assert visible(path.parent) == []


def test_refused_connection(path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/file.pth"
        with pytest.raises(UnsegError, match=r"cannot be fetched \(.*refused") as error:
            download(address, path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_no_network(path):
    with pytest.raises(UnsegError, match="cannot be fetched"):
        download("http://no-such-host.invalid/file.pth", path)


def test_a_full_disk(server, path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnsegError, match="disk is full"):
        download(server.address, path)


def test_two_processes_fetch_it_once(server, path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=download, args=(server.address, path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert server.ranges == [""] and path.read_bytes() == CONTENT


def zipped(cut: int = 0) -> bytes:
    stream = io.BytesIO()
    torch.save({"weight": torch.arange(4.0)}, stream)
    return stream.getvalue()[: len(stream.getvalue()) - cut]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"\xef\xbb\xbf<html>", "a web page"),
        (gzip.compress(zipped()), "a file compressed with gzip"),
        (b'{"error": "quota exceeded"}', "a text"),
        (b"Too many users have viewed or downloaded this file recently.", "something else"),
        (zipped(cut=200), "a file that was cut off"),
    ],
)
def test_bodies_that_are_no_weights_are_not_kept(content, problem, server, path):
    server.content = content
    with pytest.raises(UnsegError, match=f"delivers {problem} .*with a browser"):
        download(server.address, path)
    assert visible(path.parent) == []


def test_safetensors_are_known_by_their_header(server, tmp_path):
    server.content = save({"weight": torch.arange(4.0)})
    assert download(server.address, tmp_path / "zoo" / "file.safetensors")
    server.content = server.content[:20]
    with pytest.raises(UnsegError, match="delivers a damaged file"):
        download(server.address, tmp_path / "other" / "file.safetensors")


@pytest.mark.parametrize("name", ["file.pth.part", ".file.pth.lock", ".file.pth.part.version"])
def test_links_are_not_followed(name, server, path, tmp_path):
    path.parent.mkdir()
    (tmp_path / "diary").write_text("dear diary")
    (path.parent / name).symlink_to(tmp_path / "diary")
    with pytest.raises(UnsegError, match="symbolic link, which is not followed"):
        download(server.address, path)
    assert (tmp_path / "diary").read_text() == "dear diary"


def test_a_length_that_is_no_number(server, path):
    server.length = "many"
    with pytest.raises(UnsegError, match="no valid length"):
        download(server.address, path)
