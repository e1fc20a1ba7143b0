"""How many pictures of a data set are turned as their cameras noted: said before a training, from their headers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from unseg_d2.data.pictures.reading import ImageProblem, Reading
from unseg_d2.data.pictures.report import Treatments, said
from unseg_d2.data.pictures.stored import header
from unseg_d2.storage.addresses import address_of

logger = logging.getLogger(__name__)

MOST = 10_000
"""Headers that are read: a second or two; of a larger data set they are those of pictures at equal distances."""
MOST_FETCHED = 200
"""The same of pictures behind an address."""


def say_orientations(records: Sequence[Mapping[str, Any]], reading: Reading, *, most: int = MOST) -> None:
    """Log how many pictures are turned, and how many are not though their cameras say so; nothing where none is.

    Args:
        records: Detectron2's standard dataset dicts.
        reading: how they will be read.
        most: largest number of pictures to look at.
    """
    count = len(records)
    if count and address_of(records[0]["file_name"]):
        most = min(most, MOST_FETCHED)  # of a store, a header costs as much as the picture
    looked_at = range(count) if count <= most else [number * count // most for number in range(most)]
    treatments = Treatments(_treatment(records[number], reading) for number in looked_at)
    share = "" if count <= most else f"Of {most:,} of the {count:,} pictures, which were looked at: "
    for line in treatments.lines():
        logger.info("%s%s", share, line)
    if treatments.counts["turned"] and treatments.counts["lying"]:
        logger.info(
            "Where some annotations are of pictures as they are stored, those of the turned ones may be too: compare "
            "them with unseg-d2 visualize, and set INPUT.EXIF ignore if so."
        )
    said(kind for kind, number in treatments.counts.items() if number)


def _treatment(record: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    try:
        width, height, orientation = header(record["file_name"])
    except ImageProblem:  # the training says what is wrong with it
        return {}
    if orientation not in range(2, 9):
        return {}
    if reading.exif == "ignore":
        return {"unturned": True}
    shown = (width, height) if orientation >= 5 else (height, width)
    expected = (record.get("height"), record.get("width"))
    return {"lying": True} if shown != expected and shown[::-1] == expected else {"turned": True}
