"""What concerns a whole run: the top level, label sets and self-training rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unseg_d2.settings import Settings, section, setting


@section("")
@dataclass(frozen=True)
class RunSettings(Settings):
    """The engine, the output folder and the seed."""

    version: int = setting(2, "version of Detectron2's configuration format", choices=(2,))
    engine: str = setting(
        "auto",
        "auto (Detectron2 if it imports, else builtin) | detectron2 | builtin",
        choices=("auto", "detectron2", "builtin"),
    )
    output_dir: str = setting("./output", "folder that a run writes everything to")
    seed: int = setting(0, "seed of data order, augmentation, initialisation and RoI sampling; below 0 one is drawn")
    cudnn_benchmark: bool = setting(
        False, "let cuDNN search for the fastest convolution; pays off only for images of one size"
    )
    float32_precision: str = setting(
        "",
        "value for torch.set_float32_matmul_precision; empty leaves PyTorch's setting",
        choices=("", "highest", "high", "medium"),
    )
    deterministic: bool = setting(False, "sum in a fixed order on a GPU too, so that a training there repeats; slower")
    tracker: str = setting(
        "",
        "service that gets the numbers of trainings as well: wandb | mlflow, by their own libraries; empty is none",
        choices=("", "wandb", "mlflow"),
    )
    plugins: Sequence[str] = setting(
        [], "modules or files to import first: generators, losses and other parts of your own"
    )
    vis_period: int = setting(0, "iterations between pictures of training samples in TensorBoard; 0 writes none", low=0)


@section("PSEUDO")
@dataclass(frozen=True)
class PseudoSettings(Settings):
    """Label sets."""

    shard_size: int = setting(64, "images per shard; an interrupted run resumes after the last finished shard", low=1)
    readers: int = setting(
        -1,
        "processes that read and resize images for each that computes; 0 leaves it to that one; -1 follows from the "
        "cores per GPU, and is 0 without one",
        low=-1,
    )
    finishers: int = setting(
        -1, "processes that refine masks and bring them to the size of the image, as READERS", low=-1
    )
    max_pixels: int = setting(
        178956970, "former name of INPUT.MAX_PIXELS", unit="px", no_effect="INPUT.MAX_PIXELS is the limit everywhere"
    )


@section("ROUNDS")
@dataclass(frozen=True)
class RoundsSettings(Settings):
    """Self-training rounds (CutLER, section 3.4)."""

    recipe: str = setting("", "recipe, relative to this one, of the trainings after the first; empty takes the same")
    score_thresholds: Sequence[float] = setting(
        (0.70, 0.65, 0.60),
        "score from which detections become pseudo-masks, per round; the last one repeats",
        low=0,
        high=1,
    )
    match_iou: float = setting(
        0.5, "a previous mask survives if its IoU with every kept detection is lower", low=0, high=1
    )
    detections_per_image: int = setting(
        30, "largest number of detections per image when pseudo-masks are predicted", low=1
    )
