"""What the section of losses refuses by itself; tests/detectors/test_losses.py has what the engines refuse."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest
import yaml

from unseg_d2.config import get_cfg, load, load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.losses.registry import CLASSIFICATION_LOSSES, MASK_LOSSES, LossSettings
from unseg_d2.settings import SECTIONS, Settings, look_up, setting


def test_a_mask_loss_without_masks_is_refused():
    with pytest.raises(ValueError, match=r"LOSSES\.MASK dice has no effect while MODEL\.MASK_ON is False"):
        LossSettings(mask="dice")
    assert LossSettings().mask == "cross_entropy"


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("LOSSES.CLASSIFICATION droploss", "MODEL.ROI_HEADS.USE_DROPLOSS", True),
        ("LOSSES.CLASSIFICATION soft_target", "MODEL.ROI_HEADS.USE_SOFT_TARGETS", True),
        ("LOSSES.MASK spatial_confidence", "MODEL.ROI_MASK_HEAD.CONFIDENCE", "spatial"),
        ("LOSSES.MASK scalar_confidence", "MODEL.ROI_MASK_HEAD.CONFIDENCE", "scalar"),
    ],
)
def test_names_of_the_published_losses_set_the_published_keys(name, key, value, caplog):
    load._report.cache_clear()
    registry, loss = (CLASSIFICATION_LOSSES, MASK_LOSSES)["MASK" in name], name.split()[1]
    masks = ["MODEL.MASK_ON", "True"]
    with caplog.at_level(logging.INFO, logger="unseg_d2"):
        named, keyed = load_cfg(None, [*masks, *name.split()]), load_cfg(None, [*masks, key, repr(value)])
    assert f"{name} sets {key} to {value}." in caplog.text
    assert look_up(named, key) == look_up(keyed, key) == value
    assert registry.build(named) is registry.build(keyed, "cross_entropy")
    changed = yaml.safe_load(named.dump())
    changed["LOSSES"] = yaml.safe_load(keyed.dump())["LOSSES"]
    assert changed == yaml.safe_load(keyed.dump())
    assert load_cfg(None, [*masks, *name.split(), key, repr(value)]) == named  # both are one
    with pytest.raises(UnsegError, match=f"{name} works with {key} {value}, but that is"):
        registry.build(get_cfg(), loss)  # of a project with a configuration of its own


def test_names_and_keys_that_contradict_each_other():
    words = ["MODEL.MASK_ON", "True", "LOSSES.MASK", "spatial_confidence", "MODEL.ROI_MASK_HEAD.CONFIDENCE", "scalar"]
    with pytest.raises(UnsegError, match=r"spatial_confidence works with .*CONFIDENCE spatial, but that is scalar"):
        load_cfg(None, words)


def test_settings_of_a_loss_that_is_not_named(monkeypatch):
    @dataclass(frozen=True)
    class HalfSettings(Settings):
        share: float = setting(0.5, "how much", low=0)

    monkeypatch.setattr("unseg_d2.settings.SECTIONS", known := dict(SECTIONS))
    monkeypatch.setattr("unseg_d2.config.load.SECTIONS", known)
    for registry in (CLASSIFICATION_LOSSES, MASK_LOSSES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        registry.register("half", settings=HalfSettings)(lambda settings: None)
    with pytest.raises(UnsegError, match=r"LOSSES\.HALF\.SHARE is 0\.1, which has no effect"):
        load_cfg(None, ["LOSSES.HALF.SHARE", "0.1"])
    masks = ["MODEL.MASK_ON", "True", "LOSSES.HALF.SHARE", "0.1"]
    assert load_cfg(None, [*masks, "LOSSES.MASK", "half"]) and load_cfg(None, [*masks, "LOSSES.CLASSIFICATION", "half"])
