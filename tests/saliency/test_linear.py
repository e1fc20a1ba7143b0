"""The published linear heads: the forward pass by hand, files of the published layout, and what is said of others."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from unseg_d2.cli.evaluate import main as evaluate
from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features import single_backend
from unseg_d2.features.linear_head import LinearLayer, linear_layer
from unseg_d2.pixels import IMAGENET_MEAN, IMAGENET_STD
from unseg_d2.refine import BilateralSettings, bilateral_solver
from unseg_d2.saliency.head import SaliencyHead
from unseg_d2.saliency.linear import LinearMasks, scaled, solved
from unseg_d2.saliency.load import is_saliency_head, load_saliency_model
from unseg_d2.saliency.settings import LinearSettings
from unseg_d2.structures import PatchFeatures
from unseg_d2.zoo import registry
from unseg_d2.zoo.registry import find

PATCH = 8
FOUND, UNIONSEG = ("configs/saliency/found.yaml", "configs/saliency/unionseg.yaml")


class MeanColours:
    """Features that are easy to compute by hand: the mean of each patch's normalised colour."""

    name, patch_size, checksum = "colours", PATCH, ""

    def __init__(self):
        self.seen = []

    def __call__(self, images):
        found = []
        for image in images:
            self.seen.append(image)
            pixels = (image.astype(np.float64) / 255 - IMAGENET_MEAN) / IMAGENET_STD
            height, width = (side // PATCH for side in image.shape[:2])
            cells = pixels.reshape(height, PATCH, width, PATCH, 3).mean((1, 3))
            found.append(PatchFeatures(torch.from_numpy(cells).permute(2, 0, 1).float(), PATCH, None))
        return found


LAYER = LinearLayer(torch.tensor([1.5, -2.0, 0.5]), torch.tensor(0.25))


def masks(image, **settings):
    features = MeanColours()
    found = LinearMasks(features, LAYER, LinearSettings(**settings), BilateralSettings())(image)
    assert found.shape == image.shape[:2] and found.dtype == np.float32
    return found, features.seen[0]


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_logit_is_the_weighted_sum_of_a_patch():
    found, seen = masks(np.full((8, 8, 3), (255, 0, 0), np.uint8))
    red, green, blue = ((value - mean) / std for value, mean, std in zip((1, 0, 0), IMAGENET_MEAN, IMAGENET_STD))
    assert seen.shape == (8, 8, 3)
    assert found == pytest.approx(1 / (1 + math.exp(-(1.5 * red - 2.0 * green + 0.5 * blue + 0.25))), abs=1e-6)


def test_found_pads_with_what_the_network_takes_for_zero():
    """A grid of 2 x 3 patches, of which the last row and column hang over the image."""
    image = picture(11, 19)
    found, seen = masks(image)
    assert seen.shape == (16, 24, 3) and (seen[:11, :19] == image).all()
    np.testing.assert_allclose(seen[11:], np.broadcast_to(np.array(IMAGENET_MEAN) * 255, (5, 24, 3)), rtol=1e-6)
    whole = np.zeros((16, 24, 3))
    whole[:11, :19] = (image / 255 - IMAGENET_MEAN) / IMAGENET_STD
    cells = whole.reshape(2, 8, 3, 8, 3).mean((1, 3)) @ [1.5, -2.0, 0.5] + 0.25
    grown = cv2.resize(cells, (24, 16), interpolation=cv2.INTER_LINEAR)  # half-pixel centres, clamped at the border
    np.testing.assert_allclose(found, (1 / (1 + np.exp(-grown)))[:11, :19], atol=1e-5)


def test_unionseg_cuts_on_the_grid_of_a_square():
    image = picture(30, 50)
    found, seen = masks(image, square=32, cut="patches")
    assert (seen == cv2.resize(image, (32, 32), interpolation=cv2.INTER_LINEAR)).all()
    pixels = (seen / 255 - IMAGENET_MEAN) / IMAGENET_STD
    cells = pixels.reshape(4, 8, 4, 8, 3).mean((1, 3)) @ [1.5, -2.0, 0.5] + 0.25 > 0
    assert 0 < cells.sum() < 16
    assert (found == cv2.resize(cells.astype(np.uint8), (50, 30), interpolation=cv2.INTER_LINEAR)).all()
    assert set(np.unique(found)) == {0, 1}


def test_logits_are_scaled_before_they_are_cut_and_cells_after():
    """Between a patch of 3 and one of -1 the logit is above 0 for longer; a cut patch ends half-way."""
    logits = torch.tensor([[3.0, -1.0]])
    assert [int((scaled(logits, (1, 8), cut) > 0.5).sum()) for cut in ("pixels", "patches")] == [5, 4]
    # At column x the logit is 3 - 4 (x + .5 - 2) / 4 between the centres of the patches, 2 and 6.
    expected = 1 / (1 + math.exp(-(3 - 4 * (3.5 - 2) / 4)))
    assert scaled(logits, (1, 8), "pixels")[0, 3] == pytest.approx(expected)


def test_the_solver_keeps_all_but_the_largest_region_if_that_agrees():
    y, x = np.mgrid[:48, :64]
    inside = (np.hypot(y - 24, x - 20) < 14) | (np.hypot(y - 24, x - 52) < 7)
    image = np.where(inside[..., None], (230, 210, 60), (20, 40, 90)).astype(np.uint8)
    rough = inside.copy()
    rough[:12] = False
    found = solved(image, rough)
    soft = bilateral_solver(image, rough[None].astype(np.float32))[0] > 0.5
    assert (found == ndimage.binary_fill_holes(soft)).all() and ndimage.label(found)[1] == 2
    assert (found != rough).any()
    most = ~inside  # an object larger than the background counts as the background, so nothing agrees with it
    assert (solved(image, most) == most).all()
    assert not solved(image, np.zeros((48, 64), bool)).any()
    solved_too, _ = masks(image, bilateral=True)
    assert (solved_too == solved(image, masks(image)[0] > 0.5)).all()


def stored(weight=None, bias=None):
    weight = torch.arange(64.0).view(1, 64, 1, 1) / 64 if weight is None else weight
    return {"decoder": {"weight": weight, "bias": torch.ones(1) if bias is None else bias}}


@pytest.fixture
def head(tmp_path):
    """A file as both methods publish it, for descriptors, whose recipe it needs."""
    torch.save(stored(), tmp_path / "decoder_weights.pt")
    return tmp_path / "decoder_weights.pt"


DESCRIPTORS = ["FEATURES.NAME", "descriptors", "FEATURES.WEIGHTS", ""]


def test_a_file_needs_its_recipe_unless_the_zoo_knows_it(head, monkeypatch, caplog):
    with pytest.raises(UnsegError, match=r"the zoo does not know; .* --config-file: configs/saliency/found\.yaml or"):
        load_saliency_model(head, DESCRIPTORS)
    model, cfg = load_saliency_model(head, DESCRIPTORS, recipe=UNIONSEG)
    assert model.mask.settings == LinearSettings(square=224, cut="patches") and model.settings.invert == "none"
    assert torch.equal(model.mask.layer.weight, torch.arange(64.0) / 64) and model.mask.layer.bias == 1
    image = picture(40, 56)
    features, _ = single_backend(cfg)
    tokens = features([cv2.resize(image, (224, 224))])[0].tokens
    cells = (torch.einsum("c,chw->hw", torch.arange(64.0) / 64, tokens) + 1 > 0).numpy().astype(np.uint8)
    assert (model([image])[0] == cv2.resize(cells, (56, 40))).all()

    entry = registry.entries()["unionseg"]
    content = hashlib.sha256(head.read_bytes()).hexdigest()
    known = {"unionseg": type(entry)(**{**vars(entry), "sha256": content})}
    monkeypatch.setattr("unseg_d2.saliency.load.entries", lambda: known)
    with caplog.at_level("INFO", "unseg_d2"):
        model, _ = load_saliency_model(head, DESCRIPTORS, recipe=FOUND)
    assert (
        model.mask.settings.square == 224 and "is zoo:unionseg; its recipe is configs/saliency/unionseg" in caplog.text
    )


def test_names_of_the_zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEG_D2_ZOO", str(tmp_path))
    monkeypatch.setattr("unseg_d2.zoo.store._checksum_of", lambda path, *_: find(path.stem).sha256)  # a stand-in
    torch.save(stored(), tmp_path / "found.pt")
    model, cfg = load_saliency_model("zoo:found", DESCRIPTORS)
    assert model.mask.settings == LinearSettings() and is_saliency_head("zoo:found")
    for name, square in (("found", 0), ("unionseg", 224)):
        cfg = load_cfg(registry.find(name).recipe_file("saliency"))
        assert cfg.FEATURES.VIT.ARCH == "dino_vits8" and cfg.FEATURES.VIT.FACET == "key"
        assert cfg.FEATURES.WEIGHTS == "zoo:dino_vits8_300ep" and cfg.SALIENCY.LINEAR.SQUARE == square
    image = picture(24, 32)
    Image.fromarray(image).save(tmp_path / "image.png")
    found = SaliencyHead.load("zoo:found", {"FEATURES": {"NAME": "descriptors", "WEIGHTS": ""}})
    for given in (image, tmp_path / "image.png"):
        (mask,) = found(given)
        assert mask.shape == (24, 32) and (mask == model([image])[0]).all()
    with pytest.raises(UnsegError, match="zoo:dino_vits8 is not a saliency head"):
        load_saliency_model("zoo:dino_vits8")


def test_evaluation_by_name(scenes, tmp_path, monkeypatch, capsys):
    """Of two heads at once, each by its own recipe; a name of the zoo is the name of its row."""
    monkeypatch.setenv("UNSEG_D2_ZOO", str(tmp_path))
    monkeypatch.setattr("unseg_d2.zoo.store._checksum_of", lambda path, *_: find(path.stem).sha256)  # a stand-in
    for name in ("found", "unionseg"):
        torch.save(stored(), tmp_path / f"{name}.pt")
    options = ["--output", str(tmp_path / "scores"), *DESCRIPTORS]
    evaluate(
        ["saliency", "--datasets", str(scenes), "--crop", "0", "--weights", "zoo:found", "u=zoo:unionseg", *options]
    )
    figures = json.loads((tmp_path / "scores" / "figures.json").read_text())[str(scenes)]
    assert list(figures) == ["found", "u"] and figures["found"] != figures["u"]
    model = SaliencyHead.load("zoo:found", *DESCRIPTORS)
    found = [model(scenes / "images" / f"{k}.png")[0] > 0.5 for k in range(4)]
    truth = [np.asarray(Image.open(scenes / "masks" / f"{k}.png")) > 0 for k in range(4)]
    accuracy = 100 * np.mean([(mask == right).mean() for mask, right in zip(found, truth)])
    assert figures["found"]["Acc"] == pytest.approx(accuracy)


def test_what_does_not_fit_is_refused(head, tmp_path):
    torch.save(stored(torch.zeros(1, 384, 1, 1)), tmp_path / "wide.pt")
    with pytest.raises(UnsegError, match=r"needs features of 384 channels, but descriptors has 64"):
        load_saliency_model(tmp_path / "wide.pt", DESCRIPTORS, recipe=FOUND)
    with pytest.raises(UnsegError, match=r"SALIENCY\.PREDICT_SIZE has no effect on .*, a linear head"):
        load_saliency_model(head, [*DESCRIPTORS, "SALIENCY.PREDICT_SIZE", "64"], recipe=FOUND)
    torch.save(stored(torch.zeros(2, 64, 1, 1), torch.zeros(2)), tmp_path / "two.pt")
    with pytest.raises(UnsegError, match="holds no weights"):
        load_saliency_model(tmp_path / "two.pt", DESCRIPTORS, recipe=FOUND)


def test_layouts(tmp_path):
    assert linear_layer({"weight": torch.zeros(1, 3, 1, 1), "bias": torch.zeros(1)}) is not None
    assert linear_layer({"model": {"decoder.weight": torch.zeros(1, 3, 1, 1), "decoder.bias": torch.zeros(1)}})
    for other in ({}, {"decoder": 1}, stored(torch.zeros(1, 3, 3, 3)), {"model": {"a": torch.zeros(1)}}, [1]):
        assert linear_layer(other) is None
    torch.save({"model": {"a": torch.zeros(1)}, "feature_channels": 3}, tmp_path / "sempart.pth")
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "detector.pth")
    assert is_saliency_head(tmp_path / "sempart.pth") and not is_saliency_head(tmp_path / "detector.pth")
    assert not is_saliency_head(Path("none.pth")) and not is_saliency_head("zoo:cuts3d")
