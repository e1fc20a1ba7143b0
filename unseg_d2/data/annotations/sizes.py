"""The size of images: as the file states it, as its masks say, or as the picture has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.structs import Annotation, RunLengths

Measure = Callable[[str], tuple[int, int] | None]
"""File name of an image to its height and width in px, ``None`` where the picture is not there."""


class Sizes:
    """Settles the sizes of the images of a file, in place.

    Attributes:
        counts: of sizes that were put right.
        measure: reads the size of a picture.
    """

    def __init__(self, counts: Counts, measure: Measure = lambda name: None) -> None:
        self.counts, self.measure = counts, measure

    def settle(
        self, images: Sequence[dict[str, Any]], annotations: Sequence[Annotation], owners: Sequence[dict[str, Any]]
    ) -> None:
        """Exchange height and width where the run lengths say so, and fill in those that are missing.

        Published files of MaskCut have the sides of all images exchanged, those without masks too: where every object
        has run lengths and none contradicts, all images are turned; elsewhere only those whose run lengths say so.

        Args:
            images: with ``height`` and ``width`` where they are stated.
            annotations: of the images.
            owners: the image of each annotation.
        """
        right, turned, other = set(), set(), False
        for annotation, image in zip(annotations, owners):
            mask = annotation.segmentation
            if not isinstance(mask, RunLengths) or mask.size is None:
                other = other or bool(mask)
                continue
            if "height" not in image:
                image["height"], image["width"] = mask.size
            elif mask.size == [image["height"], image["width"]]:
                right.add(image["id"])
            elif mask.size == [image["width"], image["height"]]:
                turned.add(image["id"])
        turned -= right
        everywhere = turned and not right and not other
        for image in images if everywhere else [image for image in images if image["id"] in turned]:
            if "height" in image:
                image["height"], image["width"] = image["width"], image["height"]
        self.counts.add(
            "images have width and height exchanged; the size of their masks counts",
            len(images) if everywhere else len(turned),
        )
        self._fill(images, {image["id"] for image in owners if "height" not in image})

    def _fill(self, images: Sequence[dict[str, Any]], wanted: set[Any]) -> None:
        """Measure the pictures of images that have annotations and no size."""
        for image in images:
            if image["id"] in wanted and (size := self.measure(image["file_name"])):
                image["height"], image["width"] = size
                self.counts.add("images state no size; that of the picture counts")
