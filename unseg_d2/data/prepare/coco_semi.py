"""A share of COCO's labels, with their categories: the splits of the label-efficient experiment.

The split of p % is the first p % of one fixed order of the images, so that a larger split holds every smaller one. The
order is that of the SHA-256 of ``SEED:IMAGE_ID``: it depends neither on the order of the file nor on a generator of
random numbers. The published splits were drawn at random by a rule that is not stated; their files, or lists of
their images, can be used instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from unseg_d2.data.annotations.parse import parse, quoted, read_bytes
from unseg_d2.data.annotations.read import identity, image_of
from unseg_d2.data.annotations.structs import Identity
from unseg_d2.data.prepare.coco_like import FULL, by_image
from unseg_d2.data.prepare.records import Classes, ImageList, ListedImage, listed_names, plain_mask
from unseg_d2.data.prepare.writer import Prepared, coco_writer, one_record
from unseg_d2.errors import UnsegError


def prepare_coco_semi(root: Path, *, percent: int, split_seed: int = 0, split_list: Path | None = None) -> Prepared:
    """Write the split ``coco/annotations/{percent}perc_instances_train2017.json`` of the training set.

    Args:
        root: folder of the data sets.
        percent: share of the images, from 1 to 99.
        split_seed: other splits by the same rule.
        split_list: file that names the images of the split instead, see :func:`listed_images`.

    Raises:
        UnsegError: the share is not possible, or the list names images that the training set does not have.
    """
    folder = root / "coco/annotations"
    source, target = folder / "instances_train2017.json", folder / f"{percent}perc_instances_train2017.json"
    if not 1 <= percent <= 99:
        raise UnsegError(f"--percent is {percent}; it must be from 1 to 99. For 100, use coco_2017_train.")
    content = parse(read_bytes(source), Classes, str(source))
    with one_record(source):
        images = [image_of(image) for image in content.images]
    if split_list is None:
        kept = split_images((image["id"] for image in images), percent, split_seed)
        rule = f"the first {percent} % of the order of the SHA-256 of '{split_seed}:IMAGE_ID'"
    else:
        kept = listed_images(split_list, images)
        rule = f"those that {split_list.name} names"
    protocol = f"{len(kept)} of {len(images)} images of COCO train2017: {rule}; all annotations with their categories."
    if len(images) != FULL["train2017"]:
        protocol += f" THE TRAINING SET HAS {len(images)} IMAGES INSTEAD OF {FULL['train2017']}."
    return _write(target, source, content, images, kept, protocol)


def split_images(ids: Iterable[Any], percent: int, split_seed: int = 0) -> set[Any]:
    """Return the ids of a split: the whole part of ``percent`` % of the images, at least one.

    Args:
        ids: of all images.
        percent: share, from 1 to 100.
        split_seed: of the order of the images.

    >>> small, large = split_images(range(200), 5), split_images(range(200), 10)
    >>> len(small), len(large), small < large
    (10, 20, True)
    """

    def place(image_id: Any) -> tuple[bytes, str]:
        return hashlib.sha256(f"{split_seed}:{image_id}".encode()).digest(), str(image_id)

    order = sorted(ids, key=place)
    return set(order[: max(len(order) * percent // 100, 1)])


def listed_images(path: Path, images: list[dict[str, Any]]) -> set[Any]:
    """Return the ids of the images that a list names.

    Args:
        path: text file with an id or a file name per line; or JSON: a list of them, or a COCO file.
        images: of the training set.

    Raises:
        UnsegError: the list cannot be read, is empty, or names other images.
    """
    if path.suffix == ".json":
        content = parse(read_bytes(path), ImageList | list[Identity | ListedImage], str(path), "the list")  # type: ignore[arg-type]
        listed = content.images if isinstance(content, ImageList) else content
        with one_record(path):
            names = [str(identity(item.id if isinstance(item, ListedImage) else item)) for item in listed]
    else:
        names = listed_names(path)
    known = {str(image["id"]): image["id"] for image in images}
    known |= {PurePosixPath(image["file_name"]).name: image["id"] for image in images}
    parts = [PurePosixPath(name).name for name in names]
    missing = [name for name in parts if name not in known]
    if missing or not names:
        reason = f"names {missing[0]}, which the training set does not have" if missing else "is empty"
        raise UnsegError(f"{path} {reason}; {len(missing)} of its {len(names)} images are not there.")
    return {known[name] for name in parts}


def _write(
    target: Path, source: Path, content: Classes, images: list[dict[str, Any]], kept: Collection[Any], protocol: str
) -> Prepared:
    annotations, listed = by_image(content.annotations), msgspec.to_builtins(content.categories)
    categories = [{key: value for key, value in entry.items() if value is not None} for entry in listed]
    with coco_writer(target, source=source.name, protocol=protocol, categories=categories) as writer:
        for image in images:
            if image["id"] in kept:
                with one_record(source, f"image {quoted(image['id'])}"):
                    writer.add(image, map(plain_mask, annotations[image["id"]]))
    return writer.prepared
