"""Counts of a label set by hand, and what each generator advises where many images have no mask."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.api import generate_masks
from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.masks import MASK_GENERATORS
from unseg_d2.pseudo.label_set import export, read_label_set, summarise
from unseg_d2.pseudo.merge import merge_files
from unseg_d2.pseudo.tally import Rejected, Tally, advice, check_not_empty
from unseg_d2.rle import encode_mask

LOST = ("MASKS.GENERATOR", "lost", "MASKS.LOST.CENTER", "False")


def info(*opts: str, features: str = "descriptors") -> dict:
    cfg = load_cfg(None, list(opts))
    return {"settings": {name: cfg[name] for name in ("MASKS", "REFINE")}, "features": {"name": features}}


def test_counts_in_words() -> None:
    assert Tally.of([0, 31, 0]) == Tally(images=3, masks=31, empty=2, most=31)
    assert Tally.of([0, 31, 0]).line() == "31 masks on 3 images, at most 31 on one; 2 images have none (67 %)"
    assert Tally.of([2, 0, 1, 1]).line("instances") == (
        "4 instances on 4 images, at most 2 on one; 1 image has none (25 %)"
    )
    assert Tally.of([1, 1]).line() == "2 masks on 2 images" and Tally.of([0]).line() == "0 masks on 1 images"
    assert Tally.of([1, 3]).line() == "4 masks on 2 images, at most 3 on one" and Tally.of([]) == Tally(0, 0, 0, 0)


def test_little_is_said_where_few_images_are_empty() -> None:
    lost = info("MASKS.GENERATOR", "lost")
    assert advice(Tally.of([1, 1, 1, 1, 0]), lost) == "" and advice(Tally.of([]), lost) == ""
    assert advice(Tally.of([1, 1, 1, 0]), lost).startswith("1 of 4 images have no mask: set MASKS.LOST.CENTER True")
    assert advice(Tally.of([0, 0]), lost).startswith("No image has a mask: set MASKS.LOST.CENTER True")


@pytest.mark.parametrize("name", MASK_GENERATORS.names())
def test_every_generator_names_a_key_that_exists(name: str) -> None:
    """In one line, with each of its settings and with refinement or without."""
    for more in ([], ["REFINE.NAME", "none"], ["MASKS.LOST.CENTER", "True"]):
        text = advice(Tally.of([0, 0]), info("MASKS.GENERATOR", name, *more))
        assert text.startswith("No image has a mask: ") and text.endswith(".") and "\n" not in text
        words = [word.strip("`,.:;()") for word in text.split()]
        keys = [word for word in words if "." in word and word.isupper()]
        assert keys or "features" in text
        for key in keys:
            node = load_cfg(None, [])
            for part in key.split("."):
                assert part in node, f"{key} of {name}"
                node = node[part]


def test_advice_knows_the_settings() -> None:
    centred = advice(Tally.of([0]), info("MASKS.GENERATOR", "lost", "MASKS.LOST.CENTER", "True"))
    assert "MASKS.LOST.CENTER" not in centred and "features" in centred
    assert "now 0.3" in advice(Tally.of([0]), info("MASKS.GENERATOR", "promerge", "MASKS.PROMERGE.MAX_LIKENESS", "0.3"))
    assert "raise MASKS.TOKENCUT.TAU (now 0.2)" in advice(Tally.of([0]), info("MASKS.GENERATOR", "tokencut"))
    assert "ROUNDS.SCORE_THRESHOLDS" in advice(Tally.of([0]), info() | {"rounds": [{}]})
    for other in ({}, info(features="labels/masks")):
        assert "look at the label set" in advice(Tally.of([0]), other)
    older = info("MASKS.GENERATOR", "maskcut")  # made before there were MASKS.STOP and MASKS.PRIOR
    older["settings"]["MASKS"] = {"GENERATOR": "maskcut", "MASKCUT": {"TAU": 0.3}}
    assert "raise MASKS.MASKCUT.TAU (now 0.3)" in advice(Tally.of([0]), older)
    unknown = info()
    unknown["settings"]["MASKS"] = {"GENERATOR": "not_imported_here"}
    assert "MASKS.NOT_IMPORTED_HERE" in advice(
        Tally.of([0]), unknown | {"settings": {"MASKS": unknown["settings"]["MASKS"]}}
    )


def empty(**rejected: tuple[int, int]) -> Tally:
    return Tally(4, 0, 4, 0, {name.replace("__", "."): Rejected(*found) for name, found in rejected.items()})


def test_the_key_to_turn_is_that_of_the_filter_that_rejected_most() -> None:
    promerge = info("MASKS.GENERATOR", "promerge")
    assert advice(empty(max_background=(9, 3), max_likeness=(40, 2)), promerge) == (
        "No image has a mask: raise MASKS.PROMERGE.MAX_BACKGROUND (now 0.8). Turned down in them: 9 by "
        "MASKS.PROMERGE.MAX_BACKGROUND (3 images), 40 by MASKS.PROMERGE.MAX_LIKENESS (2 images)."
    )
    assert "lower MASKS.PROMERGE.MIN_ATTENTION (now 0)" in advice(empty(min_attention=(1, 1)), promerge)
    assert "raise MASKS.PROMERGE.MAX_LIKENESS (now 0.1), from" in advice(empty(max_likeness=(1, 1)), promerge)
    refused = advice(empty(REFINE__MIN_IOU=(4, 4), max_likeness=(1, 1)), promerge)
    assert "lower REFINE.MIN_IOU (now 0.5)" in refused and "4 by REFINE.MIN_IOU (4 images), 1 by MASKS" in refused
    words = advice(Tally(2, 0, 2, 0, {"patches that are all similar": Rejected(2, 2)}), info(*LOST))
    assert words.startswith("No image has a mask: set MASKS.LOST.CENTER True") and "2 by patches that" in words


def test_lines_of_shards_are_counted_where_they_have_no_mask() -> None:
    lines = [{"annotations": [{}]}, {"rejected": {"a": 5}}, {"rejected": {"a": 1, "b": 2}}, {"annotations": []}]
    tally = Tally.of_lines(lines)
    assert tally == Tally(4, 1, 3, 1, {"a": Rejected(6, 2), "b": Rejected(2, 1)})
    assert Tally.from_info({"counts": json.loads(json.dumps(tally.to_info()))}) == tally
    assert Tally.from_info({}) is None and Tally.from_info({"counts": {"images": 1}}) is None


def test_a_training_on_nothing_is_refused() -> None:
    check_not_empty({"counts": Tally.of([0, 1]).to_info()}, "labels.json")
    check_not_empty({}, "labels.json")
    with pytest.raises(UnsegError, match=r"nothing to train on in labels\.json\. No image has a mask: set MASKS\.LOST"):
        check_not_empty(info(*LOST) | {"counts": Tally.of([0, 0]).to_info()}, "labels.json")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{k}.png")
    return tmp_path / "photos"


def test_lost_on_descriptors_says_what_to_change(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opts = (*LOST, "FEATURES.NAME", "descriptors", "FEATURES.IMAGE_SIZE", 64)
    with caplog.at_level(logging.INFO, "unseg_d2"):
        labels = generate_masks(None, *opts, images=photos, output=tmp_path / "out")
    last = caplog.messages[-1]
    assert last.startswith("No image has a mask: set MASKS.LOST.CENTER True") and last in summarise(tmp_path / "out")
    counts = json.loads(labels.read_text())["info"]["counts"]
    assert last.endswith("Turned down in them: 3 by patches that are all similar (3 images).")
    rejected = {"patches that are all similar": {"candidates": 3, "images": 3}}
    numbers = {"images": 3, "masks": 0, "images_without_masks": 3, "most_masks_on_an_image": 0}
    assert counts == numbers | {"rejected_there": rejected}
    stated = (*opts[:2], *opts[4:])  # without the key, what fits descriptors counts
    found = generate_masks(None, *stated, images=photos, output=tmp_path / "centred")
    assert read_label_set(found).info["counts"]["masks"] == 3 and "No image" not in summarise(tmp_path / "centred")
    assert read_label_set(export(tmp_path / "out", tmp_path / "copy.json")).info["counts"] == counts


def test_a_merge_counts_anew(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opts = (*LOST, "FEATURES.NAME", "descriptors", "FEATURES.IMAGE_SIZE", 64)
    labels = generate_masks(None, *opts, images=photos, output=tmp_path / "out")
    mask = np.zeros((48, 64), bool)
    mask[10:20, 10:30] = True
    result = {
        "image_id": 1,
        "category_id": 1,
        "bbox": [10, 10, 20, 10],
        "score": 0.9,
        "segmentation": encode_mask(mask),
    }
    (tmp_path / "predictions.json").write_text(json.dumps([result, result | {"score": 0.1}]))
    with caplog.at_level(logging.INFO, "unseg_d2"):
        merged = merge_files(
            labels, tmp_path / "predictions.json", tmp_path / "merged.json", score_threshold=0.5, match_iou=0.5
        )
    assert read_label_set(merged).info["counts"]["images_without_masks"] == 2
    assert "After the merge: 1 masks on 3 images, at most 1 on one; 2 images have none (67 %)." in caplog.messages
    assert caplog.messages[-1].startswith("2 of 3 images have no mask: lower ROUNDS.SCORE_THRESHOLDS")


@pytest.mark.parametrize("there", [[], "x", {"TAU": 3}, {"TAU": {"candidates": 1}}, None])
def test_counts_that_somebody_else_wrote_are_passed_over(there: object) -> None:
    numbers = {"images": 2, "masks": 1, "images_without_masks": 1, "most_masks_on_an_image": 1}
    assert Tally.from_info({"counts": numbers | {"rejected_there": there}}) == Tally(2, 1, 1, 1)
