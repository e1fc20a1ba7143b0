from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.storage.listing import Listing

NAMES = ["b.jpg", "a/2.jpg", "a/1.jpg", "a.jpg", "a/deep/1.jpg", "a-b/1.jpg", "ä/\udce9.jpg", "a0"]


@pytest.fixture
def listing() -> Listing:
    return Listing.of((name, 10 * k, k) for k, name in enumerate(NAMES))


def test_names_are_sorted_as_python_sorts_them_and_found_again(listing: Listing) -> None:
    assert list(listing) == sorted(NAMES) and len(listing) == len(NAMES)
    for k, name in enumerate(NAMES):
        position = listing.find(name)
        assert position is not None and (listing.places[position], listing.sizes[position]) == (10 * k, k)
    assert listing.find("a") is listing.find("a/") is listing.find("c.jpg") is None


def test_folders_are_what_a_disk_would_show(listing: Listing) -> None:
    for folder in ("", "a", "a/deep", "ä", "b", "a/2.jpg"):
        begin = f"{folder}/" if folder else ""
        below = [name for name in sorted(NAMES) if name.startswith(begin)]
        assert [listing.name(k) for k in listing.below(folder)] == below
        children = listing.children(folder)
        assert set(children) == {name[len(begin) :].split("/")[0] for name in below}
        assert len(set(children)) == len(children)


def test_the_last_file_of_a_name_counts_and_the_others_are_named() -> None:
    listing = Listing.of([("a.jpg", 1, 1), ("b.jpg", 2, 2), ("a.jpg", 3, 3)])
    assert list(listing) == ["a.jpg", "b.jpg"] and listing.places.tolist() == [3, 2]
    assert [name for name, _ in listing.problems] == ["a.jpg"]


def test_nothing_is_listed_too() -> None:
    listing = Listing.of([])
    assert list(listing) == listing.children("") == [] and listing.find("a") is None


def test_a_million_files_are_held_in_few_bytes() -> None:
    listing = Listing.of((f"n{k:04d}.tar/{k:08d}.JPEG", k, k) for k in range(2000))
    columns = listing.arrays().values()
    assert sum(np.asarray(column).nbytes for column in columns) == 2000 * (24 + len("n0000.tar/00000000.JPEG"))
