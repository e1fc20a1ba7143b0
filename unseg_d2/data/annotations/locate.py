"""Which pictures of a data set are there, found with one look at each folder and without holding their names.

Shape legend
    n   images
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.dataset import CocoDataset
from unseg_d2.data.annotations.names import ImageFolder, inside
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.errors import UnsegError
from unseg_d2.storage.access import names_in
from unseg_d2.storage.addresses import to_text

FEW = 100
"""Images of one folder up to which each is asked for; of more, the folder is listed once."""


@dataclass(frozen=True)
class Located:
    """Where the pictures of a list of names are.

    Attributes:
        renamed: ``(n,)`` bool, those that have another name on the disk, which `ImageFolder.find` tells.
        missing: positions of those that are not there, int64.
    """

    renamed: np.ndarray
    missing: np.ndarray


def locate(
    names: Callable[[], Iterable[str]], name_at: Callable[[int], str], root: str | Path, name: object
) -> Located:
    """Look for the pictures of a data set.

    Args:
        names: yields the file names in their order.
        name_at: the one at a position.
        root: folder of the pictures.
        name: of the data set, for messages.

    Raises:
        UnsegError: two names mean one picture.
    """
    folder, counts = ImageFolder(root), Counts()
    hashes, folders = _hashes(names(), folder.root)
    is_there = np.isin(hashes, _there(folder.root, folders))
    renamed = np.zeros(len(hashes), bool)
    missing = []
    for position in np.flatnonzero(~is_there).tolist():
        stated = name_at(position)
        found = folder.find(stated)
        if found is None:
            missing.append(position)
        elif found != stated:
            renamed[position] = True
            if folder.find(stated, whole=True) is None:
                counts.add(f"pictures were found in {root} by the last parts of their names")
        hashes[position] = hash(stated if found is None else found)
    _check_different(hashes, name_at, folder, name)
    counts.say(name)
    return Located(renamed, np.array(missing, np.int64))


def locate_images(dataset: CocoDataset, root: str | Path, name: object) -> tuple[CocoDataset, list[str]]:
    """Give the images of a data set the names that their pictures have on the disk.

    Args:
        dataset: what was read; it is not changed.
        root: folder of the pictures.
        name: of the data set, for messages.

    Returns:
        The data set with names relative to ``root``, and the names of the images whose pictures are not there.

    Raises:
        UnsegError: two names mean one picture.
    """
    images: list[dict[str, Any]] = list(dataset.images)
    stated = [image["file_name"] for image in images]
    located, folder = locate(lambda: stated, stated.__getitem__, root, name), ImageFolder(root)
    for position, image in enumerate(images):
        found = folder.find(stated[position]) if located.renamed[position] else inside(folder.root, stated[position])
        if found and found != stated[position]:
            images[position] = image | {"file_name": found}
    return replace(dataset, images=images), [stated[position] for position in located.missing.tolist()]


def check_there(located: Located, name_at: Callable[[int], str], root: object, name: object) -> None:
    """Raise `UnsegError` where pictures are not there; it is said before any work and not when one is needed."""
    if len(located.missing):
        raise UnsegError(
            f"{len(located.missing)} of the {len(located.renamed)} images of {name} are not in {to_text(str(root))}; "
            f"the first is {name_at(int(located.missing[0]))}. Put them there, take them out of the file, or name the "
            f"folder of the images with {name}::FOLDER."
        )


def _hashes(names: Iterable[str], root: str) -> tuple[np.ndarray, Counter[str]]:
    """Return the hash of each name as it would lie below the root, ``(n,)`` int64, and how many are in each folder."""
    folders: Counter[str] = Counter()

    def hashed(name: str) -> int:
        relative = inside(root, name)
        if relative is None:
            return hash(None)
        folders[relative.rpartition("/")[0]] += 1
        return hash(relative)

    return np.fromiter(map(hashed, names), np.int64), folders


def _there(root: str, folders: Counter[str]) -> np.ndarray:
    """Return the hashes of the names of what lies in folders, for those of many images."""
    found = [np.zeros(0, np.int64)]
    for folder, number in folders.items():
        if number <= FEW:
            continue
        begin = f"{folder}/" if folder else ""
        try:
            found.append(np.array([hash(begin + name) for name in names_in(os.path.join(root, folder))], np.int64))
        except OSError:
            continue
    return np.concatenate(found)


def _check_different(hashes: np.ndarray, name_at: Callable[[int], str], folder: ImageFolder, name: object) -> None:
    """Refuse two names for one picture."""
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    for place in same.tolist():
        first, second = (name_at(int(position)) for position in order[place : place + 2])
        found = [folder.find(each) or each for each in (first, second)]
        if first != second and found[0] == found[1]:
            raise UnsegError(
                f"{name} has the images {quoted(first)} and {quoted(second)}, but in {folder.root} there is only "
                f"{found[0]} for both."
            )
