"""The settings of semantic segmentation, PriMaPs-EM, with the paper's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unseg_d2.settings import Settings, section, setting

Select = Literal["last", "best_miou"]
Order = Literal["before", "after"]
Matching = Literal["hungarian", "majority"]


@section("SEMANTIC")
@dataclass(frozen=True)
class SemanticSettings(Settings):
    """Classes, images and proposals; the batch size and the learning rate are those of ``SOLVER``."""

    num_classes: int = setting(
        0,
        "number of prototypes; 0 takes the number of labelled classes, which a folder does not have",
        symbol="K",
        low=0,
    )
    num_labels: int = setting(0, "number of classes in the label files of a folder; 0 takes NUM_CLASSES", low=0)
    image_size: int = setting(
        320, "length of the shorter side, and of the centre crop for training and scoring", low=1, unit="px"
    )
    antialias: bool = setting(
        True, "antialias images that are scaled down; the published results were computed without"
    )
    flip: float = setting(0.5, "probability of a horizontal flip", low=0, high=1)
    proposals: str = setting("", "folder that keeps the mask proposals; empty is OUTPUT_DIR/proposals")
    cache_gb: float = setting(
        2.0, "memory for the features of recurring views; 0 recomputes them every time", low=0, unit="GB"
    )
    probe: bool = setting(False, "also train a linear probe, for evaluation only; needs labels of the training images")
    select: Select = setting(
        "last",
        "checkpoint to keep as final: last | best_miou (published; looks at the test labels)",
        choices=get_args(Select),
    )


@section("SEMANTIC.INIT")
@dataclass(frozen=True)
class InitSettings(Settings):
    """What theta is before EM."""

    weights: str = setting(
        "", "STEGO or HP checkpoint whose head and clusters are improved; empty starts from the features"
    )
    num_batches: int = setting(93, "number of batches whose principal directions become the first prototypes", low=1)
    epochs: int = setting(2, "epochs of cosine k-means by gradient descent that follow", low=0)
    baseline_epochs: int = setting(
        0, "total epochs of k-means for the baseline; 0 takes what EM starts from as the baseline", low=0
    )


@section("SEMANTIC.EM")
@dataclass(frozen=True)
class EMSettings(Settings):
    """Expectation maximisation."""

    epochs: int = setting(50, "epochs of expectation maximisation", low=0)
    gamma: float = setting(2.0, "exponent of the class-level focal weight", symbol="gamma", low=0)
    decay: float = setting(0.98, "largest decay rate of the momentum prototypes theta_M", low=0, high=1)
    period: int = setting(10, "steps between updates of the momentum prototypes", low=1)


@section("SEMANTIC.VIEWS")
@dataclass(frozen=True)
class ViewSettings(Settings):
    """I': what the running prototypes theta_R learn from."""

    order: Order = setting(
        "before",
        "colour jitter and normalisation: jitter before | after (published; clips what is dark)",
        choices=get_args(Order),
    )
    number: int = setting(
        0, "number of different views of an image, kept in CACHE_GB; 0 draws a new one in each step", low=0
    )


@section("SEMANTIC.TEST")
@dataclass(frozen=True)
class SemanticTestSettings(Settings):
    """Scoring."""

    whole: bool = setting(False, "score whole images at their own size instead of the centre crop")
    flip: bool = setting(True, "average the features of an image and of its mirror image")
    crf: bool = setting(False, "also score after a CRF with the settings of REFINE.CRF_LABELS")
    matching: Matching = setting(
        "hungarian",
        "how clusters are matched with classes: hungarian (one to one) | majority (many to one)",
        choices=get_args(Matching),
    )
