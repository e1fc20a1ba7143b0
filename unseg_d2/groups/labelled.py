"""The label set of a grouping: the masks as they were, each with the category of its group and how certain that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as mask_utils

from unseg_d2.data.spec import relative_root
from unseg_d2.groups.members import Members
from unseg_d2.groups.names import Classes
from unseg_d2.groups.prototypes import NONE
from unseg_d2.groups.source import Entry, MaskSource
from unseg_d2.pseudo.label_set import write_label_set
from unseg_d2.pseudo.tally import Tally
from unseg_d2.supervision import from_info, joined, to_info


def write_labelled(
    path: Path,
    source: MaskSource,
    members: Members,
    classes: Classes,
    about: Mapping[str, Any],
    learnt: Sequence[str] = (),
) -> None:
    """Write the label set of a grouping; images and masks pass through one at a time.

    Args:
        path: COCO file to write.
        source: the masks.
        members: their groups.
        classes: of the groups.
        about: what the label set says about its groups, besides what it said before.
        learnt: what the features of the groups have learnt from.
    """
    info_of_masks = source.labels.info if source.results is None else {}
    before = {key: value for key, value in info_of_masks.items() if key != "image_root"}
    info = before | {
        "groups": dict(about),
        "supervision": to_info(joined([from_info(before), learnt])),
        "image_root": relative_root(source.inputs.root, path.parent),
        "counts": Tally.of(members.per_image).to_info(),
    }
    categories = classes.listed(members.far + members.unread > 0)
    images = (source.image(position) for position in range(len(source)))
    videos = source.labels.videos
    write_label_set(path, info, images, _annotations(source, members, classes), categories, videos)


def _annotations(source: MaskSource, members: Members, classes: Classes) -> Iterator[Entry]:
    rows = zip(members.groups.tolist(), members.confidence.tolist())
    for position in range(len(source)):
        for mask in source.masks(position):
            group, confidence = next(rows)
            category = classes.other if group == NONE else classes.of_group[group]
            yield _with_area(mask) | {"category_id": category, "group_confidence": round(confidence, 6)}


def _with_area(mask: Entry) -> Entry:
    """Return a mask with its area in px, which results do not state."""
    if "area" in mask:
        return mask
    segmentation = mask.get("segmentation")
    area = int(mask_utils.area(segmentation)) if segmentation else mask["bbox"][2] * mask["bbox"][3]
    return mask | {"area": area}
