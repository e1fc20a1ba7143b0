"""Registries: parts by name, made from their settings."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from unseg_d2.config import get_cfg, load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.registry import Registry
from unseg_d2.settings import SECTIONS, Settings, setting


@dataclass(frozen=True)
class ToySettings(Settings):
    size: int = setting(2, "how large", low=1)


@pytest.fixture
def toys(monkeypatch) -> Registry:
    monkeypatch.setattr("unseg_d2.settings.SECTIONS", known := dict(SECTIONS))
    monkeypatch.setattr("unseg_d2.config.load.SECTIONS", known)
    registry: Registry = Registry("MASKS.GENERATOR", "MASKS")

    @registry.register(settings=ToySettings)
    class Toy:
        def __init__(self, settings: ToySettings) -> None:
            if settings.size == 13:
                raise ValueError("13 is no size")
            self.settings = settings

    @registry.register("plain")
    def make_plain() -> str:
        return "plain"

    return registry


def test_made_from_the_settings_of_its_section(toys):
    cfg = load_cfg(None, ["MASKS.GENERATOR", "Toy", "MASKS.TOY.SIZE", "5"])
    assert toys.build(cfg).settings == ToySettings(5)
    assert toys.build(cfg, "plain") == "plain"
    assert toys.names() == ["plain", "toy"]


def test_mistakes_are_one_sentence(toys):
    with pytest.raises(UnsegError, match=r"GENERATOR is 'tot', but must be one of plain, toy\. Did you mean 'toy'"):
        toys.build(load_cfg(None, ["MASKS.GENERATOR", "tot"]))
    with pytest.raises(UnsegError, match=r"The settings in MASKS\.TOY do not work: 13 is no size\."):
        toys.build(load_cfg(None, ["MASKS.TOY.SIZE", "13"]), "toy")


def test_a_name_has_one_owner(toys):
    with pytest.raises(UnsegError, match=r"MASKS.GENERATOR plain is already .*make_plain"):
        toys.register("plain")(get_cfg)
