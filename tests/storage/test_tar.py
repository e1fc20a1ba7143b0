"""Against `tarfile`, which unpacks."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from packing import encoded, write_tar

from unseg_d2.storage.problems import BadArchive
from unseg_d2.storage.tar import list_tar

PICTURES = {f"{folder}{k:03d}.png": encoded(k) for k, folder in enumerate(["", "a/", "b/", "long/" * 40])}


def listed(path: Path) -> dict[str, bytes]:
    content = path.read_bytes()
    found = list_tar(io.BytesIO(content), str(path))
    return {name: content[start : start + size] for name, start, size in zip(found, found.places, found.sizes)}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_bytes_lie_where_it_says(tmp_path: Path, form: int) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
        for name, content in PICTURES.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert listed(tmp_path / "a.tar") == PICTURES


def test_a_tar_in_a_tar_is_a_folder(tmp_path: Path) -> None:
    inner = [
        write_tar(tmp_path / f"n{k}.tar", {f"n{k}_1.JPEG": encoded(k), f"n{k}_2.JPEG": encoded(9 + k)}) for k in (1, 2)
    ]
    outer = write_tar(tmp_path / "train.tar", {f"train/{path.name}": path.read_bytes() for path in inner})
    assert listed(outer) == {
        f"train/n{k}.tar/n{k}_{number}.JPEG": encoded(value) for k in (1, 2) for number, value in ((1, k), (2, 9 + k))
    }


def test_links_lead_to_the_same_bytes(tmp_path: Path) -> None:
    with tarfile.open(write_tar(tmp_path / "a.tar", {"a/1.png": encoded(1)}), "a") as archive:
        for name, kind, target in [
            ("hard.png", tarfile.LNKTYPE, "a/1.png"),
            ("a/soft.png", tarfile.SYMTYPE, "1.png"),
            ("gone.png", tarfile.SYMTYPE, "/etc/passwd"),
        ]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    assert listed(tmp_path / "a.tar") == dict.fromkeys(["a/1.png", "a/soft.png", "hard.png"], encoded(1))
    problems = list_tar(io.BytesIO((tmp_path / "a.tar").read_bytes()), "a.tar").problems
    assert problems == [("gone.png", "a link to /etc/passwd, which is not in the archive")]


def test_names_that_lead_out_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    names = ["../x.png", "/etc/y.png", "a/../../z.png", "._1.png", ".cache/2.png", "a/../3.png"]
    path = write_tar(tmp_path / "a.tar", [(name, encoded(1)) for name in names])
    assert listed(path) == {"3.png": encoded(1)}
    found = list_tar(io.BytesIO(path.read_bytes()), "a.tar")
    assert [name for name, reason in found.problems] == names[:3] and "leads out" in found.problems[0][1]


def test_wherever_a_tar_is_cut_no_image_is_lost_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Cut in an image, in a header, or after one; the last leaves a whole tar without the mark at its end."""
    content = write_tar(tmp_path / "a.tar", {"1.png": encoded(1), "2.png": encoded(2)}).read_bytes()
    for size in (*range(1, 2600, 100), 1024, 1025, 2047):
        caplog.clear()
        try:
            found = list(list_tar(io.BytesIO(content[:size]), "a.tar"))
        except BadArchive as error:
            assert "a.tar" in str(error) and "\n" not in str(error)
        else:
            assert found == ["1.png", "2.png"] or "no mark at its end" in caplog.text
    with pytest.raises(BadArchive, match="ends early or is damaged after 1,024 bytes: copy it again"):
        list_tar(io.BytesIO(content[:1024] + b"x" * 5000), "a.tar")


def test_what_is_no_tar_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = write_tar(tmp_path / "a.tar", PICTURES).read_bytes()
    with pytest.raises(BadArchive, match=r"a\.tar is compressed.*decompress it"):
        list_tar(io.BytesIO(gzip.compress(content)), "a.tar")
    for other in (b"", b"<html>" * 500, encoded(1)):
        with pytest.raises(BadArchive, match="no tar archive"):
            list_tar(io.BytesIO(other), "a.tar")
    assert len(list_tar(io.BytesIO(content + bytes(20_000) + content), "a.tar")) == len(PICTURES)
    assert "archives are not joined with cat" in caplog.text


def test_a_damaged_tar_inside_is_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "train.tar", {"n1.tar": b"no tar" * 200})
    with pytest.raises(BadArchive, match=r"train\.tar/n1\.tar is no tar archive"):
        list_tar(io.BytesIO(path.read_bytes()), "train.tar")
