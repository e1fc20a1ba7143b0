"""Data sets, loading and augmentation: Detectron2's keys and defaults, CutLER's copy-paste and ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from unseg_d2.data.pictures.reading import Reading
from unseg_d2.settings import Settings, section, setting

PasteMode = Literal["default", "parity"]
Selection = Literal["random", "confident"]
Blend = Literal["hard", "confidence"]
PasteSource = Literal["sample", "batch"]
PasteDevice = Literal["workers", "model"]
Sampling = Literal["choice", "range"]
Flip = Literal["horizontal", "vertical", "none"]


@section("DATASETS")
@dataclass(frozen=True)
class DatasetSettings(Settings):
    """Data sets: each a built-in name, a COCO json (``labels.json`` or ``labels.json::image/root``) or a folder."""

    train: Sequence[Any] = setting((), "data sets to train on")
    test: Sequence[Any] = setting((), "data sets to evaluate on")
    held_out: float = setting(
        0.0,
        "share of the training images set aside for TEST.BEST where TEST is empty; the built-in engine only",
        low=0,
        below=1,
    )
    granularity: Sequence[float] = setting(
        (0.0, 1.0),
        "least and most granularity of the masks to train on (docs/levels.md); one that states none counts as 1, and "
        "crowd regions stay",
        low=0,
        high=1,
    )
    proposal_files_train: Sequence[Any] = setting(
        (), "files of precomputed proposals (Detectron2); not supported", choices=((),)
    )
    proposal_files_test: Sequence[Any] = setting(
        (), "files of precomputed proposals (Detectron2); not supported", choices=((),)
    )

    def check(self) -> None:
        """Raise ValueError unless the granularities are two, the smaller one first."""
        if len(self.granularity) != 2 or self.granularity[0] > self.granularity[1]:
            raise ValueError(f"granularity must be two numbers, the least one first, got {tuple(self.granularity)}")


@section("DATALOADER")
@dataclass(frozen=True)
class DataLoaderSettings(Settings):
    """Loading of samples, and copy-paste."""

    num_workers: int = setting(4, "number of loader processes; the samples do not depend on it", low=0)
    pin_memory: bool = setting(
        True, "hand batches over in page-locked memory where there is a GPU, which copies from it while it computes"
    )
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
        0.5, "smallest scale of the source image, relative to the target image", above=0, high=1
    )
    copy_paste_max_ratio: float = setting(
        1.0, "largest scale of the source image, relative to the target image", above=0, high=1
    )
    copy_paste_mode: PasteMode = setting(
        "default",
        "default: boxes follow the masks, any number of objects | parity: as the published code does",
        choices=get_args(PasteMode),
    )
    copy_paste_selection: Selection = setting(
        "random",
        "objects to paste: random | confident (highest mean spatial confidence; CutS3D, section 3.4)",
        choices=get_args(Selection),
    )
    copy_paste_blend: Blend = setting(
        "hard",
        "hard: replace pixels | confidence: alpha is the spatial confidence (CutS3D, equation 5)",
        choices=get_args(Blend),
    )
    copy_paste_source: PasteSource = setting(
        "sample",
        "where objects come from: sample (a second random image) | batch (the batch reversed, as published)",
        choices=get_args(PasteSource),
    )
    copy_paste_device: PasteDevice = setting(
        "workers",
        "where pasting is computed: workers (loader processes) | model (on MODEL.DEVICE)",
        choices=get_args(PasteDevice),
    )
    visualize_copy_paste: bool = setting(False, "write pictures of the first pasted batches to OUTPUT_DIR/copy_paste")

    def check(self) -> None:
        """Raise ValueError where copy-paste has no effect, or the smallest scale is above the largest."""
        if self.copy_paste and self.copy_paste_rate == 0:
            raise ValueError("copy_paste has no effect while copy_paste_rate is 0; set that to a probability")
        low, high = self.copy_paste_min_ratio, self.copy_paste_max_ratio
        if low > high:
            raise ValueError(f"copy_paste_min_ratio is {low}, but must be at most copy_paste_max_ratio, {high}")


@section("INPUT")
@dataclass(frozen=True)
class InputSettings(Reading):
    """How pictures are read, their sizes and augmentation."""

    min_size_train: Sequence[int] = setting(
        (800,), "lengths of the shorter edge in training, drawn by MIN_SIZE_TRAIN_SAMPLING", low=0, unit="px"
    )
    min_size_train_sampling: Sampling = setting(
        "choice", "choice: one of the listed lengths | range: any length between two", choices=get_args(Sampling)
    )
    max_size_train: int = setting(1333, "upper bound of the longer edge in training", low=1, unit="px")
    min_size_test: int = setting(
        800, "length of the shorter edge at test time; 0 keeps the image's size", low=0, unit="px"
    )
    max_size_test: int = setting(1333, "upper bound of the longer edge at test time", low=1, unit="px")
    random_flip: Flip = setting("horizontal", "random flipping of training images", choices=get_args(Flip))
    format: str = setting("BGR", "channel order of PIXEL_MEAN and of the network's input: BGR or RGB")
    mask_format: str = setting(
        "polygon",
        "format of masks in training (Detectron2)",
        choices=("polygon", "bitmask"),
        no_effect="masks are always bitmaps",
        harmless=("bitmask",),
    )
    min_confidence: float = setting(0.5, "lowest spatial confidence within a mask", symbol="SC_min", low=0, high=1)

    def check(self) -> None:
        """Raise ValueError where sizes to draw from are missing, or the window or the bands are no such."""
        if not self.min_size_train or (self.min_size_train_sampling == "range" and len(self.min_size_train) != 2):
            raise ValueError("min_size_train needs at least one length, and exactly two for a range")
        self.reading.check()

    @property
    def reading(self) -> Reading:
        """How pictures are read."""
        return Reading(self.window, self.bands, self.exif, self.max_pixels)


@section("INPUT.CROP")
@dataclass(frozen=True)
class CropSettings(Settings):
    """Detectron2's random crop."""

    enabled: bool = setting(False, "crop training images at random; not supported", choices=(False,))
    type: str = setting("relative_range", "kind of the crop (Detectron2)", no_effect="images are not cropped")
    size: Sequence[float] = setting([0.9, 0.9], "size of the crop (Detectron2)", no_effect="images are not cropped")
