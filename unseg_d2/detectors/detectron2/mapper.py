"""A mapper for Detectron2's own loaders that does to an image what the loader of this project does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from detectron2.config import CfgNode as Detectron2CfgNode
from detectron2.config import configurable

from unseg_d2.config import edited
from unseg_d2.data.classes import check_records
from unseg_d2.data.copy_paste import copy_paste
from unseg_d2.data.paste_source import PasteSources, orientation_groups
from unseg_d2.data.records import record_within
from unseg_d2.data.sample import Augmentation, load_sample, load_test_image
from unseg_d2.data.settings import CropSettings, DataLoaderSettings, DatasetSettings, InputSettings
from unseg_d2.data.training_records import usable_records
from unseg_d2.data.transport import PackedRecords
from unseg_d2.detectors.detectron2.inputs import input_options, to_input
from unseg_d2.detectors.detectron2.records import dataset_records, hint_at_registration, standard_record
from unseg_d2.detectors.heads import require_keys
from unseg_d2.detectors.training_data import training_records
from unseg_d2.errors import UnsegError


class UnsegDatasetMapper:
    """Read an image with boxes, masks, scores and spatial confidence, resize and flip it, and paste into it.

    It is for ``build_detection_train_loader(cfg, mapper=UnsegDatasetMapper(cfg, True))``, and with ``False`` for
    ``build_detection_test_loader``. With ``MODEL.ROI_HEADS.NUM_CLASSES 1`` all objects are of one class. The random
    numbers come from NumPy's global generator, which Detectron2 seeds in each loader process.

    Args:
        is_train: keep the ground truth and draw size, flip and paste; otherwise resize for a test only.
        sizes: sizes and mirroring, ``INPUT``.
        pasting: of ``DATALOADER``; ``copy_paste`` switches it on.
        sources: where objects are pasted from; needed with copy-paste.
        options: arguments of `to_input` besides the sample.
        num_classes: of the network; with 1, or ``None``, all objects are of class 0, whatever their annotation says.
        granularities: least and most of the objects to train on, ``DATASETS.GRANULARITY``; ``None`` takes all.

    Raises:
        UnsegError: copy-paste without images to paste from, or with settings that a mapper, which is given one image at
            a time, cannot follow.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        sizes: InputSettings,
        pasting: DataLoaderSettings,
        sources: PasteSources | None,
        options: dict[str, Any],
        num_classes: int | None = None,
        granularities: tuple[float, float] | None = None,
    ) -> None:
        cv2.setNumThreads(1)  # before the loader forks: a process that uses an inherited pool of OpenCV waits forever
        self.is_train = is_train
        self.sizes, self.pasting, self.options = sizes, pasting, options
        self.num_classes = num_classes or 1
        self.granularities = granularities
        self.augmentation = Augmentation(sizes, with_classes=self.num_classes > 1)
        self.sources = sources
        if is_train and pasting.copy_paste:
            _check_pasting(pasting)
            if sources is None:
                raise UnsegError("Copy-paste (DATALOADER.COPY_PASTE) needs images to paste from; pass sources.")

    @classmethod
    def from_config(cls, cfg: Detectron2CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Read the arguments from ``INPUT``, ``DATALOADER``, ``MODEL`` and ``DATASETS.TRAIN``.

        The training sets are read here if copy-paste needs a second image, or scores or confidence have to be there.

        Raises:
            UnsegError: the training sets lack what the configuration asks for, or a key has no effect here.
        """
        check_keys(cfg)
        arguments: dict[str, Any] = {"is_train": is_train, "sources": None, "options": input_options(cfg)}
        # The order of the images is up to Detectron2's loader, which knows more kinds of it than ours.
        plain = edited(cfg, {"DATALOADER.SAMPLER_TRAIN": "TrainingSampler", "DATALOADER.REPEAT_THRESHOLD": 0.0})
        arguments |= {"sizes": InputSettings.from_config(cfg), "pasting": DataLoaderSettings.from_config(plain)}
        arguments["num_classes"] = cfg.MODEL.ROI_HEADS.NUM_CLASSES
        least, most = DatasetSettings.from_config(cfg).granularity
        arguments["granularities"] = (float(least), float(most))
        if not is_train:
            arguments["options"] = {"channel_order": cfg.INPUT.FORMAT, "with_instances": False}
        elif _needs_records(cfg):
            records = training_records(cfg, dataset_records)
            with hint_at_registration(cfg.DATASETS.TRAIN):
                arguments["sources"] = paste_sources(records, cfg)
        return arguments

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Return the network's input for an image.

        Args:
            dataset_dict: Detectron2's standard dataset dict; it is not changed.

        Raises:
            UnsegError: the image cannot be read or has another size than stated, a mask is damaged, or the network does
                not have the class of an object.
        """
        if not self.is_train:
            low, high, record = self.sizes.min_size_test, self.sizes.max_size_test, standard_record(dataset_dict)
            sample = load_test_image(record, min_size=low, max_size=high, reading=self.sizes.reading)
            return to_input(sample, **self.options)
        return self.draw(dataset_dict, np.random.default_rng(np.random.randint(2**32, size=4, dtype=np.uint32)))

    def draw(self, dataset_dict: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return the network's input for an image to train on, with the draws of a generator.

        The loader of this project draws for place ``i`` of batch ``t`` from ``default_rng([SEED, t, i])``; the same
        generator gives the same input here.

        Args:
            dataset_dict: Detectron2's standard dataset dict; it is not changed.
            rng: source of the draws of size, flip, second image and paste, in this order.
        """
        record = standard_record(dataset_dict)
        if self.granularities is not None:
            record = record_within(record, self.granularities)
        if self.num_classes > 1:
            check_records([record], self.num_classes)
        sample = load_sample(record, rng=rng, augmentation=self.augmentation)
        if self.pasting.copy_paste and self.sources is not None:
            source = load_sample(self.sources.draw(record, rng), rng=rng, augmentation=self.augmentation)
            sample = copy_paste(source, sample, rng=rng, settings=self.pasting)
        return to_input(sample, **self.options)


def paste_sources(records: Sequence[dict[str, Any]], cfg: Detectron2CfgNode) -> PasteSources:
    """Return the images of a data set to paste from, after a check that it has what the configuration asks for.

    Args:
        records: Detectron2's standard dataset dicts.
        cfg: configuration, see `usable_records` and `orientation_groups`.

    Raises:
        UnsegError: see `usable_records`.
    """
    usable = usable_records(records, cfg)
    return PasteSources(PackedRecords(usable), orientation_groups(usable, cfg))


def _needs_records(cfg: Detectron2CfgNode) -> bool:
    uncertain = cfg.MODEL.ROI_HEADS.USE_SOFT_TARGETS or cfg.MODEL.ROI_MASK_HEAD.CONFIDENCE != "none"
    return bool(cfg.DATALOADER.COPY_PASTE or uncertain)


def _check_pasting(pasting: DataLoaderSettings) -> None:
    """Refuse settings of copy-paste that need more than one image at a time, or the number of the iteration."""
    for key, value, instead in (
        ("DATALOADER.COPY_PASTE_SOURCE", pasting.copy_paste_source, "sample"),
        ("DATALOADER.COPY_PASTE_DEVICE", pasting.copy_paste_device, "workers"),
    ):
        if value != instead:
            raise UnsegError(
                f"{key} {value} needs whole batches, but a mapper is given one image at a time; set it to {instead}, "
                "or train with UnsegTrainer's own loader."
            )
    if pasting.visualize_copy_paste:
        raise UnsegError(
            "DATALOADER.VISUALIZE_COPY_PASTE has no effect with a mapper, which does not know the number of the batch; "
            "set it to False, or train with UnsegTrainer's own loader."
        )


def check_keys(cfg: Detectron2CfgNode) -> None:
    """Refuse a configuration without the keys of this project, and keys of Detectron2's mapper that ours would ignore.

    Args:
        cfg: Detectron2 configuration.

    Raises:
        UnsegError: the keys were not added, or a value has no effect on how images are read.
    """
    require_keys(cfg)
    InputSettings.from_config(cfg)
    CropSettings.from_config(cfg)
    for name in ("KEYPOINT_ON", "LOAD_PROPOSALS"):
        if cfg.MODEL.get(name):
            raise UnsegError(f"MODEL.{name} True has no effect on the images of unseg_d2's loaders; set it to False.")
