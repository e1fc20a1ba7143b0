"""The images of an annotation file with their annotations, one image at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.data.annotations.dataset import CocoDataset

Entry = dict[str, Any]


class AnnotationIndex:
    """The images of a file in its order; what belongs to one is read and checked when it is asked for.

    Attributes:
        path: the file, or the folder of a label set, for messages.
        categories: ``{id, name}`` each.
        info: what the file says about itself.
        joined: ids of images that are listed a second time, each with the id that the image has here.
    """

    def __init__(self, path: str | Path, dataset: CocoDataset) -> None:
        self.path = Path(path)
        self.categories, self.info, self.joined = dataset.categories, dataset.info, dataset.joined
        self._images = dataset.images
        self._positions = {image["id"]: position for position, image in enumerate(dataset.images)}
        self._annotations: list[list[Entry]] = [[] for _ in dataset.images]
        for annotation in dataset.annotations:
            self._annotations[self._positions[annotation["image_id"]]].append(annotation)
        masks = (annotation["image_id"] for annotation in dataset.annotations if "segmentation" in annotation)
        self._by_mask = [self._positions[key] for key in dict.fromkeys(masks)]

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def image(self, position: int) -> Entry:
        """Return an image: ``id``, ``file_name`` and what else of `CocoDataset.images` is known."""
        return self._images[position]

    def annotations(self, position: int) -> list[Entry]:
        """Return the annotations of an image, as `CocoDataset.annotations` has them.

        Raises:
            UnsegError: a mask is damaged, or the file has changed since it was opened.
        """
        return self._annotations[position]

    def __iter__(self) -> Iterator[tuple[Entry, list[Entry]]]:
        """Yield each image with its annotations, in the order of the file."""
        for position in range(len(self)):
            yield self.image(position), self.annotations(position)

    def position_of(self, key: Any) -> int | None:
        """Return the position of the image with an id, ``None`` where there is none."""
        return self._positions.get(key)

    def images(self) -> Iterator[Entry]:
        """Yield each image, in the order of the file."""
        return (self.image(position) for position in range(len(self)))

    def ids(self) -> Iterator[Any]:
        """Yield the id of each image."""
        return (image["id"] for image in self._images)

    def names(self) -> Iterator[str]:
        """Yield the file name of each image."""
        return (image["file_name"] for image in self.images())

    def counts(self) -> np.ndarray:
        """Return the number of annotations of each image, ``(n,)`` int64."""
        return np.array([len(annotations) for annotations in self._annotations], dtype=np.int64)

    def by_first_mask(self) -> np.ndarray:
        """Return the positions of the images that have masks, in the order of their first masks, ``(m,)`` int64."""
        return np.array(self._by_mask, dtype=np.int64)

    def sizes(self) -> np.ndarray:
        """Return height and width of each image in px, ``(n, 2)`` int32; -1 where they are not known."""
        known = [(image.get("height", -1), image.get("width", -1)) for image in self._images]
        return np.array(known, dtype=np.int32).reshape(-1, 2)

    def dataset(self) -> CocoDataset:
        """Read everything."""
        annotations = [annotation for _, found in self for annotation in found]
        return CocoDataset(list(self.images()), annotations, self.categories, self.info, self.joined)
