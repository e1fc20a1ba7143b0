"""Whatever may be handed over as an image, and the sentence for what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.data.image_input import as_list, as_rgb
from unseg_d2.errors import UnsegError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def test_path_pillow_and_array_are_the_same(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    for image in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.open(tmp_path / "a.png"), PIXELS):
        np.testing.assert_array_equal(as_rgb(image), PIXELS)


def test_pillow_images_of_any_mode() -> None:
    grey = Image.fromarray(PIXELS[..., 0])
    np.testing.assert_array_equal(as_rgb(grey), np.dstack([PIXELS[..., 0]] * 3))
    clear = Image.fromarray(np.dstack([PIXELS, np.zeros((6, 8), np.uint8)]))
    assert (as_rgb(clear) == 255).all()  # over white, as files are read


def test_an_array_is_not_copied_and_need_not_be_contiguous() -> None:
    assert as_rgb(PIXELS) is PIXELS
    np.testing.assert_array_equal(as_rgb(PIXELS[::-1, ::2]), PIXELS[::-1, ::2])


def test_a_single_image_is_a_list_of_one() -> None:
    for image in ("a.jpg", Path("a.jpg"), PIXELS, Image.fromarray(PIXELS)):
        (only,) = as_list(image)
        assert only is image
    several = ["a.jpg", PIXELS]
    assert as_list(several) is several


BROKEN = np.where(np.arange(3) == 1, np.nan, 1.0) * np.ones((6, 8, 3))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (PIXELS / 255, r"array of float64, but uint8 is needed: scale values in \[0, 1\] with \(image \* 255\)"),
        (BROKEN, "array of float64, but uint8 is needed: it holds NaN or infinite values"),
        (PIXELS.astype(np.int64), "array of int64, but uint8 is needed: convert values from 0 to 255"),
        (PIXELS[..., 0], r"of shape \(6, 8\), but \(H, W, 3\) is needed: repeat the grey channel"),
        (PIXELS[..., :1], r"of shape \(6, 8, 1\), .*: repeat the grey channel"),
        (np.dstack([PIXELS, PIXELS[..., 0]]), r"leave out the alpha channel, image\[..., :3\]"),
        (PIXELS[None], r"of shape \(1, 6, 8, 3\), .*: give the images of a batch as a list"),
        (PIXELS.transpose(2, 0, 1), r"put the channels last, image.transpose\(1, 2, 0\)"),
        (np.zeros((6, 8, 5), np.uint8), "5 channels are not RGB"),
        (np.zeros(3, np.uint8), "height, width and the three channels"),
        (np.zeros((0, 0, 3), np.uint8), "has 0x0 pixels, but at least 2x2 are needed"),
        (Image.new("RGB", (1, 5)), "The Pillow image cannot be used: 1x5 pixels: too small"),
        ("nowhere.jpg", "The image nowhere.jpg cannot be used: the file does not exist"),
        (torch.zeros(6, 8, 3), r"a path, a Pillow image or an \(H, W, 3\) uint8 array, not a Tensor"),
        ([PIXELS], "uint8 array, not a list"),
        (None, "uint8 array, not a NoneType"),
    ],
)
def test_refusals_are_one_sentence(image: object, sentence: str) -> None:
    with pytest.raises(UnsegError, match=sentence) as error:
        as_rgb(image)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff no image")
    with pytest.raises(UnsegError, match=r"a.jpg cannot be used: truncated or damaged header\."):
        as_rgb(tmp_path / "a.jpg")


def test_a_pillow_image_whose_file_is_damaged(tmp_path: Path) -> None:
    Image.fromarray(PIXELS.repeat(40, 0).repeat(40, 1)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:700])
    with pytest.raises(UnsegError, match=r"The Pillow image cannot be used: truncated\."):
        as_rgb(Image.open(tmp_path / "a.jpg"))
