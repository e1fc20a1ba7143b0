"""Start PriMaPs-EM from a trained STEGO or HP model: its head turns backbone features into codes, its clusters are the
first prototypes (PriMaPs-EM on top of other methods, Hahn et al., TMLR 2024).

Only the head and the clusters are taken from the checkpoint. The backbone under the head is the one that
``FEATURES`` describes, which must be the one the model was trained on.

Shape legend
    C      channels of the backbone
    D      channels of the code
    K      clusters
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from unseg_d2.errors import UnsegError
from unseg_d2.loop.checkpoint import read_stored
from unseg_d2.weight_files import check_values

CLUSTERS = ("cluster_probe.clusters", "cluster_model_state_dict.clusters")
"""Where the clusters are: STEGO, HP."""
HEADS = ("net.", "net_model_state_dict.")
"""Prefixes of the names of the head's tensors: STEGO, HP (not checked against its files)."""


class CodeHead(nn.Module):
    """A linear map of the features plus a network with one hidden layer (Hamilton et al., STEGO, ICLR 2022).

    Args:
        channels: C.
        width: D.
        hidden: whether there is the network with a hidden layer.
    """

    def __init__(self, channels: int, width: int, *, hidden: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.cluster1 = nn.Sequential(nn.Conv2d(channels, width, 1))
        self.cluster2: nn.Module | None = None
        if hidden:
            self.cluster2 = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, width, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Turn features ``(b, C, h, w)`` into codes ``(b, D, h, w)``."""
        code: Tensor = self.cluster1(features)
        return code if self.cluster2 is None else code + self.cluster2(features)


def read_boost(path: str | Path, *, trust: bool = False) -> tuple[CodeHead, Tensor]:
    """Return the head and the clusters of a STEGO or HP checkpoint.

    Args:
        path: the file.
        trust: unpickle arbitrary objects, which can run arbitrary code; published checkpoints contain such objects.

    Returns:
        The frozen head, and ``(K, D)`` directions.

    Raises:
        UnsegError: the file is missing or damaged, needs ``trust``, or holds no such model.
    """
    state = _flat(read_stored(Path(path), trust=trust))
    clusters = next((state[name] for name in CLUSTERS if name in state), None)
    prefix = next((prefix for prefix in HEADS if f"{prefix}cluster1.0.weight" in state), None)
    if clusters is None or prefix is None:
        raise UnsegError(
            f"{path} is not a STEGO or HP checkpoint: it holds no "
            + ("clusters." if clusters is None else "head (cluster1.0.weight).")
        )
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith((f"{prefix}cluster1.", f"{prefix}cluster2."))
    }
    check_values(path, {**weights, "clusters": clusters})
    if weights["cluster1.0.weight"].ndim < 2:
        raise UnsegError(f"The head in {path} has another structure: cluster1.0.weight is not a matrix.")
    width, channels = weights["cluster1.0.weight"].shape[:2]
    head = CodeHead(channels, width, hidden=any(name.startswith("cluster2.") for name in weights))
    try:
        head.load_state_dict(weights)
    except RuntimeError as error:
        raise UnsegError(f"The head in {path} has another structure: {str(error).splitlines()[-1].strip()}") from None
    if clusters.ndim != 2 or clusters.shape[1] != width:
        raise UnsegError(f"The clusters in {path} are {tuple(clusters.shape)}, but its head makes codes of {width}.")
    return head.eval().requires_grad_(False), F.normalize(clusters.float(), dim=1)


def _flat(content: Any, prefix: str = "") -> dict[str, Tensor]:
    """Return all tensors of nested dictionaries by dotted name; ``state_dict`` adds nothing to a name."""
    if not isinstance(content, Mapping):
        return {}
    found: dict[str, Tensor] = {}
    for key, value in content.items():
        name = prefix if key == "state_dict" else f"{prefix}{key}"
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, Mapping):
            found |= _flat(value, name if key == "state_dict" else f"{name}.")
    return found
