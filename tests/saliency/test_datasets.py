"""Layouts of saliency data sets, and what is said where something is missing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.builtin import SALIENCY_DATASETS
from unseg_d2.errors import UnsegError
from unseg_d2.saliency.datasets import SalientImage, load_saliency, read_mask, read_salient


def write(path, size=(6, 8), value=255, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size[1], size[0]), value if mode == "L" else (value,) * 3).save(path)
    return path


def pair(images, masks, name):
    return write(images / f"{name}.jpg", mode="RGB"), write(masks / f"{name}.png")


@pytest.mark.parametrize("name", sorted(SALIENCY_DATASETS))
def test_published_layouts(tmp_path, monkeypatch, name):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    images, masks, source = SALIENCY_DATASETS[name]
    with pytest.raises(UnsegError, match=f"{tmp_path / images} is missing. It is available from {source}"):
        load_saliency(name)
    image, mask = pair(tmp_path / images, tmp_path / masks, "a")
    assert load_saliency(name) == [SalientImage(image, "a", mask)]
    by_folder = load_saliency(str((tmp_path / images).parent))
    assert by_folder == load_saliency(name)
    assert load_saliency(f"{tmp_path / images}::{tmp_path / masks}") == load_saliency(name)


def test_the_sample_of_ecssd(shared_data):
    images = load_saliency(str(shared_data / "ecssd_dev"))
    pixels, mask = read_salient(images[0])
    assert len(images) == 200 and mask.shape == pixels.shape[:2] and set(np.unique(mask)) == {0.0, 1.0}


def test_training_takes_any_folder_of_images_and_no_masks(tmp_path):
    write(tmp_path / "deep" / "x.png", mode="RGB")
    assert [one.name for one in load_saliency(str(tmp_path), masks=False)] == ["deep/x"]
    pair(tmp_path / "set" / "images", tmp_path / "set" / "masks", "y")
    assert load_saliency(str(tmp_path / "set"), masks=False)[0].mask is None


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UnsegError, match=r"'ecsd' is neither a saliency data set nor a folder\. Did you mean 'ecssd'"):
        load_saliency("ecsd")
    with pytest.raises(UnsegError, match="must hold a folder of images and one of masks"):
        load_saliency(str(tmp_path))
    with pytest.raises(UnsegError, match="no image in"):
        load_saliency(str(tmp_path), masks=False)
    pair(tmp_path / "images", tmp_path / "masks", "a")
    write(tmp_path / "images" / "b.png", mode="RGB")
    with pytest.raises(UnsegError, match=r"1 of 2 images in .* have no mask in .*, such as b\."):
        load_saliency(str(tmp_path))


def test_two_masks_of_an_image_and_two_images_of_a_mask_are_refused(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    pair(images, masks, "a")
    second = write(masks / "a.jpg")
    with pytest.raises(UnsegError, match=r"a\.jpg and .*a\.png are both called a, so that either could be the mask"):
        load_saliency(str(tmp_path))
    second.unlink()
    write(images / "a.png", mode="RGB")
    with pytest.raises(UnsegError, match=r"images/a\.jpg and .*images/a\.png are both called a, .* share a mask"):
        load_saliency(str(tmp_path))
    assert len(load_saliency(str(images), masks=False)) == 2  # nothing is looked up for them


def test_a_mask_of_another_size_and_damaged_files_are_named(tmp_path):
    image, mask = write(tmp_path / "a.png", (6, 8), mode="RGB"), write(tmp_path / "m.png", (6, 7))
    with pytest.raises(UnsegError, match=r"m\.png has 7x6 px, but its image .*a\.png has 8x6"):
        read_salient(SalientImage(image, "a", mask))
    mask.write_bytes(b"")
    with pytest.raises(UnsegError, match=r"mask .*m\.png cannot be read"):
        read_salient(SalientImage(image, "a", mask))
    image.write_bytes(b"")
    with pytest.raises(UnsegError, match=r"a\.png cannot be used: zero bytes"):
        read_salient(SalientImage(image, "a"))


@pytest.mark.parametrize(("value", "expected"), [(255, 1.0), (1, 1.0), (0, 0.0), (51, 0.2)])
def test_white_is_one_and_so_is_the_one_of_a_mask_of_zeros_and_ones(tmp_path, value, expected):
    assert read_mask(write(tmp_path / "m.png", value=value)).max() == pytest.approx(expected)
