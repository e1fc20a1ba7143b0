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
from msgspec.structs import replace
from torch import Tensor

from unseg_d2.description import Description
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import BACKBONE, OPTIONAL, check_task, detectron2_names, in_detectron2_names
from unseg_d2.errors import CheckpointMismatch, UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.loop.checkpoint import check_match, load_checkpoint, write_torch
from unseg_d2.loop.formats import FORMATS
from unseg_d2.weight_kinds import kind_of
from unseg_d2.zoo.store import learnt_from

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
        about: what the file says of itself; a converted file says the same.
    """

    state: dict[str, Tensor]
    source: str
    part: str
    heads: int
    left_out: list[str]
    about: Description


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
    check_task(checkpoint, path)
    given = checkpoint["model"]
    state, source = in_detectron2_names(given)
    classifier = [name for name in state if _CLASSIFIER.search(name)]
    kept = {name: tensor for name, tensor in state.items() if name not in classifier}
    if backbone_only:
        kept = {name: tensor for name, tensor in kept.items() if name.startswith(BACKBONE)}
    if f"{BACKBONE}stem.conv1.weight" not in kept:
        kind = kind_of(given)
        raise CheckpointMismatch(
            f"{path} is {kind.text}",
            "a ResNet or a detector on one, in the names of Detectron2, torchvision or DINO",
            f"To use it, {kind.use.replace('FILE', str(path))}.",
        )
    is_detector = any(not name.startswith(BACKBONE) for name in kept)
    heads = {re.sub(r"\.cls_score.*", "", name) for name in kept if ".cls_score." in name}
    about = Description.of(checkpoint)
    if not about.supervision:
        about = replace(about, supervision=tuple(learnt_from(path)))  # of the zoo's files it is known
    left_out = [key for key in checkpoint if key != "model" and key not in about.entries()]
    if len(kept) < len(given):
        left_out.append(f"{len(given) - len(kept)} other tensors")
    part = "detector" if is_detector else "backbone"
    return Conversion(kept, source, part, len(heads), left_out, about if is_detector else _of_backbone(about))


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
    check_match(name, conversion.state, wanted, OPTIONAL)


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

        content = save(state, metadata=_metadata(conversion))
        with atomic_write(path) as file:
            file.write(_in_order(content))
        return
    write_torch(path, {"model": state, **conversion.about.entries()})


def _of_backbone(about: Description) -> Description:
    """Return what is true of the backbone that is taken out of a detector."""
    return replace(about, task=None, recipe="", classes=[], measured=[])


def _metadata(conversion: Conversion) -> dict[str, str]:
    return {"format": "pt", "names": "detectron2", "part": conversion.part, **conversion.about.to_metadata()}


def _in_order(content: bytes) -> bytes:
    """Return a .safetensors file with its metadata in the order of their names; the library's order is random."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
