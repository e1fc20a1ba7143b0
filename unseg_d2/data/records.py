"""Records of data sets, Detectron2's standard dataset dicts: in memory, or made of an index when one is used.

Shape legend
    n   records
    m   annotations of all records
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

import numpy as np

from unseg_d2.data.annotations.columns import UNKNOWN
from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.annotations.names import ImageFolder, resolve_image
from unseg_d2.data.facts import Facts, flags_of
from unseg_d2.levels import annotated_within, counted_granularity

Record = dict[str, Any]
Category = dict[str, Any]
"""A category of a COCO file: ``id`` and ``name``."""


class Part(Protocol):
    """Records of one origin."""

    def __len__(self) -> int: ...

    def record(self, place: int) -> Record:
        """Return a record, which may be changed only as a copy."""

    def image(self, place: int) -> Record:
        """Return a record without its annotations."""

    def facts(self) -> Facts:
        """Return what is known of all of them."""


class ListPart:
    """Records that are held in memory."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def record(self, place: int) -> Record:
        """Return a record itself."""
        return self.records[place]

    def image(self, place: int) -> Record:
        """Return a copy of a record without annotations."""
        return {key: value for key, value in self.records[place].items() if key != "annotations"}

    def facts(self) -> Facts:
        """Look at all records."""
        annotations = [record.get("annotations", ()) for record in self.records]
        flags = [flags_of(item) for items in annotations for item in items]
        numbers = {item.get("category_id", 0) for items in annotations for item in items}
        sizes = [(record.get("height") or UNKNOWN, record.get("width") or UNKNOWN) for record in self.records]
        return Facts(
            np.array([len(items) for items in annotations], np.int64),
            np.array(flags, np.uint8),
            np.array(sizes, np.int32).reshape(-1, 2),
            np.array([bool(record.get("done")) for record in self.records], bool),
            np.array(
                [counted_granularity(one.get("granularity")) for items in annotations for one in items], np.float32
            ),
            (min(numbers, default=0), max(numbers, default=0)),
        )


@dataclass
class IndexPart:
    """Records of an annotation file, each read when it is asked for.

    Attributes:
        index: of the file.
        root: folder of the images.
        classes: id of each category to its class number; ``None`` gives all annotations class 0.
        renamed: ``(n,)`` bool, whether the picture of an image has another name on the disk than in the file.
    """

    index: AnnotationIndex
    root: str
    classes: Mapping[Any, int] | None
    renamed: np.ndarray

    def __post_init__(self) -> None:
        self._folder = ImageFolder(self.root)

    def __len__(self) -> int:
        return len(self.index)

    def record(self, place: int) -> Record:
        """Read an image with its annotations."""
        image = self.index.image(place)
        annotations = [record_annotation(item, self.classes) for item in self.index.annotations(place, image)]
        return self._record(place, image, annotations)

    def image(self, place: int) -> Record:
        """Read an image."""
        record = self._record(place, self.index.image(place), [])
        del record["annotations"]
        return record

    def _record(self, place: int, image: Record, annotations: list[Record]) -> Record:
        name = image["file_name"]
        found = self._folder.find(name) if self.renamed[place] else None
        return image_record(image, self.root, annotations, found or name)

    def facts(self) -> Facts:
        """Return the columns of the index."""
        index, classes = self.index, (0, max((self.classes or {}).values(), default=0))
        return Facts(index.counts(), index.flags, index.sizes(), index.done, index.granularities, classes)


class Records(Sequence[Record]):
    """Records of a data set, and the categories that their class numbers stand for.

    Args:
        records: a list of records, or parts.
        categories: in the order of the numbers; empty where all annotations are of one class.
        are_others: whether these are not the classes of the detector, which finds groups that are matched with them.

    Attributes:
        parts: where the records are from.
        categories: see above.
        are_others: see above.
    """

    def __init__(
        self,
        records: Sequence[Record] | None = None,
        categories: Sequence[Category] = (),
        *,
        parts: Sequence[Part] = (),
        are_others: bool = False,
    ) -> None:
        self.parts: list[Part] = [*parts, *([] if records is None else [ListPart(records)])]
        self.categories, self.are_others = list(categories), are_others
        self._ends = np.cumsum([len(part) for part in self.parts], dtype=np.int64)
        self._chosen: np.ndarray | None = None  # places in all parts together
        self._with_boxes = True  # annotations without a mask too
        self._with_annotations = True
        self._granularities: tuple[float, float] | None = None  # of annotations, all of them for None

    @property
    def found(self) -> list[Category]:
        """Categories that a detector's class numbers stand for; none where they are of one class, or groups."""
        return [] if self.are_others else self.categories

    def category_ids(self) -> list[Any] | int:
        """Return the id of each class's category; 1, that of the only or the first one, where they have no others."""
        return [category["id"] for category in self.found] or 1

    def __len__(self) -> int:
        if self._chosen is not None:
            return len(self._chosen)
        return int(self._ends[-1]) if len(self._ends) else 0

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Record | Records:
        """Return a record, or those of a slice.

        Raises:
            UnsegError: a mask is damaged, or the file of the record has changed.
        """
        if isinstance(index, slice):
            return self.chosen(np.arange(len(self))[index])
        part, place = self._place(index)
        if not self._with_annotations:
            return part.image(place)
        record = part.record(place) if self._with_boxes else _without_boxes(part.record(place))
        return record if self._granularities is None else record_within(record, self._granularities)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def image(self, index: int) -> Record:
        """Return a record without its annotations, which are not read."""
        part, place = self._place(index)
        return part.image(place)

    @property
    def is_whole(self) -> bool:
        """Whether these are all records of the parts, as they are."""
        whole = self._chosen is None and self._granularities is None
        return whole and self._with_boxes and self._with_annotations

    def images(self) -> Records:
        """Return the same records without their annotations."""
        return self._view(_with_annotations=False)

    def with_masks(self) -> Records:
        """Return the same records without the annotations that have no mask; a record that lacks some is not done."""
        return self._view(_with_boxes=False)

    def within(self, interval: tuple[float, float]) -> Records:
        """Return the same records with the annotations of some granularities only, see `record_within`."""
        return self._view(_granularities=interval)

    def chosen(self, positions: np.ndarray) -> Records:
        """Return some records, ``(n,)`` int64 positions."""
        if not self._with_boxes or any(not isinstance(part, ListPart) for part in self.parts):
            return self._view(_chosen=positions if self._chosen is None else self._chosen[positions])
        listed = [self[position] for position in positions.tolist()]
        records = Records(listed, self.categories, are_others=self.are_others)
        records._with_annotations = self._with_annotations
        return records

    def with_parts(self, change: Callable[[Part], Part]) -> Records:
        """Return the same records with parts of another form."""
        return self._view(parts=[change(part) for part in self.parts])

    def facts(self) -> Facts:
        """Return what is known of the records; those of annotations without a mask are among them."""
        found = [part.facts() for part in self.parts]
        if not found:
            return ListPart([]).facts()
        bounds = min(each.classes[0] for each in found), max(each.classes[1] for each in found)
        facts = Facts(
            _joined([each.counts for each in found]),
            _joined([each.flags for each in found]),
            _joined([each.sizes for each in found]),
            _joined([each.done for each in found]),
            _joined([each.granularities for each in found]),
            bounds,
        )
        facts = facts if self._granularities is None else facts.within(self._granularities)
        if self._chosen is None:
            return facts
        firsts = np.cumsum(facts.counts) - facts.counts
        counts = facts.counts[self._chosen]
        rows = np.repeat(firsts[self._chosen] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        sizes, done = facts.sizes[self._chosen], facts.done[self._chosen]
        return Facts(counts, facts.flags[rows], sizes, done, facts.granularities[rows], bounds)

    def _place(self, index: int) -> tuple[Part, int]:
        position = range(len(self))[index]
        if self._chosen is not None:
            position = int(self._chosen[position])
        number = int(np.searchsorted(self._ends, position, side="right"))
        return self.parts[number], position - (int(self._ends[number - 1]) if number else 0)

    def _view(self, **changes: Any) -> Records:
        view = Records([], self.categories)
        view.__dict__ |= self.__dict__ | changes
        return view


def concatenated(datasets: Sequence[Records]) -> Records:
    """Return the records of several data sets, with the categories of the first."""
    if len(datasets) == 1:
        return datasets[0]
    parts = [part for records in datasets for part in (records.parts if records.is_whole else [_Whole(records)])]
    return Records(parts=parts, categories=datasets[0].categories)


class _Whole:
    """The records of a data set as a part of those of several."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def record(self, place: int) -> Record:
        return self.records[place]

    def image(self, place: int) -> Record:
        return self.records.image(place)

    def facts(self) -> Facts:
        return self.records.facts()


def as_records(records: Sequence[Record]) -> Records:
    """Return records with their categories; a plain list is of one class."""
    return records if isinstance(records, Records) else Records(records)


def image_record(image: Record, root: str, annotations: list[Record], name: str) -> Record:
    """Return the record of a COCO image.

    Args:
        image: as `CocoDataset` has it.
        root: folder of the images.
        annotations: of the record.
        name: of the picture, relative to the folder.

    Raises:
        UnsegError: the name points outside the folder.
    """
    record = {"file_name": str(resolve_image(root, name)), "image_id": image["id"], "annotations": annotations}
    return record | {key: image[key] for key in ("height", "width", "done") if key in image}


def record_annotation(annotation: Record, classes: Mapping[Any, int] | None) -> Record:
    """Return a COCO annotation as records have it; for ``classes`` see `IndexPart`."""
    number = 0 if classes is None else classes[annotation["category_id"]]
    record = {key: annotation[key] for key in ("bbox", "iscrowd", "area")}
    record |= {"bbox_mode": 1, "category_id": number}
    return record | {
        key: annotation[key]
        for key in ("score", "segmentation", "confidence", "level", "granularity")
        if key in annotation
    }


def _without_boxes(record: Record) -> Record:
    annotations = record.get("annotations", ())
    masks = [item for item in annotations if item.get("segmentation") or item.get("iscrowd")]
    return record if len(masks) == len(annotations) else record | {"annotations": masks, "done": False}


def record_within(record: Record, interval: tuple[float, float]) -> Record:
    """Return a record with the annotations of some granularities only, and crowd regions; what lacks some is not done.

    Args:
        record: it is not changed.
        interval: least and most granularity; annotations that state none count as 1.
    """
    annotations = record.get("annotations", ())
    kept = annotated_within(annotations, interval)
    return record if len(kept) == len(annotations) else record | {"annotations": kept, "done": False}


def _joined(columns: Sequence[np.ndarray]) -> np.ndarray:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)
