"""Ground truth and results, some images at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unseg_d2.errors import UnsegError

Chunk = tuple[Mapping[str, Any], Sequence[dict[str, Any]]]
"""Some images of a COCO dictionary with all their annotations, its ``categories`` if it has any; and their results."""

MOST_IMAGES = 500
MOST_RESULTS = 50_000
"""What one chunk holds at most: libraries that match take up to 9 kB for each of its results."""


def chunks_of(
    truth: Mapping[str, Any],
    results: Sequence[dict[str, Any]],
    *,
    most_images: int = MOST_IMAGES,
    most_results: int = MOST_RESULTS,
) -> Iterator[Chunk]:
    """Split what is in memory; images, and the annotations and results of each image, keep their order.

    Args:
        truth: COCO dictionary with ``images`` and ``annotations``.
        results: each of an image of the truth.
        most_images: images of one chunk.
        most_results: results of one chunk, unless one image has more.

    Raises:
        UnsegError: an annotation or a result is of an image that the truth does not list.
    """
    if len(truth["images"]) <= most_images and len(results) <= most_results:
        yield truth, results
        return
    objects, found = _by_image(truth["annotations"]), _by_image(results)
    known = {image["id"] for image in truth["images"]}
    for name, groups in (("an annotation", objects), ("a result", found)):
        if strangers := groups.keys() - known:
            raise UnsegError(f"There is {name} of image {next(iter(strangers))}, which the ground truth does not have.")
    images: list[dict[str, Any]] = []
    count = 0
    for image in truth["images"]:
        more = len(found.get(image["id"], ()))
        if images and (len(images) == most_images or count + more > most_results):
            yield _chunk(truth, images, objects, found)
            images, count = [], 0
        images.append(image)
        count += more
    yield _chunk(truth, images, objects, found)


def _by_image(items: Sequence[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        groups[item["image_id"]].append(item)
    return dict(groups)


def _chunk(
    truth: Mapping[str, Any],
    images: list[dict[str, Any]],
    objects: dict[Any, list[dict[str, Any]]],
    found: dict[Any, list[dict[str, Any]]],
) -> Chunk:
    keys = [image["id"] for image in images]
    annotations = [item for key in keys for item in objects.get(key, ())]
    return {**truth, "images": images, "annotations": annotations}, [i for key in keys for i in found.get(key, ())]
