"""Check that the parts of a file fit together, and make the index of them.

Shape legend
    n   images
    m   annotations
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unseg_d2.data.annotations.columns import (
    CONFIDENCE,
    MASK,
    ODD,
    RUNS,
    SIZED,
    UNKNOWN,
    AnnotationColumns,
    ImageColumns,
    positions_in,
    repeated,
    rows_of,
    taken,
)
from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.index import AnnotationIndex, Rows
from unseg_d2.data.annotations.masks import Unusable
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.annotations.read import Classes, annotation_of, called, categories_of, image_of
from unseg_d2.data.annotations.scan import Scan
from unseg_d2.data.annotations.sizes import Measure, fill, settle
from unseg_d2.data.annotations.sources import Source
from unseg_d2.data.annotations.structs import Annotation, Content
from unseg_d2.data.annotations.twins import join_twins
from unseg_d2.errors import UnsegError


def assemble(
    scan: Scan, source: Source, about: Content, measure: Measure, counts: Counts, where: str = ""
) -> AnnotationIndex:
    """Return the index of the entries of a file, after a check that they fit together.

    Args:
        scan: has seen all entries.
        source: has them.
        about: categories and info of the file.
        measure: finds the size of images that neither the file nor a mask states.
        counts: of what was left out or put right.
        where: begins messages.

    Raises:
        UnsegError: ids mean two things, an annotation is of no image, a mask does not fit its image, or a picture is
            listed twice with annotations that cannot be joined.
    """
    try:
        return _Assembly(scan, source, about, measure, counts, where).index()
    except UnsegError as error:
        text = str(error)
        raise UnsegError(text if text.startswith(where) else f"{where}{text}") from None


@dataclass
class _Assembly:
    scan: Scan
    source: Source
    about: Content
    measure: Measure
    counts: Counts
    where: str

    def index(self) -> AnnotationIndex:
        images, annotations = self.scan.columns()
        images = self._without_repeated(images)
        owners = self._owners(images, annotations)
        settle(images, annotations, owners, self.counts)
        fill(images, owners, lambda place: self._image(images, place)["file_name"], self.measure, self.counts)
        classes = Classes(categories := categories_of(self.about.categories))
        numbered = self._are_numbered(annotations)
        kept = self._usable(images, annotations, owners)
        stated = list(self.scan.categories)
        present = {classes.of(stated[code]) for code in np.unique(annotations.categories[kept]).tolist()}
        numbers = np.flatnonzero(kept).astype(np.int32)
        if (np.diff(owners[kept]) < 0).any():
            numbers = numbers[np.argsort(owners[kept], kind="stable")]
        index = AnnotationIndex(
            where=self.where,
            source=self.source,
            rows=Rows(
                (images.starts, images.extents),
                (_taken(annotations.starts, numbers), _taken(annotations.extents, numbers)),
                _firsts(owners[kept], len(images)),
                numbers + 1,
            ),
            keys=images.ids,
            heights=images.heights,
            widths=images.widths,
            done=images.done,
            flags=_taken(annotations.flags, numbers) & ~np.uint8(SIZED | ODD),
            granularities=_taken(annotations.granularities, numbers),
            present=present,
            numbered=numbered,
            categories=categories,
            info=self.about.info if isinstance(self.about.info, dict) else {},
            videos=_listed(self.about.videos),
        )
        return _joined(index, images.names, self.counts)

    def _image(self, images: ImageColumns, place: int) -> dict[str, Any]:
        return image_of(self.source.image(int(images.starts[place]), int(images.extents[place])))

    def _without_repeated(self, images: ImageColumns) -> ImageColumns:
        """Leave out entries that occur twice; refuse ids that two images have."""
        if not repeated(images.ids):
            return images
        ids = images.ids if isinstance(images.ids, list) else images.ids.tolist()
        first: dict[Any, int] = {}
        again = [place for place, key in enumerate(ids) if first.setdefault(key, place) != place]
        for place in again:
            before, image = self._image(images, first[ids[place]]), self._image(images, place)
            if before != image:
                names = f"{quoted(before['file_name'])} and {quoted(image['file_name'])}"
                raise UnsegError(f"the image id {quoted(image['id'])} occurs more than once: {names} have it.")
        self.counts.add("entries of images that occur twice were left out", len(again))
        return rows_of(images, np.delete(np.arange(len(images)), again))

    def _owners(self, images: ImageColumns, annotations: AnnotationColumns) -> np.ndarray:
        """Return the image of each annotation; ``"7"`` and 7 mean the same where only one of them is listed."""
        listed, wanted = images.ids, annotations.image_ids
        if isinstance(listed, np.ndarray) and isinstance(wanted, np.ndarray):
            owners = positions_in(listed, wanted)
        else:
            places = {key: place for place, key in enumerate(listed if isinstance(listed, list) else listed.tolist())}
            texts = {str(key): place for key, place in places.items()}
            keys = wanted if isinstance(wanted, list) else wanted.tolist()
            owners = np.array([places.get(key, texts.get(str(key), -1)) for key in keys], np.int64)
        strangers = np.flatnonzero(owners < 0)
        if len(strangers):
            (entry,), row = self._entries(annotations, strangers[:1]), int(strangers[0])
            raise UnsegError(
                f"{called(entry, row + 1)} belongs to image {quoted(entry.image_id)}, which is not listed."
            )
        return owners.astype(np.int32)

    def _entries(self, annotations: AnnotationColumns, rows: np.ndarray) -> Sequence[Annotation]:
        return self.source.annotations(annotations.starts[rows], annotations.extents[rows])

    def _are_numbered(self, annotations: AnnotationColumns) -> bool:
        """Whether the ids of annotations are their own; says where they were numbered anew."""
        keys = annotations.ids
        none_is_stated = isinstance(keys, list) and all(key is None for key in keys)
        if none_is_stated or (isinstance(keys, list) and None in keys) or repeated(keys):
            what = "annotations have ids that are missing or occur twice; all were numbered anew"
            self.counts.add(what, 0 if none_is_stated else len(keys))
            return False
        return True

    def _usable(self, images: ImageColumns, annotations: AnnotationColumns, owners: np.ndarray) -> np.ndarray:
        """Read the annotations that numbers do not tell enough about; return which of all can be used, ``(m,)`` bool.

        Their flags are put right.
        """
        flags, heights, widths = annotations.flags, images.heights[owners], images.widths[owners]
        fits = (annotations.heights == heights) & (annotations.widths == widths)
        has_mask, is_sized, runs = flags & MASK != 0, flags & SIZED != 0, flags & RUNS != 0
        is_odd = (flags & ODD != 0) | (has_mask & is_sized & ~fits) | (runs & ~is_sized & (heights == UNKNOWN))
        kept = np.ones(len(flags), bool)
        for row in np.flatnonzero(is_odd).tolist():
            (entry,) = self._entries(annotations, np.array([row]))
            image = self._image(images, owners[row])
            if heights[row] != UNKNOWN:
                image |= {"height": int(heights[row]), "width": int(widths[row])}
            try:
                found = annotation_of(entry, image, self.counts)
            except Unusable:
                self.counts.add("annotations have neither a box nor a mask and were left out")
                kept[row] = False
                continue
            except UnsegError as error:
                raise UnsegError(f"{called(entry, row + 1, image)}: {error}") from None
            for flag, key in ((MASK, "segmentation"), (CONFIDENCE, "confidence")):
                flags[row] = flags[row] | flag if found.get(key) else flags[row] & ~np.uint8(flag)
        return kept


def _listed(videos: Any) -> list[dict[str, Any]]:
    """Return the list of videos of a file, where it is one."""
    return [video for video in videos if isinstance(video, dict)] if isinstance(videos, list) else []


def _joined(index: AnnotationIndex, names: np.ndarray, counts: Counts) -> AnnotationIndex:
    """Join the images whose names, of which the hashes are given, are the same."""
    order = np.argsort(names, kind="stable")
    is_same = names[order][1:] == names[order][:-1]
    if not is_same.any():
        return index
    suspects = np.unique(np.concatenate([order[1:][is_same], order[:-1][is_same]])).tolist()
    images = [index.image(place) for place in suspects]
    found = [index.annotations(place, image) for place, image in zip(suspects, images)]
    _, kept, joined = join_twins(images, [item for items in found for item in items], counts)
    if not joined:
        return index
    places = {image["id"]: place for place, image in zip(suspects, images)}
    owners = np.repeat(np.arange(len(index)), index.counts())
    rows = [row for place in suspects for row in range(*index.rows.first[place : place + 2].tolist())]
    remaining = {id(item): item["image_id"] for item in kept}
    keep = np.ones(len(owners), bool)
    for row, item in zip(rows, (item for items in found for item in items)):
        if id(item) in remaining:
            owners[row] = places[item["image_id"]]
        else:
            keep[row] = False
    there = np.ones(len(index), bool)
    there[[places[key] for key in joined]] = False
    chosen = np.flatnonzero(keep)
    chosen = chosen[np.lexsort((index.rows.numbers[chosen], owners[chosen]))]
    return _chosen(index, np.flatnonzero(there), chosen, owners[chosen], joined)


def _chosen(
    index: AnnotationIndex, images: np.ndarray, annotations: np.ndarray, owners: np.ndarray, joined: dict[Any, Any]
) -> AnnotationIndex:
    """Return the index of some images and some annotations, sorted by their owners, places in the old index."""
    old = index.rows
    rows = Rows(
        (old.images[0][images], old.images[1][images]),
        (old.annotations[0][annotations], old.annotations[1][annotations]),
        _firsts(np.searchsorted(images, owners), len(images)),
        old.numbers[annotations],
    )
    return replace(
        index,
        rows=rows,
        keys=taken(index.keys, images),
        heights=index.heights[images],
        widths=index.widths[images],
        done=index.done[images],
        flags=index.flags[annotations],
        granularities=index.granularities[annotations],
        joined=joined,
    )


def _firsts(owners: np.ndarray, number: int) -> np.ndarray:
    """Return where the annotations of each image begin, ``(n + 1,)`` int64."""
    return np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=number))]).astype(np.int64)


def _taken(column: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some rows of a column, the column itself where they are all of it in its order."""
    is_all = len(rows) == len(column) and bool((rows == np.arange(len(rows))).all())
    return column if is_all else column[rows]
