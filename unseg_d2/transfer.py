"""Copies between the host and a card: down once for many tensors, up without a wait.

Each copy down makes the host wait until the card has done all that it was given before. A copy up makes it wait as
well, unless it comes from pinned memory, which the card reads by itself; PyTorch keeps that memory until the copy is
done.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_card(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, and do not wait if it is copied from the host to a card."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Return tensors on the host, with one wait for all that are on a card; those of the host are not copied."""
    away = [i for i, tensor in enumerate(tensors) if tensor.device.type != "cpu"]
    found = dict(enumerate(tensors))
    if len(away) == 1:
        found[away[0]] = tensors[away[0]].cpu()
    elif away:
        # The widest numbers come first, so that each tensor begins at a multiple of the width of its own.
        away.sort(key=lambda i: -tensors[i].element_size())
        flat = [_row(tensors[i]).view(torch.uint8) for i in away]
        parts = torch.cat(flat).cpu().split([len(part) for part in flat])
        found |= {i: part.view(tensors[i].dtype).view(tensors[i].shape) for i, part in zip(away, parts)}
    return list(found.values())


def _row(tensor: Tensor) -> Tensor:
    """The numbers of a tensor one after another; a row of one number may have any stride otherwise."""
    return tensor.contiguous().as_strided((tensor.numel(),), (1,))
