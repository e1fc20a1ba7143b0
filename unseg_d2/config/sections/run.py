"""What concerns a whole run: the top level, label sets and self-training rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unseg_d2.settings import Settings, section, setting


@section("")
@dataclass(frozen=True)
class RunSettings(Settings):
    """The engine, the output folder and the seed."""

    version: int = setting(2, "Detectron2's configuration version")
    engine: str = setting(
        "auto",
        "auto (Detectron2 if it imports, else builtin) | detectron2 | builtin",
        choices=("auto", "detectron2", "builtin"),
    )
    output_dir: str = setting("./output", "folder that a run writes everything to")
    seed: int = setting(0, "seed of data order, augmentation, initialisation and RoI sampling; < 0 draws one")
    cudnn_benchmark: bool = setting(
        False, "let cuDNN search for the fastest convolution (pays off for fixed image sizes only)"
    )
    float32_precision: str = setting(
        "", "torch.set_float32_matmul_precision, empty leaves it alone", choices=("", "highest", "high", "medium")
    )
    plugins: Sequence[str] = setting([], "modules to import first: generators, losses and other parts of your own")
    vis_period: int = setting(0, "iterations between pictures of training samples in TensorBoard, 0 = never", low=0)


@section("PSEUDO")
@dataclass(frozen=True)
class PseudoSettings(Settings):
    """Label sets."""

    shard_size: int = setting(64, "images per shard, the unit of resuming", low=1)
    max_pixels: int = setting(
        178956970, "images with more pixels are recorded as failures (decompression bombs)", low=1, unit="px"
    )


@section("ROUNDS")
@dataclass(frozen=True)
class RoundsSettings(Settings):
    """Self-training rounds (CutLER, section 3.4)."""

    recipe: str = setting("", "YAML (relative to this file) that rounds after the first training use; empty: the same")
    score_thresholds: Sequence[float] = setting(
        (0.70, 0.65, 0.60), "detections kept as pseudo-masks, per round; the last one repeats", low=0, high=1
    )
    match_iou: float = setting(0.5, "a previous mask with less IoU with every kept detection survives", low=0, high=1)
    detections_per_image: int = setting(30, "most detections per image when predicting pseudo-masks", low=1)
