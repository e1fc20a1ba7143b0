"""Match the images of two COCO files whose ids differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from unseg_d2.errors import UnsegError
from unseg_d2.files import same_name


def align_images(images: Iterable[dict[str, Any]], others: Iterable[dict[str, Any]]) -> dict[Any, Any]:
    """Match images by file name or, if no whole name matches, by the ends of names: the most parts that any two share.

    Args:
        images: COCO images (``id``, ``file_name``).
        others: COCO images of the file to match with.

    Returns:
        Id among ``images`` to id among ``others``, for the images that are in both.

    Raises:
        UnsegError: no image is in both, or ends have to be compared and are not unique.

    >>> align_images([{"id": 1, "file_name": "val/7.jpg"}], [{"id": 7, "file_name": "7.jpg"}])
    {1: 7}
    """
    names = {image["id"]: same_name(image["file_name"]) for image in images}
    other_names = {image["id"]: same_name(image["file_name"]) for image in others}
    matched = _match(names, other_names)
    deepest = max((name.count("/") for part in (names, other_names) for name in part.values()), default=0)
    for count in range(deepest, 0, -1):
        if matched:
            break
        names, other_names = _last_parts(names, count), _last_parts(other_names, count)
        matched = _match(names, other_names)
        repeated = [name for part in (names, other_names) for name, n in Counter(part.values()).items() if n > 1]
        if matched and repeated:
            raise UnsegError(f"The images cannot be matched by name: {repeated[0]} occurs in several folders.")
    if not matched:
        first, second = (next(iter(part.values()), "none") for part in (names, other_names))
        raise UnsegError(f"No image is in both files: one begins with '{first}', the other with '{second}'.")
    return matched


def _match(names: dict[Any, str], others: dict[Any, str]) -> dict[Any, Any]:
    ids = {name: key for key, name in others.items()}
    return {key: ids[name] for key, name in names.items() if name in ids}


def _last_parts(names: dict[Any, str], count: int) -> dict[Any, str]:
    return {key: "/".join(name.rstrip("/").split("/")[-count:]) for key, name in names.items()}
