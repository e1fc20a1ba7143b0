"""Label Studio's masks, read by a decoder written from the format's description."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from unseg_d2.data.label_studio import decode_brush, encode_brush, labeling_config, to_task
from unseg_d2.rle import encode_mask


def decoded(encoded: list[int], height: int, width: int) -> np.ndarray:
    """The image ``(H, W, 4)`` that Label Studio shows."""
    bits = "".join(f"{byte:08b}" for byte in encoded)
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        assert place <= len(bits)
        return int(bits[place - count : place], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        is_run, length = read(1), read(sizes[read(2)]) + 1
        values += [read(word)] * length if is_run else [read(word) for _ in range(length)]
    assert len(values) == total and len(bits) - place < 8
    return np.array(values, np.uint8).reshape(height, width, 4)


def masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    blob = np.zeros((300, 400), bool)
    blob[40:250, 100:390] = True
    return [
        rng.random((7, 13)) < 0.5,  # short runs
        blob,
        np.zeros((200, 300), bool),  # one run, longer than 2 ** 16 values
        np.ones((128, 128), bool),  # one run of exactly 2 ** 16
        np.ones((1, 1), bool),
    ]


@pytest.mark.parametrize("mask", masks(), ids=lambda mask: str(mask.shape))
def test_decodes_to_the_mask(mask: np.ndarray) -> None:
    encoded = encode_brush(mask)
    assert all(isinstance(byte, int) and 0 <= byte <= 255 for byte in encoded)
    image = decoded(encoded, *mask.shape)
    assert (decode_brush(encoded, *mask.shape) == mask).all()
    np.testing.assert_array_equal(image, np.repeat(255 * mask[..., None].astype(np.uint8), 4, axis=2))


def test_task() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:10, 10:25] = True
    image = {"id": 3, "file_name": "a b/1.jpg", "height": 20, "width": 30}
    annotations = [
        {"bbox": [10, 5, 15, 5], "score": 0.9, "segmentation": encode_mask(mask)},
        {"bbox": [3, 4, 6, 8], "score": 0.5},
    ]
    task = to_task(image, annotations, model="zoo:x")
    assert task["data"] == {"image": "/data/local-files/?d=a%20b/1.jpg", "file_name": "a b/1.jpg"}
    (prediction,) = task["predictions"]
    assert prediction["model_version"] == "zoo:x" and prediction["score"] == pytest.approx(0.7)
    painted, boxed = prediction["result"]
    assert (painted["type"], painted["original_width"], painted["original_height"]) == ("brushlabels", 30, 20)
    assert painted["value"]["format"] == "rle" and painted["score"] == 0.9
    np.testing.assert_array_equal(decode_brush(painted["value"]["rle"], 20, 30), mask)
    assert boxed["type"] == "rectanglelabels"
    assert {key: boxed["value"][key] for key in ("x", "y", "width", "height")} == {
        "x": 10.0,
        "y": 20.0,
        "width": 20.0,
        "height": 40.0,
    }
    assert painted["id"] != boxed["id"]


def test_results_name_the_tags_of_the_labelling_interface() -> None:
    tags = {tag.get("name"): tag for tag in ElementTree.fromstring(labeling_config()).iter() if tag.get("name")}
    image = {"id": 1, "file_name": "1.jpg", "height": 4, "width": 4}
    annotations = [{"bbox": [0, 0, 1, 1], "score": 1.0, "segmentation": encode_mask(np.eye(4) > 0)}]
    annotations.append({"bbox": [0, 0, 1, 1], "score": 1.0})
    for result in to_task(image, annotations, model="x")["predictions"][0]["result"]:
        tag = tags[result["from_name"]]
        assert tag.tag.lower() == result["type"] and tag.get("toName") == result["to_name"] == "image"
        assert result["value"][result["type"]] == [tag[0].get("value")]
