from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.rle import (
    decode_confidence,
    decode_mask,
    decode_masks,
    encode_confidence,
    encode_in_box,
    encode_mask,
    encode_runs,
    to_rle,
)

HEIGHT, WIDTH = 40, 50


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_several_masks_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    masks = [
        rectangle(*corner, *(corner + size))
        for corner, size in zip(rng.integers(0, 38, (9, 2)), rng.integers(0, 9, (9, 2)))
    ]
    masks += [rng.random((HEIGHT, WIDTH)) < density for density in (0, 0.002, 0.5, 1)]
    np.testing.assert_array_equal(decode_masks([encode_mask(mask) for mask in masks], HEIGHT, WIDTH), np.stack(masks))
    assert decode_masks([], HEIGHT, WIDTH).shape == (0, HEIGHT, WIDTH)


@pytest.mark.parametrize("density", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("block", [1, 7, 40])
def test_masks_survive(density: float, block: int) -> None:
    coarse = np.random.default_rng(0).random((HEIGHT // block + 1, WIDTH // block + 1)) < density
    mask = np.kron(coarse, np.ones((block, block), bool))[:HEIGHT, :WIDTH]
    encoded = encode_mask(mask)
    assert encoded["size"] == [HEIGHT, WIDTH] and isinstance(encoded["counts"], str)
    assert (decode_mask(encoded, HEIGHT, WIDTH) == mask).all()


@pytest.mark.parametrize(
    ("boundaries", "counts"),
    [([], [2000]), ([0, 2000], [0, 2000]), ([0, 3, 2000 - 1, 2000], [0, 3, 1996, 1]), ([5, 40, 40, 45], [5, 40, 1955])],
)
def test_runs_by_their_boundaries(boundaries: list[int], counts: list[int]) -> None:
    expected = decode_mask({"size": [HEIGHT, WIDTH], "counts": counts}, HEIGHT, WIDTH)
    assert encode_runs(np.array(boundaries, dtype=np.int64), HEIGHT, WIDTH) == encode_mask(expected)


def test_uncompressed_counts_and_polygons() -> None:
    columns = {"size": [HEIGHT, WIDTH], "counts": [0, 2 * HEIGHT, 48 * HEIGHT]}
    assert (decode_mask(columns, HEIGHT, WIDTH) == rectangle(0, 0, HEIGHT, 2)).all()
    polygons = [[10, 5, 20, 5, 20, 15, 10, 15], [30, 5, 35, 5, 35, 15, 30, 15]]
    assert (decode_mask(polygons, HEIGHT, WIDTH) == rectangle(5, 10, 15, 20) | rectangle(5, 30, 15, 35)).all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [WIDTH, HEIGHT], "counts": "`n1"}, "size 50x40 does not fit an image of 40x50"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "run lengths do not sum"),
        ({"size": [HEIGHT, WIDTH], "counts": "zzzz"}, "run lengths do not sum"),
        ({"size": [HEIGHT, WIDTH], "counts": [10, 20]}, "run lengths do not sum"),
        ({"size": [HEIGHT, WIDTH], "counts": [-5, 2005]}, "damaged"),
        ({"size": [HEIGHT, WIDTH]}, "damaged"),
        ({"counts": "`n1"}, "damaged"),
        ([[1, 2, 3]], "damaged"),
        ([], "damaged"),
    ],
)
def test_damaged_masks_are_refused(segmentation: object, message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        to_rle(segmentation, HEIGHT, WIDTH)


def test_confidence_survives_to_8_bit() -> None:
    confidence = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    assert (decode_confidence(encode_confidence(confidence)) == np.rint(confidence * 255)).all()


def test_damaged_confidence_is_refused() -> None:
    encoded = encode_confidence(np.ones((3, 4)))
    for change in ({"data": "????"}, {"size": [5, 5]}):
        with pytest.raises(UnsegError, match="confidence is damaged"):
            decode_confidence(encoded | change)


def test_the_part_in_a_box_is_encoded_like_the_whole_mask():
    """Also where it touches the borders of the image, and where a run goes on in the next column."""
    rng = np.random.default_rng(0)
    for top, left, height, width in [(0, 0, 7, 5), (2, 1, 3, 4), (0, 3, 7, 2), (6, 4, 1, 1)]:
        whole = np.zeros((7, 5), bool)
        for part in (
            rng.random((height, width)) < 0.6,
            np.ones((height, width), bool),
            np.zeros((height, width), bool),
        ):
            whole[top : top + height, left : left + width] = part
            assert encode_in_box(part, top, left, 7, 5) == encode_mask(whole)
