"""Depth predicted by a model of the Hugging Face hub: ZoeDepth, DPT/MiDaS, Depth Anything (transformers).

Loaded on first use, from the hub or from a local folder.

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

from unseg_d2.data.images import ImageFile
from unseg_d2.depth.registry import DEPTH_SOURCES, model_checksum
from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError, missing_extra
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import DepthKind, DepthMap

KIND_OF_TYPE: dict[str, DepthKind] = {"zoedepth": "metric", "dpt": "inverse", "depth_pro": "metric"}
"""What a model's numbers mean, by the ``model_type`` of its configuration."""

KIND_OF_ESTIMATION: dict[str, DepthKind] = {"metric": "metric", "relative": "inverse"}
"""The same for Depth Anything, by its ``depth_estimation_type``; its relative depth is large where things are near."""


@dataclass(frozen=True)
class HubDepthSettings(Settings):
    """Which model."""

    model: str = setting(
        "Intel/zoedepth-nyu-kitti", "model id on the Hugging Face hub (CutS3D uses ZoeDepth), or local folder"
    )


@DEPTH_SOURCES.register("hub", settings=HubDepthSettings)
class HubDepth:
    """Monocular depth by a model of the hub.

    Args:
        model: id on the hub, such as ``Intel/zoedepth-nyu-kitti``, or a local folder with the same files.
        kind: what the numbers mean; ``None`` derives it from the type of the model.
        device: where the model runs.

    Raises:
        UnsegError: transformers is not installed, the model cannot be loaded, or its kind is not known.
    """

    predicts = True
    supervision = ("depth",)

    def __init__(self, model: str, kind: DepthKind | None = None, *, device: str = "cpu") -> None:
        self.name = f"hub/{model}"
        self._model_id = model
        self._device = device
        self._transformers = _import_transformers()
        self._model: Any = None  # loaded with the first image; the manifest needs only name and kind
        self._processor: Any = None
        config = _load(self._transformers.AutoConfig, model)
        self._commit = str(getattr(config, "_commit_hash", None) or "")
        self.kind = kind or _kind_of(config, model)

    @cached_property
    def checksum(self) -> str:
        """What tells the model from another of its name: the content of a local folder, or the commit on the hub."""
        return model_checksum(self._model_id) or self._commit

    @classmethod
    def from_config(cls, cfg: CfgNode) -> HubDepth:
        """Return the source of ``cfg.DEPTH.HUB`` on the device of the features."""
        device = str(resolve_device(cfg.FEATURES.DEVICE))
        return cls(HubDepthSettings.from_config(cfg).model, cfg.DEPTH.KIND or None, device=device)

    @torch.inference_mode()
    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[DepthMap]:
        """Predict the depth of each image, one at a time, at the image's own size ``(H, W)``."""
        if self._model is None:
            self._processor = _load(self._transformers.AutoImageProcessor, self._model_id)
            model = _load(self._transformers.AutoModelForDepthEstimation, self._model_id)
            self._model = model.to(self._device).eval()
        return [self._predict(image) for image in images]

    def _predict(self, image: np.ndarray) -> DepthMap:
        sizes = [image.shape[:2]]
        inputs = self._processor(images=image, return_tensors="pt").to(self._device)
        outputs = self._model(**inputs)
        # ZoeDepth's processor pads by reflection and can remove that only if it knows the original size.
        source = {"source_sizes": sizes} if self._model.config.model_type == "zoedepth" else {}
        (result,) = self._processor.post_process_depth_estimation(outputs, target_sizes=sizes, **source)
        depth = result["predicted_depth"].float().cpu()
        # Bicubic resampling overshoots at edges; distances stay positive, and 0 would mean "no reading".
        return DepthMap(depth.clamp(min=1e-3) if self.kind == "metric" else depth, self.kind)


def _kind_of(config: Any, model: str) -> DepthKind:
    kind = KIND_OF_TYPE.get(config.model_type)
    if config.model_type == "depth_anything":
        kind = KIND_OF_ESTIMATION.get(getattr(config, "depth_estimation_type", "relative"))
    if kind is None:
        raise UnsegError(
            f"The kind of depth that {model} predicts is unknown ('{config.model_type}'): set DEPTH.KIND to metric, "
            "relative (far is large) or inverse (near is large)."
        )
    return kind


def _load(auto_class: Any, model: str) -> Any:
    try:
        return auto_class.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsegError(
            f"The depth model {model} cannot be loaded ({reason}); set DEPTH.HUB.MODEL to another id of the hub, or to "
            "a folder with the model's files."
        ) from None


def _import_transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError:
        raise missing_extra("transformers", "depth") from None
