from __future__ import annotations

import os
from pathlib import Path

import pytest

from unseg_d2.storage.addresses import address_of, scheme_of, to_path, to_text


@pytest.mark.parametrize("form", ["s3://bucket/a/b.jpg", "s3:/bucket/a/b.jpg", "/s3:/bucket/a/b.jpg"])
def test_all_forms_of_an_address_are_one_path(form: str) -> None:
    """``Path`` makes the second of the first; the third is what ``to_path`` returns."""
    assert to_path(form) == to_path(Path(form)) == Path("/s3:/bucket/a/b.jpg")
    assert to_text(form) == address_of(form) == "s3://bucket/a/b.jpg" and scheme_of(form) == "s3"


def test_paths_of_addresses_can_be_joined_compared_and_made_relative() -> None:
    root = to_path("gs://bucket/photos")
    path = Path(os.path.abspath(root / "more" / "../a.jpg"))
    assert to_text(path) == "gs://bucket/photos/a.jpg" and path.relative_to(root).as_posix() == "a.jpg"
    assert os.path.commonpath([path, to_path("gs://bucket/other/b.jpg")]) == os.fspath(to_path("gs://bucket"))
    assert root.resolve() == root


@pytest.mark.parametrize("path", ["photos/a.jpg", "/data/photos", "C:/photos", "a:b/c", "coco_val", "zoo:name", ""])
def test_paths_of_this_machine_stay_as_they_are(path: str) -> None:
    assert to_text(path) == path and address_of(path) is None and to_path(path) == Path(path)


def test_the_address_of_a_file_on_the_disk_is_its_path() -> None:
    assert to_path("file:///data/photos") == Path("/data/photos") and address_of("file:///data") is None
