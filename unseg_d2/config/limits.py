"""Keys of Detectron2 that only some values can be given to here: others are refused, not ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError

WHAT_WORKS: dict[str, Sequence[Any]] = {
    "DATASETS.PROPOSAL_FILES_TRAIN": [()],
    "DATASETS.PROPOSAL_FILES_TEST": [()],
    "DATALOADER.SAMPLER_TRAIN": ["TrainingSampler"],
    "DATALOADER.REPEAT_THRESHOLD": [0.0],
    "INPUT.CROP.ENABLED": [False],
    "MODEL.KEYPOINT_ON": [False],
    "MODEL.LOAD_PROPOSALS": [False],
    "TEST.AUG.ENABLED": [False],
}
"""Values with either engine: samples, evaluation and the kinds of labels are this project's own."""


def check_limits(cfg: CfgNode, what_works: Mapping[str, Sequence[Any]] = WHAT_WORKS, hint: str = "") -> None:
    """Raise if a key has a value that nothing would come of.

    Args:
        cfg: configuration.
        what_works: possible values by key.
        hint: sentence that is added to the message.

    Raises:
        UnsegError: a key has another value.
    """
    for key, values in what_works.items():
        value = reduce(lambda node, part: node[part], key.split("."), cfg)
        if value not in values:
            possible = " or ".join(repr(known) for known in values)
            raise UnsegError(f"{key} is {value!r}, but only {possible} is possible{hint}.")
