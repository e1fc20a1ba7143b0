"""Files with values replaced, removed or doubled at random: each is read or refused in one sentence."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unseg_d2.data.coco import decode_mask, encode_mask, read_coco, to_records
from unseg_d2.errors import UnsegError
from unseg_d2.training.score_masks import score_masks

MASK = np.zeros((40, 60), bool)
MASK[5:25, 10:30] = True
POLYGON = [[10, 5, 30, 5, 30, 25, 10, 25]]
FIELDS = {"category_id": 1, "bbox": [10, 5, 20, 20], "score": 0.5}
IMAGES = [{"id": key, "file_name": f"{key}.png", "height": 40, "width": 60} for key in (1, 2)]
MASKS = [{"image_id": 1, "segmentation": POLYGON} | FIELDS, {"image_id": 2, "segmentation": encode_mask(MASK)} | FIELDS]
TRUTH = {
    "images": IMAGES,
    "annotations": [{"id": number, "area": 400, "iscrowd": 0} | mask for number, mask in enumerate(MASKS, 1)],
    "categories": [{"id": 1, "name": "thing"}],
    "info": {"image_root": "images"},
}
NUMBERS = [0, 1, -1, 2, 1.5, 1e9, -1e9, 1e30, 10**30, 10**400, math.nan, math.inf, -math.inf]
TEXTS = ["", "1", "a", "~~~~", "\0", "\ud800", "../../x", "/etc/passwd"]
LISTS: list[Any] = [[], [1], [[]], [[[]]], [None], ["x"], [[1, 2, 3, 4, 5, 6]], [0, 0, 0, 0], [-5, -5, 1, 1], [1e6] * 4]
RUNS = [{"counts": "~", "size": [40, 60]}, {"counts": [1, 2], "size": [40, 60]}, {"counts": [2400]}, {"size": [1, 1]}]
VALUES = [None, True, False, *NUMBERS, *TEXTS, *LISTS, *RUNS, {}, {"a": 1}, [{"x": 1, "y": 2}] * 3]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything in a JSON value but the value itself."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


def mutated(value: Any, rng: random.Random) -> Any:
    value = deepcopy(value)
    *parents, last = rng.choice(list(places(value)))
    node = value
    for key in parents:
        node = node[key]
    kind = rng.random()
    if kind < 0.15:
        del node[last]
    elif kind < 0.25 and isinstance(node, list):
        node.append(deepcopy(node[last]))
    else:
        node[last] = deepcopy(rng.choice(VALUES))
    return value


def use(path: Path) -> None:
    dataset = read_coco(path)
    for record in to_records(dataset, path.parent):
        for annotation in record["annotations"]:
            if "segmentation" in annotation:
                decode_mask(annotation["segmentation"], record["height"], record["width"])


@pytest.mark.parametrize("seed", range(4))
def test_every_file_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    rng, refused = random.Random(seed), 0
    truth, results, changed = tmp_path / "truth.json", tmp_path / "results.json", tmp_path / "changed.json"
    truth.write_text(json.dumps(TRUTH))
    results.write_text(json.dumps(MASKS))
    for number in range(150):
        changed.write_text(json.dumps(mutated(TRUTH if number % 2 else MASKS, rng)))
        try:
            if number % 2:
                use(changed)
                score_masks(results, changed)
            else:
                score_masks(changed, truth)
        except UnsegError as error:
            assert "\n" not in str(error)
            refused += 1
    assert 20 < refused < 140
