"""The generator from Python returns what a label set holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import read_label_set
from unseg_d2.pseudo.mask_generator import MaskGenerator
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.rle import decode_mask
from unseg_d2.structures import PseudoMask

RECIPE = "configs/quickstart.yaml"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Two squares on green."""
    pixels = np.full((96, 128, 3), (40, 140, 60), np.uint8)
    pixels[16:56, 16:64] = (200, 30, 40)
    pixels[48:88, 80:120] = (40, 60, 220)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "photo.png")
    return tmp_path / "photos" / "photo.png"


def test_the_same_as_in_a_label_set(photo: Path, tmp_path: Path) -> None:
    generator = MaskGenerator.from_recipe(RECIPE, "FEATURES.IMAGE_SIZE", 240)
    found = generator(photo)
    labels = read_label_set(generate_label_set(generator.cfg, photo.parent, tmp_path / "masks", num_workers=0))
    assert len(found) == len(labels.annotations) >= 2
    for one, annotation in zip(found, labels.annotations):
        assert isinstance(one, PseudoMask) and one.score == pytest.approx(annotation["score"], abs=1e-6)
        np.testing.assert_array_equal(one.mask, decode_mask(annotation["segmentation"], 96, 128))
    written = [{key: value for key, value in annotation.items() if key != "id"} for annotation in labels.annotations]
    assert found.to_coco(image_id=1) == written


def test_every_kind_of_image(photo: Path) -> None:
    generator = MaskGenerator.from_recipe(RECIPE, {"FEATURES": {"IMAGE_SIZE": 240}})
    expected = generator(photo)
    for image in (str(photo), Image.open(photo), np.asarray(Image.open(photo))):
        found = generator(image)
        assert [mask.score for mask in found] == [mask.score for mask in expected]
        np.testing.assert_array_equal(found[0].mask, expected[0].mask)


def test_draw() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:15, 5:25] = True
    image = np.full((20, 30, 3), 200, np.uint8)
    drawn = PseudoMasks([PseudoMask(mask, 0.5)]).draw(image)
    assert (drawn[12:14, 20:24] != 200).any(axis=2).all() and (drawn[18:] == 200).all()
    np.testing.assert_array_equal(PseudoMasks().draw(image), image)
    with pytest.raises(UnsegError, match=r"30x20 pixels .* for one of 20x30"):
        PseudoMasks([PseudoMask(mask, 0.5)]).draw(image.transpose(1, 0, 2))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("configs/quickstrt.yaml",), "Did you mean 'configs/quickstart.yaml'"),
        ((RECIPE, "MASKS.GENERATOR", "maskcutt"), "Did you mean 'maskcut'"),
        ((RECIPE, "MASKS.GENERATOR", "cuts3d"), "needs depth"),
    ],
)
def test_refusals(arguments: tuple, sentence: str) -> None:
    with pytest.raises(UnsegError, match=sentence):
        MaskGenerator.from_recipe(*arguments)


def test_what_is_no_image(photo: Path) -> None:
    generator = MaskGenerator.from_recipe(RECIPE, "INPUT.MAX_PIXELS", 100)
    with pytest.raises(UnsegError, match=r"photo\.png cannot be used: 128x96 pixels: over the limit of 100"):
        generator(photo)
    with pytest.raises(UnsegError, match="scale values in"):
        generator(np.ones((20, 30, 3)))


def test_depth_files_need_a_path(photo: Path) -> None:
    overrides = ("DEPTH.SOURCE", "files", "DEPTH.KIND", "metric", "MASKS.GENERATOR", "cuts3d")
    generator = MaskGenerator.from_recipe(RECIPE, *overrides)
    with pytest.raises(UnsegError, match=r"^The image cannot be used: .*depth"):
        generator(np.asarray(Image.open(photo)))
