"""Whether the images that a data set lists are there, before anything is done with the first of them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from unseg_d2.data.records import IndexPart, as_records
from unseg_d2.errors import UnsegError
from unseg_d2.storage.access import is_there, names_in

FEW = 1000
"""Images of one folder up to which each is asked for; of more, the folder is listed once."""


def check_images(records: Sequence[dict[str, Any]], name: str) -> None:
    """Refuse a data set of which images are missing; no image is opened.

    Those of annotation files are looked for when `unseg_d2.data.catalog.load_dataset` opens the file.

    Args:
        records: Detectron2's standard dataset dicts.
        name: of the data set, for the message.

    Raises:
        UnsegError: images are missing; the message counts them and names the first.
    """
    if missing := missing_images(record["file_name"] for record in _in_memory(records)):
        raise UnsegError(
            f"{len(missing)} of the {len(records)} images of {name} {'is' if len(missing) == 1 else 'are'} not there, "
            f"such as {missing[0]}; put them there, or take them off the list."
        )


def missing_images(names: Iterable[str]) -> list[str]:
    """Return those of some files that are not there; none is opened."""
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, file = os.path.split(name)
        folders[folder].append(file)
    return [os.path.join(folder, file) for folder, files in folders.items() for file in _missing(folder, files)]


def _in_memory(records: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for part in as_records(records).parts:
        if not isinstance(part, IndexPart):
            yield from (part.image(place) for place in range(len(part)))


def _missing(folder: str, files: list[str]) -> list[str]:
    if len(files) <= FEW:
        return [file for file in files if not is_there(os.path.join(folder, file))]
    try:
        there = set(names_in(folder))
    except OSError:
        return files
    return [file for file in files if file not in there]
