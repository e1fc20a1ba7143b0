from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pseudo_fakes import BrightRed, MeanColour, pipeline_of

from unseg_d2.config import edited, load_cfg
from unseg_d2.data.images import ImageFile, ImageProblem, read_image
from unseg_d2.depth import GridDepth
from unseg_d2.errors import UnsegError
from unseg_d2.features import Ensemble
from unseg_d2.masks import build_generator
from unseg_d2.pseudo.geometry import network_input
from unseg_d2.pseudo.pipeline import build_pipeline
from unseg_d2.pseudo.post_process import enlarge, mask_iou, resize_mask
from unseg_d2.refine import build_refiner
from unseg_d2.rle import decode_mask, encode_mask
from unseg_d2.structures import DepthMap, PatchFeatures, Proposals


def half_red(height: int, width: int) -> np.ndarray:
    """Black, with a red left half."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 255
    return image


@pytest.mark.parametrize("mode", ["default", "parity"])
def test_masks_come_back_at_the_size_of_each_image(mode: str) -> None:
    pipeline = pipeline_of(MeanColour(), BrightRed(), mode=mode)
    images = [half_red(30, 40), half_red(200, 100)]
    for image, (found,) in zip(images, pipeline(images), strict=True):
        expected = image[..., 0] > 0
        assert found.mask.dtype == bool and found.mask.shape == expected.shape
        assert (found.mask & expected).sum() / (found.mask | expected).sum() > 0.9
        assert found.score == 0.75 and found.confidence.shape == (8, 8)


def test_side_is_a_multiple_of_the_patch() -> None:
    seen = []

    class Spy(MeanColour):
        def __call__(self, images):
            seen.extend(image.shape for image in images)
            return super().__call__(images)

    pipeline_of(Spy(), BrightRed(), side=67)([half_red(30, 40)])
    assert seen == [(64, 64, 3)]


def test_images_without_proposals_are_not_refined() -> None:
    def refuse(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
        raise AssertionError("nothing to refine")

    assert pipeline_of(MeanColour(), BrightRed(), refuse)([np.zeros((30, 40, 3), np.uint8)]) == [[]]


@pytest.mark.parametrize(("shift", "survives"), [(0, True), (21, True), (22, False), (64, False)])
def test_masks_that_refinement_changes_too_much_are_dropped(shift: int, survives: bool) -> None:
    """A mask of 64x64 shifted by 21 px keeps IoU 43 / 85 > 0.5; by 22 px it is 42 / 86 < 0.5."""

    def move(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
        assert masks.sum() == 64 * 64
        return np.roll(masks, shift, axis=1)

    pipeline = pipeline_of(MeanColour(), BrightRed(), move, 128)
    image = np.zeros((128, 128, 3), np.uint8)
    image[:64, :64, 0] = 255
    assert len(pipeline([image])[0]) == survives


def test_each_survivor_keeps_its_own_score_and_confidence() -> None:
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[0, 0], masks[1, 1], masks[2, 2] = True, True, True
    confidence = torch.arange(3).view(3, 1, 1).expand(3, 4, 4) / 3

    def propose(features: list[PatchFeatures]) -> list[Proposals]:
        return [Proposals(masks, torch.tensor([0.9, 0.8, 0.7]), confidence)]

    def lose_the_second(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return masks & np.array([True, False, True])[:, None, None]

    (found,) = pipeline_of(MeanColour(), propose, lose_the_second, 32)([half_red(32, 32)])
    assert [round(one.score, 6) for one in found] == [0.9, 0.7]
    assert [float(one.confidence[0, 0]) for one in found] == pytest.approx([0, 2 / 3])


def test_masks_that_vanish_at_image_size_are_dropped() -> None:
    image = np.zeros((512, 512, 3), np.uint8)
    image[:64, :64, 0] = 255
    pipeline = pipeline_of(MeanColour(), BrightRed(), side=512)
    assert len(pipeline([image])[0]) == 1
    assert pipeline([np.array(Image.fromarray(image).resize((2, 2), Image.Resampling.BOX))]) == [[]]


def test_square_is_pillows_lanczos() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    expected = Image.fromarray(image).resize((48, 48), Image.LANCZOS)
    assert (network_input(image, 8, "square", 48).image == np.asarray(expected)).all()


def test_enlarging_repeats_patches() -> None:
    masks = np.random.default_rng(0).random((2, 3, 5)) < 0.5
    assert (enlarge(masks[:, :, :3], (12, 12), "nearest") == masks[:, :, :3].repeat(4, 1).repeat(4, 2)).all()
    nearest = torch.nn.functional.interpolate(torch.from_numpy(masks)[None].float(), size=(16, 16))[0] > 0.5
    assert (enlarge(masks, (16, 16), "nearest") == nearest.numpy()).all()


def test_iou_of_partners() -> None:
    masks = np.zeros((3, 4, 4), bool)
    masks[0, :2], masks[1, 0] = True, True
    others = np.zeros((3, 4, 4), bool)
    others[0, 1:3], others[1, 0] = True, True
    assert mask_iou(masks, others).tolist() == [1 / 3, 1.0, 0.0]


def test_parity_resizes_as_the_published_script() -> None:
    """Bicubic on 0 and 255, then above half of the largest value."""
    mask = np.random.default_rng(0).random((48, 48)) < 0.5
    pixels = np.asarray(Image.fromarray(np.uint8(mask) * 255).resize((31, 17)))  # Pillow's default filter is bicubic
    assert (resize_mask(mask, 17, 31, "parity") == (pixels > pixels.max() / 2)).all()
    assert not resize_mask(np.zeros((48, 48), bool), 17, 31, "parity").any()


def published(shared_data: Path) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Arrays of the published script's run, and the images it ran on."""
    folder = shared_data / "golden"
    names = [image["file_name"] for image in json.loads((folder / "manifest.json").read_text())["images"]]
    return dict(np.load(folder / "maskcut.npz")), [read_image(shared_data / "coco_dev" / "images" / n) for n in names]


def test_published_squares_are_reproduced(shared_data: Path) -> None:
    described = json.loads((shared_data / "golden" / "manifest.json").read_text())["images"]
    for entry in described:
        image = read_image(shared_data / "coco_dev" / "images" / entry["file_name"])
        assert (
            hashlib.sha256(network_input(image, 8, "square", 480).image.tobytes()).hexdigest()
            == entry["sha256_resized480"]
        )


def test_published_records_are_reproduced(shared_data: Path) -> None:
    """From the refined masks of the published script, at 480 px, to the annotations that it wrote."""
    golden, images = published(shared_data)
    masks = np.unpackbits(golden["raw_crf480_filled"], -1).reshape(-1, 3, 480, 480) > 0
    written = []
    for index, image in enumerate(images):
        for mask in masks[index][golden["raw_kept"][index]]:
            resized = resize_mask(mask, *image.shape[:2], "parity")
            written.append((index, encode_mask(resized)["counts"]))
    expected = zip(golden["raw_final_image_index"], golden["raw_final_rle"], strict=True)
    assert written == [(int(index), bytes(counts).decode()) for index, counts in expected]


@pytest.mark.parametrize("index", [1, 2])
def test_published_masks_are_reproduced_from_features_on(shared_data: Path, index: int) -> None:
    """The whole pipeline in parity mode on the published run's features; the eigenvector's peak is positive."""
    golden, images = published(shared_data)
    features = np.load(shared_data / "golden" / "features.npz")
    tokens = torch.from_numpy(features[features.files[0]][index].astype(np.float32))

    class Recorded(MeanColour):
        def __call__(self, images: list[np.ndarray]) -> list[PatchFeatures]:
            return [PatchFeatures(tokens, 8)]

    cfg = load_cfg(None, ["MASKS.MODE", "parity"])
    refiner = build_refiner("crf")
    pipeline = pipeline_of(Recorded(), build_generator(cfg), refiner, 480, mode="parity")
    prefix = "pos" if index in golden["pos_image_index"] else "raw"
    height, width = images[index].shape[:2]
    rles = golden[f"{prefix}_final_rle"][golden[f"{prefix}_final_image_index"] == index]
    expected = [decode_mask({"size": [height, width], "counts": bytes(r).decode()}, height, width) for r in rles]
    (found,) = pipeline([images[index]])
    assert len(found) == len(expected) > 0
    for mask, other in zip(found, expected):
        assert (mask.mask & other).sum() / (mask.mask | other).sum() >= 0.99


class Stripes:
    """Four proposals of one row of patches each, the last the best."""

    def __call__(self, features: list[PatchFeatures]) -> list[Proposals]:
        return [Proposals(torch.eye(4, dtype=torch.bool)[:, :, None].expand(4, 4, 4), torch.arange(4) / 4)] * len(
            features
        )


def test_of_too_many_proposals_the_best_are_taken() -> None:
    pipeline = pipeline_of(MeanColour(), Stripes(), side=32, cap=2)
    (found,) = pipeline([half_red(32, 32)])
    assert [mask.score for mask in found] == [0.5, 0.75] and found.left_out == 2
    (everything,) = pipeline_of(MeanColour(), Stripes(), side=32)([half_red(32, 32)])
    assert len(everything) == 4 and everything.left_out == 0


class Far:
    """Depth that grows to the right; images named ``lost`` have none."""

    name, kind, predicts = "far", "metric", False

    def __call__(self, images: list[np.ndarray], files: list[ImageFile]) -> list[DepthMap]:
        for file in files:
            if file.file_name == "lost":
                raise ImageProblem("there is no depth for it")
        return [DepthMap(torch.arange(1.0, 5.0).expand(4, 4), "metric") for _ in images]


def test_generators_see_the_depth_of_each_image() -> None:
    class Near:
        def __call__(self, features: list[PatchFeatures]) -> list[Proposals]:
            return [Proposals((one.depth.depth < 2.5)[None], torch.ones(1)) for one in features]

    pipeline = pipeline_of(MeanColour(), Near(), side=32, depth=GridDepth(Far()))
    (found,) = pipeline([np.zeros((40, 40, 3), np.uint8)])[0]
    assert found.mask[:, :19].all() and not found.mask[:, 21:].any()
    with pytest.raises(ImageProblem, match="no depth"):
        pipeline([np.zeros((40, 40, 3), np.uint8)], [ImageFile(Path("lost"), "lost")])


def test_an_ensemble_sees_each_image_at_the_size_of_each_member() -> None:
    class Coarse(MeanColour):
        patch_size = 16

        def describe(self, image: np.ndarray) -> PatchFeatures:
            return PatchFeatures(torch.ones(3, len(image) // 16, len(image) // 16), 16)

    ensemble = Ensemble([(MeanColour(), 64), (Coarse(), 96)])
    views, (features,) = pipeline_of(ensemble, BrightRed()).describe([half_red(30, 40)])
    assert views[0].image.shape == (64, 64, 3)
    assert [member.grid for member in features.members] == [(8, 8), (6, 6)] and features.grid == (8, 8)


def test_a_backend_with_another_grid_is_named() -> None:
    class Short(MeanColour):
        def describe(self, image: np.ndarray) -> PatchFeatures:
            return PatchFeatures(torch.ones(3, 7, 8), 8)

    with pytest.raises(ValueError, match=r"features of mean_colour have a grid of 7x8 patches, .* make 8x8"):
        pipeline_of(Short(), BrightRed(), side=64)([half_red(30, 40)])


WAYS = [("input", "nearest"), ("input", "bilinear"), ("image", "nearest"), ("image", "bilinear"), ("crops", "nearest")]


@pytest.mark.parametrize("resize", ["square", "nearest_multiple", "pad"])
@pytest.mark.parametrize(("where", "upsample"), WAYS)
def test_every_way_to_resize_and_refine_finds_the_object(resize: str, where: str, upsample: str) -> None:
    class AnyShape(MeanColour):
        def describe(self, image: np.ndarray) -> PatchFeatures:
            rows, columns = image.shape[0] // 8, image.shape[1] // 8
            patches = image.reshape(rows, 8, columns, 8, 3).mean((1, 3))
            return PatchFeatures(torch.from_numpy(patches).permute(2, 0, 1).float(), 8)

    def threshold(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
        assert image.dtype == np.uint8 and image.shape[:2] == masks.shape[1:]
        return masks > 0.5

    image = np.zeros((101, 75, 3), np.uint8)
    image[20:70, 8:50, 0] = 255
    pipeline = pipeline_of(AnyShape(), BrightRed(), threshold, 128, resize=resize, where=where, upsample=upsample)
    (found,) = pipeline([image])[0]
    expected = image[..., 0] > 0
    assert found.mask.shape == expected.shape
    assert (found.mask & expected).sum() / (found.mask | expected).sum() > 0.75


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["REFINE.WHERE", "crop"], "REFINE.WHERE in .* is 'crop', but must be one of 'input', 'image', 'crops'"),
        (["REFINE.UPSAMPLE", "cubic"], "REFINE.UPSAMPLE in .* must be one of 'nearest', 'bilinear'"),
        (["REFINE.WHERE", "crops", "REFINE.UPSAMPLE", "bilinear"], "crops needs REFINE.UPSAMPLE nearest"),
        (["MASKS.GENERATOR", "cuts3d"], "cuts3d needs depth: set DEPTH.SOURCE"),
        (["FEATURES.RESIZE", "padded"], "FEATURES.RESIZE in .* is 'padded'.*Did you mean 'pad'"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(options: list[str], message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        build_pipeline(load_cfg(None, ["FEATURES.NAME", "descriptors", *options]))


@pytest.mark.parametrize("name", ["guided", "crf", "crf_labels"])
def test_the_refiner_follows_the_device_of_the_features(card: None, name: str) -> None:
    for device in ("cpu", "cuda"):
        cfg = load_cfg(None, ["FEATURES.NAME", "descriptors", "REFINE.NAME", name, "FEATURES.DEVICE", device])
        assert build_pipeline(cfg).refines_on_card == (device == "cuda")
    assert not build_pipeline(edited(cfg, {f"REFINE.{name.upper()}.DEVICE": "cpu"})).refines_on_card
