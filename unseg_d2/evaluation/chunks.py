"""Ground truth and results, some images at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from unseg_d2.errors import UnsegError

Chunk = tuple[Mapping[str, Any], Sequence[dict[str, Any]]]
"""Some images of a COCO dictionary with all their annotations, its ``categories`` if it has any; and their results."""

MOST_IMAGES = 500
MOST_RESULTS = 20_000
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
    parts = ((image, objects.get(image["id"], ()), found.get(image["id"], ())) for image in truth["images"])
    yield from chunks_of_images(parts, truth, most_images=most_images, most_results=most_results)


def chunks_of_images(
    parts: Iterable[tuple[dict[str, Any], Sequence[dict[str, Any]], Sequence[dict[str, Any]]]],
    about: Mapping[str, Any],
    *,
    most_images: int = MOST_IMAGES,
    most_results: int = MOST_RESULTS,
) -> Iterator[Chunk]:
    """Put images together that come one at a time; there is one chunk at least.

    Args:
        parts: each image with its annotations and its results.
        about: what a chunk holds besides: ``categories``, if there are any.
        most_images: see :func:`chunks_of`.
        most_results: see :func:`chunks_of`.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, objects, found in parts:
        if images and (len(images) == most_images or len(results) + len(found) > most_results):
            yield {**about, "images": images, "annotations": annotations}, results
            images, annotations, results = [], [], []
        images.append(image)
        annotations.extend(objects)
        results.extend(found)
    yield {**about, "images": images, "annotations": annotations}, results


def _by_image(items: Sequence[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        groups[item["image_id"]].append(item)
    return dict(groups)
