"""Whether the batches that a network is trained on went through copy-paste; loaders of other projects know none."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from unseg_d2.detectors.detectron2.inputs import MARKER
from unseg_d2.detectors.detectron2.uncertain import LOADERS
from unseg_d2.errors import UnsegError


def check_pasted(model: nn.Module, arguments: tuple[Any, ...]) -> None:
    """Refuse a training batch that nothing could have been pasted into; a forward pre-hook of a network.

    Args:
        model: the network.
        arguments: what it is called with: a list of Detectron2's dicts.

    Raises:
        UnsegError: the batch lacks `MARKER`, or that says no.
    """
    # Without gradients nothing is learnt: PreciseBN runs networks in training mode, and without copy-paste.
    if not (model.training and torch.is_grad_enabled() and arguments and isinstance(arguments[0], (list, tuple))):
        return
    for data in arguments[0]:
        if not data.get(MARKER, {}).get("copy_paste"):
            raise UnsegError(
                f"DATALOADER.COPY_PASTE is True, but {data.get('file_name', 'an image')} comes from a loader that "
                f"pastes nothing; load the data with {LOADERS}, or set the key to False."
            )
