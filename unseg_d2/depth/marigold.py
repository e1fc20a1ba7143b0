"""Depth predicted by Marigold, a diffusion model (Ke et al., CVPR 2024), through diffusers.

Shape legend
    H, W   height and width of an image in pixels
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image

from unseg_d2.data.images import ImageFile
from unseg_d2.depth.registry import DEPTH_SOURCES, model_checksum
from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError, missing_extra
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import DepthKind, DepthMap


@dataclass(frozen=True)
class MarigoldSettings(Settings):
    """Which model, and how long it denoises."""

    model: str = setting("prs-eth/marigold-depth-v1-1", "model id on the Hugging Face hub, or local folder")
    steps: int = setting(4, "number of denoising steps", low=1)


@DEPTH_SOURCES.register("marigold", settings=MarigoldSettings)
class MarigoldDepth:
    """Affine-invariant depth, 0 near and 1 far; the noise is drawn from a fixed seed, so results repeat.

    Args:
        settings: see :class:`MarigoldSettings`; ``None`` takes the defaults.
        seed: of the noise that every image starts from.
        device: where the model runs.

    Raises:
        UnsegError: diffusers is not installed, or the model cannot be loaded.
    """

    kind: DepthKind = "relative"
    predicts = True
    supervision = ("depth",)

    def __init__(self, settings: MarigoldSettings | None = None, *, seed: int = 0, device: str = "cpu") -> None:
        settings = settings or MarigoldSettings()
        self.name = f"marigold/{settings.model}/{settings.steps}"
        self._model_id, self._steps = settings.model, settings.steps
        self._seed, self._device = seed, device
        self._diffusers = _import_diffusers()
        self._pipeline: Any = None

    @cached_property
    def checksum(self) -> str:
        """What tells the model in a local folder from another of its name."""
        return model_checksum(self._model_id)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> MarigoldDepth:
        """Return the source of ``cfg.DEPTH.MARIGOLD`` on the device of the features."""
        if cfg.DEPTH.KIND not in ("", cls.kind):
            raise UnsegError(f"Marigold's depth is relative, but DEPTH.KIND is '{cfg.DEPTH.KIND}'; leave it empty.")
        device = str(resolve_device(cfg.FEATURES.DEVICE))
        return cls(MarigoldSettings.from_config(cfg), device=device)

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[DepthMap]:
        """Predict the depth of each image, one at a time, at the image's own size ``(H, W)``."""
        if self._pipeline is None:
            self._pipeline = self._load().to(self._device)
            self._pipeline.set_progress_bar_config(disable=True)
        return [self._predict(image) for image in images]

    def _predict(self, image: np.ndarray) -> DepthMap:
        generator = torch.Generator().manual_seed(self._seed)
        output = self._pipeline(Image.fromarray(image), num_inference_steps=self._steps, generator=generator)
        depth = np.squeeze(np.asarray(output.prediction, dtype=np.float32))  # the singleton axes differ by version
        return DepthMap(torch.from_numpy(np.ascontiguousarray(depth)), self.kind)

    def _load(self) -> Any:
        try:
            return self._diffusers.MarigoldDepthPipeline.from_pretrained(self._model_id)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UnsegError(
                f"The depth model {self._model_id} cannot be loaded ({reason}); set DEPTH.MARIGOLD.MODEL to another id "
                "of the hub, or to a folder with the model's files."
            ) from None


def _import_diffusers() -> Any:
    try:
        return importlib.import_module("diffusers")
    except ImportError:
        raise missing_extra("diffusers", "marigold") from None
