"""A batch whose masks are refined on a card, against the same pipeline on the CPU."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from card import pretended_card
from pseudo_fakes import MeanColour, pipeline_of

from unseg_d2.pseudo import refine_together as module
from unseg_d2.pseudo.pipeline import MaskPipeline
from unseg_d2.pseudo.post_process import Refined
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.refine import build_refiner, threads
from unseg_d2.structures import PatchFeatures, Proposals


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops are refined in this thread: the pretended card is not there in others."""
    monkeypatch.setattr(threads, "_num_threads", lambda: 1)


WAYS = [("input", "nearest"), ("input", "bilinear"), ("image", "nearest"), ("image", "bilinear"), ("crops", "nearest")]


class AnyShape(MeanColour):
    """Mean colours of patches of images of any shape."""

    def describe(self, image: np.ndarray) -> PatchFeatures:
        rows, columns = image.shape[0] // 8, image.shape[1] // 8
        patches = image.reshape(rows, 8, columns, 8, 3).mean((1, 3))
        return PatchFeatures(torch.from_numpy(patches).permute(2, 0, 1).float(), 8)


class Channels:
    """A proposal for each channel that is bright somewhere, with a confidence, and one that refinement turns down."""

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        return [self.propose(one.tokens) for one in features]

    def propose(self, tokens: torch.Tensor) -> Proposals:
        masks = tokens > 150
        masks = masks[masks.flatten(1).any(1)]
        if not len(masks):
            return Proposals.empty(tuple(tokens.shape[1:]))
        single = torch.zeros_like(masks[:1])
        single[0, 0, 0] = True
        masks = torch.cat([masks, single])
        return Proposals(masks, torch.linspace(0.9, 0.5, len(masks)), tokens[:1].expand(len(masks), -1, -1) / 255)


def photos() -> list[np.ndarray]:
    """Images of three sizes, two of one size; one without an object."""
    rng = np.random.default_rng(0)
    images = []
    for seed, (height, width) in enumerate([(90, 120), (101, 75), (90, 120), (64, 64)]):
        image = rng.integers(60, 80, (height, width, 3), dtype=np.uint8)
        rows, columns = np.mgrid[:height, :width]
        for channel in range(seed, 3):
            y, x = (0.3 + 0.2 * channel) * height, (0.7 - 0.2 * channel) * width
            image[(rows - y) ** 2 + (columns - x) ** 2 < (0.22 * height) ** 2, channel] += 150
        images.append(image)
    return images


def pipeline_on(device: str, name: str = "guided", **settings: str) -> MaskPipeline:
    resize, mode = settings.pop("resize", "square"), settings.pop("mode", "default")
    refiner = build_refiner(name, device=device)
    return pipeline_of(AnyShape(), Channels(), refiner, 96, resize=resize, mode=mode, **settings)


def assert_equal(found: list[PseudoMasks], expected: list[PseudoMasks]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.rejected == theirs.rejected
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
            np.testing.assert_array_equal(one.confidence, other.confidence)
            assert one.score == other.score


@pytest.mark.parametrize("resize", ["square", "nearest_multiple", "pad"])
@pytest.mark.parametrize(("where", "upsample"), WAYS)
def test_every_way_to_resize_and_refine(card: None, resize: str, where: str, upsample: str) -> None:
    settings = {"resize": resize, "where": where, "upsample": upsample}
    expected = pipeline_on("cpu", **settings)(photos())
    assert_equal(pipeline_on("cuda", **settings)(photos()), expected)
    assert [bool(masks) for masks in expected] == [True, True, True, False]


@pytest.mark.parametrize("name", ["crf", "crf_labels"])
@pytest.mark.parametrize("mode", ["default", "parity"])
def test_the_crf_too(card: None, name: str, mode: str) -> None:
    assert_equal(pipeline_on("cuda", name, mode=mode)(photos()), pipeline_on("cpu", name, mode=mode)(photos()))


def test_masks_of_large_images_are_resized_on_the_host(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = pipeline_on("cpu")(photos())
    monkeypatch.setattr(module, "MOST_PIXELS", 90 * 120)
    monkeypatch.setattr(module, "resize_together", None)  # not called
    assert_equal(pipeline_on("cuda")(photos()), expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card is there: nothing is pretended")
@pytest.mark.parametrize(("name", "most"), [("guided", 2), ("crf", 3), ("crf_labels", 2)])
def test_a_batch_waits_as_often_as_an_image(name: str, most: int) -> None:
    for images in (photos()[:1], [photos()[0]] * 8):
        with pretended_card() as record:
            pipeline = pipeline_on("cuda", name)
            pipeline.propose([pipeline.looking(image, None) for image in images])  # makes what images of a size share
            record.clear()
            pipeline.propose([pipeline.looking(image, None) for image in images])
        assert record.num_waits <= most, record.report()


def test_masks_travel_as_bits() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((3, 50, 61)) < 0.5
    sent = pickle.dumps(Refined(masks, np.ones(3, bool), np.ones(3, np.float32)))
    assert len(sent) < masks.size / 4
    back = pickle.loads(sent)
    np.testing.assert_array_equal(back.masks, masks)
    assert back.masks.dtype == bool and back.confidence is None
