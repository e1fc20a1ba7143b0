from __future__ import annotations

import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features.follow_device import followed, precision_of
from unseg_d2.recipes import find_recipe

FOLLOWS = ["FEATURES.PRECISION", "auto", "FEATURES.BATCH_SIZE", "0"]
MEMBERS = ["FEATURES.MEMBERS", "[{'PRECISION': 'auto'}, {'PRECISION': 'float32'}, {'IMAGE_SIZE': 320}]"]


def test_on_a_cpu_nothing_changes() -> None:
    cfg = load_cfg(None, [*FOLLOWS, *MEMBERS, "FEATURES.DEVICE", "cpu"])
    assert precision_of(cfg) == torch.float32
    assert followed(cfg) == {
        "FEATURES.PRECISION": "float32",
        "FEATURES.BATCH_SIZE": 1,
        "FEATURES.MEMBERS": [{"PRECISION": "float32"}, {"PRECISION": "float32"}, {"IMAGE_SIZE": 320}],
    }


def test_on_a_card_features_are_in_half_precision_and_batches(card: None) -> None:
    cfg = load_cfg(None, [*FOLLOWS, *MEMBERS, "FEATURES.DEVICE", "cuda"])
    assert precision_of(cfg) == torch.float16
    assert followed(cfg) == {
        "FEATURES.PRECISION": "float16",
        "FEATURES.BATCH_SIZE": 8,
        "FEATURES.MEMBERS": [{"PRECISION": "float16"}, {"PRECISION": "float32"}, {"IMAGE_SIZE": 320}],
    }


def test_what_is_named_stays(card: None) -> None:
    cfg = load_cfg(None, ["FEATURES.PRECISION", "bfloat16", "FEATURES.BATCH_SIZE", "3", "FEATURES.DEVICE", "cuda"])
    assert precision_of(cfg) == torch.bfloat16 and followed(cfg) == {}


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(UnsegError, match=r"FEATURES\.DEVICE is 'gpu'"):
        followed(load_cfg(None, [*FOLLOWS, "FEATURES.DEVICE", "gpu"]))


RECIPES = ("masks/lost", "masks/primaps", "masks/tokencut", "masks/tokencut_detection", "cuvler", "cuts3d", "promerge")


@pytest.mark.parametrize("name", [*RECIPES, "cutler", "photos/dino"])
def test_recipes_for_masks_follow_the_device(name: str) -> None:
    file = name if "/" in name else f"{name}/cascade_mask_rcnn_R_50_FPN"
    cfg = load_cfg(find_recipe(f"configs/{file}.yaml"), ["FEATURES.DEVICE", "cpu"])
    assert followed(cfg) == {"FEATURES.PRECISION": "float32", "FEATURES.BATCH_SIZE": 1}
