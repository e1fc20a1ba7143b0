"""Records of data sets, whoever registered them, in the one form that the loaders and the evaluation take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from fvcore.common.config import CfgNode

from unseg_d2.config import get_cfg
from unseg_d2.data.catalog import find_annotations, load_dataset
from unseg_d2.data.classes import OF_THE_DATA, wrong_number
from unseg_d2.data.records import Category, Records
from unseg_d2.data.training_records import MissingCertainty
from unseg_d2.detectors.detectron2.label_sets import is_label_set, label_file
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask


def dataset_records(name: str, cfg: CfgNode | None = None, num_classes: int | None = None) -> Records:
    """Return the records of a data set.

    Args:
        name: in Detectron2's ``DatasetCatalog``; otherwise a built-in name, a COCO json or a folder, see
            `unseg_d2.data.catalog.load_dataset`.
        cfg: configuration, whose ``SYNTHETIC`` block describes the synthetic sets; ``None`` means the defaults.
        num_classes: of the detector; 1, or ``None``, takes all annotations as one class; see also `load_dataset`.

    Returns:
        Detectron2's standard dataset dicts, as `standard_record` returns them, with their categories where there are
        several classes.

    Raises:
        UnsegError: the data set is unknown, has another number of categories, or is not where it should be.
    """
    cfg, num_classes = get_cfg() if cfg is None else cfg, 1 if num_classes is None else num_classes
    if name not in DatasetCatalog or _is_built_in(name) or is_label_set(name):
        return load_dataset(label_file(name), cfg, num_classes)
    records = [standard_record(record, number) for number, record in enumerate(DatasetCatalog.get(name))]
    others = num_classes == OF_THE_DATA
    categories = _registered_categories(name) if num_classes != 1 else []
    if categories and not others and len(categories) != num_classes:
        raise wrong_number(name, len(categories), num_classes)
    return Records(records, categories, are_others=others)


def _registered_categories(name: str) -> list[Category]:
    """Return the categories of a registered data set in the order of its class numbers, as far as they are stated."""
    metadata = MetadataCatalog.get(name)
    names = list(metadata.get("thing_classes", ()))
    ids = {number: key for key, number in metadata.get("thing_dataset_id_to_contiguous_id", {}).items()}
    return [{"id": ids.get(number, number), "name": known} for number, known in enumerate(names)]


def check_annotated(name: str, cfg: CfgNode) -> None:
    """Refuse a data set to evaluate on that is not there, before a training whose end would be too late.

    Args:
        name: see `dataset_records`; what others registered is taken to be there.
        cfg: configuration, whose ``SYNTHETIC`` block describes the synthetic sets.

    Raises:
        UnsegError: the data set is unknown, or its annotations are not where they should be.
    """
    if name not in DatasetCatalog or _is_built_in(name):
        find_annotations(name, cfg)


@contextmanager
def hint_at_registration(names: Iterable[str]) -> Iterator[None]:
    """Add to the error about scores or confidence that are missing that other ways to register a file drop them.

    Args:
        names: data sets that are trained on.
    """
    try:
        yield
    except MissingCertainty as error:
        foreign = [name for name in names if name in DatasetCatalog and not (is_label_set(name) or _is_built_in(name))]
        if not foreign:
            raise
        raise UnsegError(
            f"{error} If the file of {foreign[0]} has it, register the file with register_label_set: Detectron2's "
            "register_coco_instances drops it."
        ) from None


def standard_record(record: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """Return a record with boxes in XYWH and no mask as an array, which other projects may have; it is not changed.

    Args:
        record: Detectron2's standard dataset dict.
        number: the id of the image where it states none.
    """
    annotations = record.get("annotations", [])
    if "image_id" in record and all(map(_is_standard, annotations)):
        return record
    return {"image_id": number, **record, "annotations": [_standard(annotation) for annotation in annotations]}


def _is_standard(annotation: dict[str, Any]) -> bool:
    in_mode = annotation.get("bbox_mode", BoxMode.XYWH_ABS) == BoxMode.XYWH_ABS
    return in_mode and not isinstance(annotation.get("segmentation"), np.ndarray)


def _standard(annotation: dict[str, Any]) -> dict[str, Any]:
    box, mode = annotation["bbox"], annotation.get("bbox_mode", BoxMode.XYWH_ABS)
    result = {**annotation, "bbox": BoxMode.convert(list(box), mode, BoxMode.XYWH_ABS), "bbox_mode": BoxMode.XYWH_ABS}
    if isinstance(annotation.get("segmentation"), np.ndarray):
        result["segmentation"] = encode_mask(annotation["segmentation"].astype(bool))
    return result


def _is_built_in(name: str) -> bool:
    """Whether the catalogue would read one of this project's data sets, with the default configuration."""
    function = DatasetCatalog[name]
    return isinstance(function, partial) and function.func is load_dataset
