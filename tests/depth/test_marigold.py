"""Marigold's source against a stand-in for its pipeline: diffusers is no dependency of the tests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.config import get_cfg
from unseg_d2.data.images import ImageFile
from unseg_d2.depth import build_depth, marigold
from unseg_d2.errors import UnsegError

LAYOUTS = {"channels first": (0, 1), "channels last": (0, 3)}


class Pipeline:
    """Noise of the generator that it is handed, in the layout of a version of diffusers."""

    layout = "channels first"

    @classmethod
    def from_pretrained(cls, model: str) -> Pipeline:
        if model == "missing":
            raise OSError("missing is not a local folder and is not a valid model identifier")
        return cls()

    def to(self, device: str) -> Pipeline:
        self.device = device
        return self

    def set_progress_bar_config(self, disable: bool) -> None:
        assert disable

    def __call__(self, image: Image.Image, num_inference_steps: int, generator: torch.Generator) -> SimpleNamespace:
        assert num_inference_steps == 4
        depth = torch.rand(image.height, image.width, generator=generator).numpy()
        return SimpleNamespace(prediction=np.expand_dims(depth, LAYOUTS[self.layout]))


@pytest.fixture
def diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marigold, "_import_diffusers", lambda: SimpleNamespace(MarigoldDepthPipeline=Pipeline))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_depth_repeats_itself_in_either_layout(diffusers: None, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    monkeypatch.setattr(Pipeline, "layout", layout)
    cfg = get_cfg()
    cfg.DEPTH.SOURCE, cfg.FEATURES.DEVICE = "marigold", "cpu"
    source = build_depth(cfg)
    assert source.kind == "relative" and source.predicts
    image, file = np.zeros((6, 8, 3), np.uint8), ImageFile(Path("a.png"), "a.png")
    first, second = source([image, image], [file, file])
    assert first.depth.shape == (6, 8) and first.depth.dtype == torch.float32
    assert torch.equal(first.depth, second.depth)  # every image starts from the same noise


def test_a_model_that_is_not_there_is_one_sentence(diffusers: None) -> None:
    source = marigold.MarigoldDepth(marigold.MarigoldSettings("missing"))
    with pytest.raises(UnsegError, match=r"missing cannot be loaded .*DEPTH\.MARIGOLD\.MODEL"):
        source([np.zeros((6, 8, 3), np.uint8)], [ImageFile(Path("a.png"), "a.png")])
