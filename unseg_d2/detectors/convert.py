"""Rename the weights of a checkpoint of any known layout to Detectron2's names, which both engines read.

The known layouts are detectors in Detectron2's names (this project's, CutLER's, CuVLER's), ResNets in Detectron2's
names (its model zoo, CutLER's DINO ResNet-50) and ResNets in torchvision's names (DINO's, bare or in a training
checkpoint).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import BACKBONE, OPTIONAL, detectron2_names, in_detectron2_names
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.loop.checkpoint import check_match, load_checkpoint, write_torch
from unseg_d2.loop.formats import FORMATS

_CLASSIFIER = re.compile(r"(^|\.)(fc|head|linear)\.(weight|bias)$")


@dataclass(frozen=True)
class Conversion:
    """The renamed weights of a checkpoint, and what else it held.

    Attributes:
        state: weights under Detectron2's names.
        source: whose names they had.
        part: ``detector`` or ``backbone``.
        heads: number of box heads: 0 for a backbone, 1 for a Mask R-CNN, 3 for a cascade.
        left_out: content of the file that was not kept (optimiser, classifier, ...).
        engine: that wrote the file, if the file says so; no other one can resume its training.
    """

    state: dict[str, Tensor]
    source: str
    part: str
    heads: int
    left_out: list[str]
    engine: str | None


def convert(path: str | Path, *, trust: bool = False, backbone_only: bool = False) -> Conversion:
    """Read a checkpoint and name its weights as Detectron2 does.

    Args:
        path: see :func:`~unseg_d2.loop.checkpoint.load_checkpoint`.
        trust: unpickle arbitrary objects, which can run arbitrary code; ``.pkl`` files need it.
        backbone_only: take the backbone of a detector and leave the rest out.

    Raises:
        UnsegError: it cannot be read, or its layout is unknown.
    """
    checkpoint: dict[str, Any] = load_checkpoint(path, trust=trust)
    given = checkpoint["model"]
    state, source = in_detectron2_names(given)
    classifier = [name for name in state if _CLASSIFIER.search(name)]
    kept = {name: tensor for name, tensor in state.items() if name not in classifier}
    if backbone_only:
        kept = {name: tensor for name, tensor in kept.items() if name.startswith(BACKBONE)}
    if f"{BACKBONE}stem.conv1.weight" not in kept:
        names = ", ".join(sorted(given)[:3])
        raise UnsegError(
            f"{path} holds neither a ResNet nor a detector on one in the names of Detectron2, torchvision or DINO; "
            f"its names start with {names}."
        )
    is_detector = any(not name.startswith(BACKBONE) for name in kept)
    heads = {re.sub(r"\.cls_score.*", "", name) for name in kept if ".cls_score." in name}
    left_out = [key for key in checkpoint if key != "model"]
    if len(kept) < len(given):
        left_out.append(f"{len(given) - len(kept)} other tensors")
    part = "detector" if is_detector else "backbone"
    return Conversion(kept, source, part, len(heads), left_out, checkpoint.get("engine"))


def check_fit(conversion: Conversion, cfg: CfgNode, name: str | Path) -> None:
    """Compare names and shapes with those of the network of a recipe, without allocating it.

    Args:
        conversion: the weights.
        cfg: recipe.
        name: of the file, for the message.

    Raises:
        UnsegError: they differ.
    """
    with torch.device("meta"):
        own = build_model(cfg).state_dict()
    wanted = {foreign: own[name] for name, foreign in detectron2_names(own).items()}
    if conversion.part == "backbone":
        wanted = {key: tensor for key, tensor in wanted.items() if key.startswith(BACKBONE)}
    check_match(name, conversion.source, conversion.state, wanted, OPTIONAL)


def write(conversion: Conversion, path: str | Path) -> None:
    """Write the weights, completely or not at all.

    Args:
        conversion: the weights.
        path: ``.pth`` (a dictionary with ``model``, like Detectron2's checkpoints) or ``.safetensors``.

    Raises:
        UnsegError: the file has another ending or cannot be written.
    """
    path = Path(path)
    state = {name: tensor.detach().clone().contiguous() for name, tensor in conversion.state.items()}
    if path.suffix not in FORMATS:
        raise UnsegError(f"{path} ends with '{path.suffix}', but only {' and '.join(FORMATS)} can be written.")
    if path.suffix == ".safetensors":
        from safetensors.torch import save

        content = save(state, metadata={"format": "pt", "names": "detectron2", "part": conversion.part})
        with atomic_write(path) as file:
            file.write(_in_order(content))
        return
    write_torch(path, {"model": state})


def _in_order(content: bytes) -> bytes:
    """Return a .safetensors file with its metadata in the order of their names; the library's order is random."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
