"""Keys of this package and the heads that compute them: what is asked, what is refused, by both engines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fvcore.common.config import CfgNode

from unseg_d2.detectors.builtin.model import build_roi_heads
from unseg_d2.detectors.heads import COMPUTED_BY, HEADS, MASK_HEAD, ROI_HEADS, asked, check_heads
from unseg_d2.errors import UnsegError

ON = {
    "MODEL.ROI_HEADS.USE_DROPLOSS": True,
    "MODEL.ROI_HEADS.USE_SOFT_TARGETS": True,
    "MODEL.ROI_MASK_HEAD.CONFIDENCE": "spatial",
}


def in_capitals(key: str) -> str:
    return key.replace(".", "__")


@pytest.mark.parametrize("key", ON)
def test_a_key_is_asked_for_where_it_is_on(key: str, tiny_cfg: Callable[..., CfgNode]) -> None:
    off = {in_capitals(other): "False" if value is True else "none" for other, value in ON.items()}
    assert list(asked(tiny_cfg(**off))) == []
    assert list(asked(tiny_cfg(**off | {in_capitals(key): ON[key]}))) == [(key, ON[key])]
    assert list(asked({})) == []  # a configuration without our keys


def test_a_loss_of_ones_own_is_asked_for() -> None:
    assert list(asked({"LOSSES": {"CLASSIFICATION": "focal", "MASK": "Cross_Entropy"}})) == [
        ("LOSSES.CLASSIFICATION", "focal")
    ]


@pytest.mark.parametrize(
    ("key", "part"), [(key, part) for key in ON for part in COMPUTED_BY[key]], ids=lambda name: str(name).split(".")[-1]
)
def test_heads_that_ignore_a_key_are_refused(key: str, part: str, tiny_cfg: Callable[..., CfgNode]) -> None:
    cfg = tiny_cfg(**{in_capitals(key): ON[key]})
    check_heads(cfg, lambda *_: True)
    name = cfg.MODEL[part.removeprefix("MODEL.")].NAME
    off = "none" if key.endswith("CONFIDENCE") else "False"
    message = f"{key} is {ON[key]}, but {part}.NAME is {name}, which ignores it; set the key to {off}, or choose "
    with pytest.raises(UnsegError, match=message + " or ".join(HEADS[part])):
        check_heads(cfg, lambda asked_for, _: asked_for != part)


def test_without_masks_no_mask_head_is_needed(tiny_cfg: Callable[..., CfgNode]) -> None:
    cfg = tiny_cfg(MODEL__MASK_ON=False, MODEL__ROI_HEADS__USE_SOFT_TARGETS=True)
    check_heads(cfg, lambda part, _: part == ROI_HEADS)
    with pytest.raises(UnsegError, match="USE_SOFT_TARGETS"):
        check_heads(cfg, lambda part, _: part == MASK_HEAD)


def test_a_key_for_masks_without_masks_is_refused(tiny_cfg: Callable[..., CfgNode]) -> None:
    message = r"MODEL\.ROI_MASK_HEAD\.CONFIDENCE spatial has no effect while MODEL\.MASK_ON is False"
    with pytest.raises(UnsegError, match=message):
        tiny_cfg(MODEL__MASK_ON=False, MODEL__ROI_MASK_HEAD__CONFIDENCE="spatial")
    cfg = tiny_cfg(MODEL__ROI_MASK_HEAD__CONFIDENCE="spatial")
    cfg.MODEL.MASK_ON = False  # as a project may that does not load recipes as we do
    with pytest.raises(UnsegError, match=message):
        build_roi_heads(cfg, 32)


@pytest.mark.parametrize("name", ["CascadeROIHeads", "CustomCascadeROIHeads", "DropLossCascadeROIHeads"])
def test_the_builtin_engine_knows_all_names(name: str, tiny_cfg: Callable[..., CfgNode]) -> None:
    mask = {"CascadeROIHeads": "MaskRCNNConvUpsampleHead", "CustomCascadeROIHeads": "CustomMaskRCNNConvUpsampleHead"}
    cfg = tiny_cfg(MODEL__ROI_HEADS__NAME=name, MODEL__ROI_MASK_HEAD__NAME=mask.get(name, "ConfidenceMaskHead"))
    assert len(build_roi_heads(cfg, 32).box_predictor) == 3


@pytest.mark.parametrize(("part", "name"), [("ROI_HEADS", "Res5ROIHeads"), ("ROI_MASK_HEAD", "PointRendMaskHead")])
def test_the_builtin_engine_names_what_it_has(part: str, name: str, tiny_cfg: Callable[..., CfgNode]) -> None:
    with pytest.raises(UnsegError, match=rf"MODEL\.{part}\.NAME is {name}, but the built-in engine has only "):
        build_roi_heads(tiny_cfg(**{f"MODEL__{part}__NAME": name}), 32)
