"""Data sets, loading and augmentation: Detectron2's keys and defaults, CutLER's copy-paste and ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unseg_d2.settings import Settings, section, setting


@section("DATASETS")
@dataclass(frozen=True)
class DatasetSettings(Settings):
    """Data sets: each a built-in name, a COCO json (``labels.json`` or ``labels.json::image/root``) or a folder."""

    train: Sequence[Any] = setting((), "data sets to train on")
    test: Sequence[Any] = setting((), "data sets to evaluate on")
    proposal_files_train: Sequence[Any] = setting((), "Detectron2's precomputed proposals", choices=((),))
    proposal_files_test: Sequence[Any] = setting((), "Detectron2's precomputed proposals", choices=((),))


@section("DATALOADER")
@dataclass(frozen=True)
class DataLoaderSettings(Settings):
    """Loading of samples, and copy-paste."""

    num_workers: int = setting(4, "loader processes; the samples do not depend on it", low=0)
    aspect_ratio_grouping: bool = setting(True, "batches of images of one orientation")
    sampler_train: str = setting("TrainingSampler", "a fresh permutation per epoch", choices=("TrainingSampler",))
    repeat_threshold: float = setting(0.0, "Detectron2's RepeatFactorTrainingSampler", choices=(0.0,))
    filter_empty_annotations: bool = setting(True, "leave images without annotations out of training")
    copy_paste: bool = setting(False, "paste objects of another image of the batch")
    copy_paste_rate: float = setting(0.0, "probability of pasting, per image", low=0, high=1)
    copy_paste_random_num: bool = setting(True, "paste a random number of objects instead of all")
    copy_paste_min_ratio: float = setting(0.5, "smallest scale of the source, relative to the target image", above=0)
    copy_paste_max_ratio: float = setting(1.0, "largest scale of the source, relative to the target image", above=0)
    copy_paste_mode: str = setting(
        "default",
        "default: boxes as meant, any number of objects | parity: as published",
        choices=("default", "parity"),
    )
    copy_paste_selection: str = setting(
        "random", "random | confident: those of highest mean SC (CutS3D, 3.4)", choices=("random", "confident")
    )
    copy_paste_blend: str = setting(
        "hard", "hard | confidence: alpha is SC (CutS3D, equation 5)", choices=("hard", "confidence")
    )
    copy_paste_source: str = setting(
        "sample", "sample: a second random image | batch: the reversed batch (published)", choices=("sample", "batch")
    )
    copy_paste_device: str = setting(
        "workers", "where pixels are pasted: workers | model: on MODEL.DEVICE", choices=("workers", "model")
    )
    visualize_copy_paste: bool = setting(False, "write the first pasted batches to OUTPUT_DIR/copy_paste")


@section("INPUT")
@dataclass(frozen=True)
class InputSettings(Settings):
    """Sizes and augmentation."""

    min_size_train: Sequence[int] = setting((800,), "shortest edge", low=0, unit="px")
    min_size_train_sampling: str = setting(
        "choice", "choice of the listed sizes | range between two", choices=("choice", "range")
    )
    max_size_train: int = setting(1333, "longest edge", low=1, unit="px")
    min_size_test: int = setting(800, "shortest edge at test time; 0 keeps the size", low=0, unit="px")
    max_size_test: int = setting(1333, "longest edge at test time", low=1, unit="px")
    random_flip: str = setting("horizontal", "mirroring of training images", choices=("horizontal", "vertical", "none"))
    format: str = setting("BGR", "channel order of PIXEL_MEAN and of the network's input")
    mask_format: str = setting("polygon", "kept for published files; masks are always bit masks here")
    min_confidence: float = setting(
        0.5, "spatial confidence within a mask is at least this", symbol="SC_min", low=0, high=1
    )


@section("INPUT.CROP")
@dataclass(frozen=True)
class CropSettings(Settings):
    """Detectron2's random crop."""

    enabled: bool = setting(False, "crop training images at random", choices=(False,))
    type: str = setting("relative_range", "kept for published files")
    size: Sequence[float] = setting([0.9, 0.9], "kept for published files")
