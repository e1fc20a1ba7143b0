"""Files called as images are: one for each image, never one of two, never one for two."""

from __future__ import annotations

from pathlib import Path

import pytest

from unseg_d2.data.beside import by_name, check_not_shared, file_beside
from unseg_d2.data.images import ImageProblem
from unseg_d2.errors import UnsegError

ENDINGS = (".npy", ".png")


@pytest.mark.parametrize("name", ["a.npy", "a.png", "a.PNG"])
def test_the_one_file_of_an_image_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.b.npy").touch()  # of another image
    (tmp_path / "a.npz").touch()  # no such extension
    assert file_beside(tmp_path / "a", ENDINGS, "depth file") is None
    (tmp_path / name).touch()
    assert file_beside(tmp_path / "a", ENDINGS, "depth file") == tmp_path / name
    assert file_beside(tmp_path / "a.b", ENDINGS, "depth file") == tmp_path / "a.b.npy"


@pytest.mark.parametrize("names", [("a.npy", "a.png"), ("a.png", "a.PNG"), ("a.npy", "a.PNG")])
def test_of_two_files_none_is_taken_and_both_are_named(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    if (tmp_path / names[0]).samefile(tmp_path / names[1]):
        pytest.skip("this disk does not tell capitals from small letters")
    with pytest.raises(ImageProblem) as caught:
        file_beside(tmp_path / "a", ENDINGS, "depth file")
    assert (
        str(caught.value)
        == f"it has more than one depth file, {names[0]} and {names[1]}: remove or rename one in {tmp_path}"
    )


def test_two_names_of_one_file_are_one_file(tmp_path: Path) -> None:
    """So are a.png and a.PNG on disks that do not tell them apart."""
    (tmp_path / "a.npy").touch()
    (tmp_path / "a.png").symlink_to(tmp_path / "a.npy")
    assert file_beside(tmp_path / "a", ENDINGS, "depth file") == tmp_path / "a.npy"


def test_images_that_differ_in_their_extension_share_no_file(tmp_path: Path) -> None:
    names = ["a.jpg", "b/a.jpg", "a.b.jpg", "b/c.jpg", "a.png", "a.jpg"]
    files = {"a.jpg": tmp_path / "a.npy"}
    check_not_shared(names, files.get)  # the other has none
    check_not_shared(names[:4], lambda name: tmp_path / "a.npy")  # of another folder or name
    with pytest.raises(UnsegError, match=r"a\.npy would belong to both images a\.jpg and a\.png; rename one"):
        check_not_shared(names, (files | {"a.png": tmp_path / "a.npy"}).get)


def test_names_are_those_of_one_path() -> None:
    a, b = Path("x/a.jpg"), Path("b.jpg")
    assert by_name([("a", a), ("b", b), ("a", a)], "never") == {"a": a, "b": b}
    with pytest.raises(UnsegError, match=r"^x/a\.jpg and b\.jpg are both called a, so that why; rename one of them\.$"):
        by_name([("a", a), ("a", b)], "why")
