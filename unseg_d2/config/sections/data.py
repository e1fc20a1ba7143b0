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
    proposal_files_train: Sequence[Any] = setting(
        (), "files of precomputed proposals (Detectron2); not supported", choices=((),)
    )
    proposal_files_test: Sequence[Any] = setting(
        (), "files of precomputed proposals (Detectron2); not supported", choices=((),)
    )


@section("DATALOADER")
@dataclass(frozen=True)
class DataLoaderSettings(Settings):
    """Loading of samples, and copy-paste."""

    num_workers: int = setting(4, "number of loader processes; the samples do not depend on it", low=0)
    aspect_ratio_grouping: bool = setting(
        True, "put images of the same orientation, landscape or portrait, into a batch"
    )
    sampler_train: str = setting(
        "TrainingSampler",
        "order of the training images: a new permutation in every epoch",
        choices=("TrainingSampler",),
    )
    repeat_threshold: float = setting(
        0.0, "oversampling of rare classes (Detectron2's RepeatFactorTrainingSampler); not supported", choices=(0.0,)
    )
    filter_empty_annotations: bool = setting(True, "leave images without annotations out of training")
    copy_paste: bool = setting(False, "paste objects from another image")
    copy_paste_rate: float = setting(0.0, "probability that objects are pasted into an image", low=0, high=1)
    copy_paste_random_num: bool = setting(True, "paste a random number of objects instead of all")
    copy_paste_min_ratio: float = setting(
        0.5, "smallest scale of the source image, relative to the target image", above=0
    )
    copy_paste_max_ratio: float = setting(
        1.0, "largest scale of the source image, relative to the target image", above=0
    )
    copy_paste_mode: str = setting(
        "default",
        "default: boxes follow the masks, any number of objects | parity: as the published code does",
        choices=("default", "parity"),
    )
    copy_paste_selection: str = setting(
        "random",
        "objects to paste: random | confident (highest mean spatial confidence; CutS3D, section 3.4)",
        choices=("random", "confident"),
    )
    copy_paste_blend: str = setting(
        "hard",
        "hard: replace pixels | confidence: alpha is the spatial confidence (CutS3D, equation 5)",
        choices=("hard", "confidence"),
    )
    copy_paste_source: str = setting(
        "sample",
        "where objects come from: sample (a second random image) | batch (the batch reversed, as published)",
        choices=("sample", "batch"),
    )
    copy_paste_device: str = setting(
        "workers",
        "where pasting is computed: workers (loader processes) | model (on MODEL.DEVICE)",
        choices=("workers", "model"),
    )
    visualize_copy_paste: bool = setting(False, "write pictures of the first pasted batches to OUTPUT_DIR/copy_paste")


@section("INPUT")
@dataclass(frozen=True)
class InputSettings(Settings):
    """Sizes and augmentation."""

    min_size_train: Sequence[int] = setting(
        (800,), "lengths of the shorter edge in training, drawn by MIN_SIZE_TRAIN_SAMPLING", low=0, unit="px"
    )
    min_size_train_sampling: str = setting(
        "choice", "choice: one of the listed lengths | range: any length between two", choices=("choice", "range")
    )
    max_size_train: int = setting(1333, "upper bound of the longer edge in training", low=1, unit="px")
    min_size_test: int = setting(
        800, "length of the shorter edge at test time; 0 keeps the image's size", low=0, unit="px"
    )
    max_size_test: int = setting(1333, "upper bound of the longer edge at test time", low=1, unit="px")
    random_flip: str = setting(
        "horizontal", "random flipping of training images", choices=("horizontal", "vertical", "none")
    )
    format: str = setting("BGR", "channel order of PIXEL_MEAN and of the network's input: BGR or RGB")
    mask_format: str = setting("polygon", "no effect, masks are always bitmaps; kept so that published recipes load")
    min_confidence: float = setting(0.5, "lowest spatial confidence within a mask", symbol="SC_min", low=0, high=1)


@section("INPUT.CROP")
@dataclass(frozen=True)
class CropSettings(Settings):
    """Detectron2's random crop."""

    enabled: bool = setting(False, "crop training images at random; not supported", choices=(False,))
    type: str = setting("relative_range", "no effect; kept so that published recipes load")
    size: Sequence[float] = setting([0.9, 0.9], "no effect; kept so that published recipes load")
