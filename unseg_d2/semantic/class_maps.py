"""The classes of Cityscapes-27, COCO-Stuff-27 and Potsdam-3: which number in a label file is which class.

A class map is an array of 256 numbers, indexed with a number of a label file; 255 means no class.
"""

from __future__ import annotations

import numpy as np

from unseg_d2.losses.class_focal import IGNORE

CITYSCAPES_NAMES = (
    *("road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel"),
    *("pole", "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car"),
    *("truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
FIRST_CITYSCAPES = 7
"""``labelIds`` from this one on are classes, in the order of :data:`CITYSCAPES_NAMES`."""

COCOSTUFF_IDS = {
    "electronic": "71-76",
    "appliance": "77-82",
    "food": "51-60",
    "furniture": "61-70",
    "indoor": "83-90",
    "kitchen": "43-50",
    "accessory": "25-32",
    "animal": "15-24",
    "outdoor": "9-14",
    "person": "0",
    "sports": "33-42",
    "vehicle": "1-8",
    "ceiling": "101-102",
    "floor": "100 113-117",
    "food-stuff": "120-121 152 169",
    "furniture-stuff": "97 106-107 109 111 122 129 132 155 160 164",
    "raw-material": "99 131 138 142",
    "textile": "91-92 103-104 108 130 136 140 151 166-167",
    "wall": "170-176",
    "window": "179-180",
    "building": "94-95 127 150 157 165",
    "ground": "110 124-125 135 139 143-144 146 148 153 158",
    "plant": "93 96 118 123 128 133 141 162 168",
    "sky": "105 156",
    "solid": "126 134 149 159 161 181",
    "structural": "98 112 137 145 163",
    "water": "119 147 154 177-178",
}
"""The 27 classes in their order, each with the numbers of COCO-Stuff's pixel maps that it is made of."""

POTSDAM_NAMES = ("road", "building", "vegetation")
POTSDAM_CLASSES = (0, 1, 2, 2, 0, 1)
"""Class of each of the six numbers: with the road go cars, with buildings clutter, with vegetation trees."""


def cityscapes_map() -> np.ndarray:
    """Class map of ``*_labelIds.png``."""
    return _class_map({FIRST_CITYSCAPES + index: index for index in range(len(CITYSCAPES_NAMES))})


def cocostuff_map() -> np.ndarray:
    """Class map of the pixel maps of COCO-Stuff 164k."""
    return _class_map({number: index for index, ids in enumerate(COCOSTUFF_IDS.values()) for number in _numbers(ids)})


def potsdam_map() -> np.ndarray:
    """Class map of the field ``gt`` of the ``.mat`` files."""
    return _class_map(dict(enumerate(POTSDAM_CLASSES)))


def plain_map(num_classes: int) -> np.ndarray:
    """Class map of label files whose numbers are classes already."""
    return _class_map({index: index for index in range(num_classes)})


def _class_map(classes: dict[int, int]) -> np.ndarray:
    result = np.full(256, IGNORE, dtype=np.uint8)
    for number, index in classes.items():
        result[number] = index
    return result


def _numbers(ids: str) -> list[int]:
    """Return the numbers of ``"0 113-115"``."""
    ranges = [part.partition("-") for part in ids.split()]
    return [number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)]
