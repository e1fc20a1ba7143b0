"""What a file of weights is, told by the names and shapes of its tensors.

For messages and for ``unseg-d2 inspect``: nothing is loaded by what is found here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from unseg_d2.description import TASKS, Description
from unseg_d2.weight_files import network_of, unwrapped

Part = Literal["detector", "resnet", "vit", "linear", "saliency", "semantic", "stego", "other", "nothing"]

_DETECTOR = re.compile(r"^(roi_heads|proposal_generator|rpn)\.")
_BOTTOM_UP = "backbone.bottom_up."
_CLS_TOKEN = "embeddings.cls_token"
_BLOCKS_OF_DEPTH: dict[tuple[int, ...], int] = {
    (2, 2, 2, 2): 18,
    (3, 4, 6, 3): 50,
    (3, 4, 23, 3): 101,
    (3, 8, 36, 3): 152,
}
_USES: dict[Part, str] = {
    "detector": "run it with `unseg-d2 demo --weights FILE`, or start a training from it (train-net --weights)",
    "resnet": "start a detector's training from it (train-net --weights FILE), or set FEATURES.WEIGHTS to it with "
    "FEATURES.NAME cnn",
    "vit": "set FEATURES.WEIGHTS to it, and FEATURES.VIT.ARCH to its architecture",
    "linear": "run it with `unseg-d2 demo --weights FILE`, or score it with `unseg-d2 evaluate saliency`",
    "saliency": "run it with `unseg-d2 demo --weights FILE`, or score it with `unseg-d2 evaluate saliency`",
    "semantic": "score it with `unseg-d2 evaluate semantic --weights FILE`",
    "stego": "set SEMANTIC.INIT.WEIGHTS to it, and train with `unseg-d2 train-semantic`",
    "other": "name it in FEATURES.WEIGHTS with FEATURES.NAME cnn, if it is a network of timm",
    "nothing": "save a dictionary of tensors by name (a state dict)",
}


@dataclass(frozen=True)
class Kind:
    """What a file of weights is.

    Attributes:
        part: of the system.
        text: what it is, as a phrase that follows *is*.
        use: what can be done with it.
    """

    part: Part
    text: str
    use: str


def kind_of_file(content: Any) -> Kind:
    """Return what the content of a file is, as `weight_files.read_weight_file` returns it."""
    task = Description.of(content).task if isinstance(content, Mapping) else None
    if task in ("saliency", "semantic"):
        return Kind(task, TASKS[task], _USES[task])
    return kind_of(network_of(content))


def kind_of(tensors: Mapping[str, Tensor]) -> Kind:
    """Return what weights are, by their names and shapes; wrappers' prefixes in the names are passed over."""
    state = unwrapped(tensors, _is_known)
    part, text = _told(state)
    if part == "other":
        text = _told(tensors)[1]  # with the names that the file has
    return Kind(part, text, _USES[part])


def _is_known(names: Mapping[str, Tensor]) -> bool:
    return _told(names)[0] not in ("other", "nothing")


def _told(state: Mapping[str, Tensor]) -> tuple[Part, str]:
    if not state:
        return "nothing", "a file without weights"
    if any(_DETECTOR.match(name) for name in state):
        return "detector", _detector(state)
    if any(name.startswith((_BOTTOM_UP, "stem.conv1.", "res2.")) for name in state):
        return "resnet", f"{_backbone(state)} alone, without a detector"
    if "layer1.0.conv1.weight" in state:
        return "resnet", f"{_resnet(state, 'layer', 1)} alone, without a detector"
    if "patch_embed.proj.weight" in state:
        return "vit", _vit(state, state["patch_embed.proj.weight"], r"^blocks\.(?:\d+\.)?(\d+)\.", "")
    if any(name.endswith(_CLS_TOKEN) for name in state):
        kernel = next((value for name, value in state.items() if "patch_embeddings" in name and value.ndim == 4), None)
        return "vit", _vit(state, kernel, r"layers?\.(\d+)\.", " in Hugging Face's names")
    if {name.removeprefix("decoder.") for name in state} == {"weight", "bias"}:
        return "linear", "a linear saliency head, as FOUND and UnionSeg publish it"
    if any(name.endswith("clusters") for name in state) and any("cluster1.0.weight" in name for name in state):
        return "stego", "a STEGO or HP checkpoint"
    return "other", f"a file of {len(state)} tensors whose names begin with {', '.join(sorted(state)[:3])}"


def _detector(state: Mapping[str, Tensor]) -> str:
    """``a cascade of 3 box heads and masks on a ResNet-50, 1 class``."""
    scores = {name: tensor for name, tensor in state.items() if name.endswith(".cls_score.weight")}
    stages = f"a cascade of {len(scores)} box heads" if len(scores) > 1 else "a detector with one box head"
    masks = " and masks" if any("mask_head" in name for name in state) else " without masks"
    parts = [f"{stages}{masks} on {_backbone(state)}"]
    if scores:
        classes = next(iter(scores.values())).shape[0] - 1
        parts.append(f"{classes} class{'' if classes == 1 else 'es'}")
    return ", ".join(parts)


def _backbone(state: Mapping[str, Tensor]) -> str:
    inside = {name.removeprefix(_BOTTOM_UP): tensor for name, tensor in state.items() if name.startswith(_BOTTOM_UP)}
    inside = inside or dict(state)
    if any(name.startswith("model.") for name in inside):
        return "a network of timm"
    return _resnet(inside, "res", 2)


def _resnet(state: Mapping[str, Tensor], stage: str, first: int) -> str:
    """``a ResNet-50``, by the number of blocks in each stage."""
    counts = []
    for number in range(first, first + 4):
        blocks = {match[1] for name in state if (match := re.match(rf"{stage}{number}\.(\d+)\.", name))}
        counts.append(len(blocks))
    depth = _BLOCKS_OF_DEPTH.get(tuple(counts), 0)
    has_three = any(re.match(rf"{stage}{first}\.0\.conv3\.", name) for name in state)
    if depth == 50 and not has_three:
        depth = 34
    return f"a ResNet-{depth}" if depth else "a backbone"


def _vit(state: Mapping[str, Tensor], kernel: Tensor | None, block: str, names: str) -> str:
    """``a vision transformer of 12 blocks, 384 channels, patches of 8 px``."""
    blocks = {match[1] for name in state if (match := re.search(block, name))}
    size = f", {kernel.shape[0]} channels, patches of {kernel.shape[-1]} px" if kernel is not None else ""
    return f"a vision transformer of {len(blocks)} blocks{size}{names}"
