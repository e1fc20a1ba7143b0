"""One name for a file wherever it is: on the disk, in archives, in a store (here fsspec's, in the memory)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from packing import encoded, files_of, write_parquet, write_tar

from unseg_d2.content import Comparison, content_of
from unseg_d2.data.spec import relative_root
from unseg_d2.errors import UnsegError
from unseg_d2.storage import archives, remote
from unseg_d2.storage.access import StoredFile, files_below, is_folder, is_there, look, names_in, read_bytes, resolved
from unseg_d2.storage.addresses import to_path
from unseg_d2.storage.problems import BadArchive, Unreachable

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
FILES = {"a/1.png": encoded(1), "a/2.png": encoded(2), "b.png": encoded(3), "notes.txt": b"text"}


def fill(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def store() -> Iterator[Path]:
    """A folder of a store, as a path."""
    memory = fsspec.filesystem("memory", use_listings_cache=False)
    for name, content in FILES.items():
        memory.pipe_file(f"/bucket/photos/{name}", content)
    yield to_path("memory://bucket/photos")
    memory.rm("/bucket", recursive=True)


@pytest.fixture(params=["folder", "tar", "tar in tar", "store", "tar in store"])
def root(request: pytest.FixtureRequest, tmp_path: Path, store: Path) -> Path:
    """The same files in five places."""
    if request.param == "folder":
        return fill(tmp_path / "photos")
    tar = write_tar(tmp_path / "photos.tar", FILES)
    if request.param == "tar":
        return tar
    if request.param == "tar in tar":
        return write_tar(tmp_path / "all.tar", {"photos.tar": tar.read_bytes()}) / "photos.tar"
    if request.param == "store":
        return store
    fsspec.filesystem("memory").pipe_file("/bucket/photos.tar", tar.read_bytes())
    archives.forget("/memory:")
    return to_path("memory://bucket/photos.tar")


def test_all_places_answer_alike(root: Path) -> None:
    assert is_folder(root) and is_folder(root / "a") and not is_folder(root / "b.png") and not is_folder(root / "c")
    assert sorted(names_in(root)) == ["a", "b.png", "notes.txt"] and sorted(names_in(root / "a")) == ["1.png", "2.png"]
    for name, content in FILES.items():
        assert is_there(root / name) and read_bytes(root / name) == content
        assert look(root / name).size == len(content) == StoredFile(root / name).size()
        with StoredFile(root / name).open() as file:
            assert file.read(4) + file.read() == content
    for name in ("a/3.png", "b.png/1.png", "gone/1.png"):
        assert not is_there(root / name) and content_of(root / name) is None
        with pytest.raises(OSError):
            look(root / name)


def test_contents_are_the_same_everywhere(root: Path, tmp_path: Path) -> None:
    there = fill(tmp_path / "copy")
    assert all(content_of(root / name) == content_of(there / name) for name in files_of(there))


def test_links_to_archives_keep_their_names(tmp_path: Path) -> None:
    """As in the cache of Hugging Face, whose files have no ending."""
    write_tar(tmp_path / "blobs" / "0a1b", FILES)
    (tmp_path / "data.tar").symlink_to(tmp_path / "blobs" / "0a1b")
    (tmp_path / "link").symlink_to(tmp_path)
    linked = tmp_path / "link" / "data.tar"
    assert resolved(linked) == tmp_path.resolve() / "data.tar" and is_folder(resolved(linked / "a"))
    assert resolved(tmp_path / "link") == tmp_path.resolve() and read_bytes(linked / "b.png") == FILES["b.png"]
    assert relative_root(linked, tmp_path / "out") == "../data.tar"
    assert resolved("s3://bucket/a") == to_path("s3://bucket/a")


def test_a_replaced_archive_is_read_anew(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", {"1.png": encoded(1)})
    assert read_bytes(tar / "1.png") == encoded(1)
    write_tar(tmp_path / "new", {"0.png": encoded(0), "1.png": encoded(2)}).replace(tar)
    assert read_bytes(tar / "1.png") == encoded(2) and is_there(tar / "0.png")


def test_only_an_archive_that_was_touched_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = write_tar(tmp_path / "data" / "a.tar", {"1.png": encoded(1), "2.png": encoded(2)})
    seen = content_of(tar / "1.png")
    now = os.stat(tar).st_ctime
    assert not Comparison(tmp_path / "out", now).has_changed(tar / "1.png", seen)
    assert Comparison(tmp_path / "out", now).has_changed(tar / "1.png", content_of(tar / "2.png"))
    assert not Comparison(tmp_path / "out", now).has_changed(tar / "gone.png", seen)
    monkeypatch.setattr("unseg_d2.content.content_of", lambda path: pytest.fail("the image was read"))
    assert not Comparison(tmp_path / "out", now + 3e9).has_changed(tar / "1.png", seen)


def test_rows_of_a_table_are_compared_by_their_bytes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    path = write_parquet(tmp_path / "a.parquet", [encoded(1), encoded(2)])
    first, second = path / "000000.png", path / "000001.png"
    assert look(first).size is None and read_bytes(second) == encoded(2)
    made = os.stat(path).st_ctime
    assert not Comparison(tmp_path / "out", made).has_changed(first, content_of(first))
    assert Comparison(tmp_path / "out", made).has_changed(first, content_of(second))


def test_long_listings_are_kept_and_damaged_ones_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(archives.FOLDER, str(tmp_path / "kept"))
    monkeypatch.setattr(archives, "MANY", 1)
    tar = write_tar(tmp_path / "a.tar", {"1.png": encoded(1), "../x.png": encoded(2)})
    first = archives.listing(str(tar))
    (kept,) = (tmp_path / "kept").iterdir()
    with monkeypatch.context() as patch:
        patch.setitem(archives.ENDINGS, ".tar", lambda file, where: pytest.fail("it was listed again"))
        patch.setattr(archives, "_held", {})
        again = archives.listing(str(tar))
    assert list(again) == list(first) == ["1.png"] and again.problems == first.problems
    for damage in (b"", b"x" * 100, kept.read_bytes()[:-30]):
        kept.write_bytes(damage)
        monkeypatch.setattr(archives, "_held", {})
        assert list(archives.listing(str(tar))) == ["1.png"]
    assert not [path for path in tmp_path.iterdir() if path.name not in ("a.tar", "kept")]  # nothing beside the tar


def test_a_store_is_listed_once_where_many_files_are_asked_for(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    there = remote.look
    monkeypatch.setattr(remote, "look", lambda address: asked.append(address) or there(address))
    monkeypatch.setattr("unseg_d2.storage.access.FEW", 2)
    for _ in range(5):
        assert look(store / "a/1.png").size == len(FILES["a/1.png"])
    assert len(asked) <= 3
    assert sorted(files_below(store)) == sorted(FILES)


def test_a_store_that_does_not_answer_ends_the_work(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Could not connect\nto the endpoint")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", refuse)
    expected = (
        r"memory://bucket/photos/b.png cannot be reached \(Could not connect to the endpoint\); check the address"
    )
    for read in (read_bytes, content_of):
        with pytest.raises(Unreachable, match=expected):
            read(store / "b.png")


def test_addresses_of_unknown_kinds_are_said() -> None:
    with pytest.raises(UnsegError, match="nothing://a/b is an address of an unknown kind"):
        is_folder("nothing://a/b")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(UnsegError, match=r"'s3fs' is not installed; install it with: pip install 'unseg-d2\[s3\]'"):
        is_folder("s3://bucket/photos")


def test_a_cut_archive_is_refused_wherever_it_is_used(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", FILES)
    tar.write_bytes(tar.read_bytes()[:700])
    for use in (is_there, look, read_bytes, content_of):
        with pytest.raises(BadArchive, match="ends early"):
            use(tar / "a/1.png")
