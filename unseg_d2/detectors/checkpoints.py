"""The key map between the engines: names in the built-in network and names in Detectron2.

On disk a checkpoint of either engine has Detectron2's format, ``{"model": {name: tensor}, "iteration": ..., ...}``,
which is also the format of the published CutLER, CuVLER and CutS3D checkpoints. In memory the built-in network has its
own names; :func:`detectron2_names` translates them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unseg_d2.errors import UnsegError
from unseg_d2.loop.checkpoint import check_match, load_checkpoint, write_checkpoint

# Name in the built-in network -> name in Detectron2; all rules are applied, in this order.
KEY_RULES = (
    (r"^backbone\.bottom_up\.stem\.norm\.", r"backbone.bottom_up.stem.conv1.norm."),
    (r"^(backbone\.bottom_up\.res\d\.\d+)\.bn(\d)\.", r"\1.conv\2.norm."),
    (r"^(backbone\.bottom_up\.res\d\.\d+)\.downsample\.0\.", r"\1.shortcut."),
    (r"^(backbone\.bottom_up\.res\d\.\d+)\.downsample\.1\.", r"\1.shortcut.norm."),
    (r"^backbone\.fpn\.inner_blocks\.(\d)\.", lambda match: f"backbone.fpn_lateral{int(match[1]) + 2}."),
    (r"^backbone\.fpn\.layer_blocks\.(\d)\.", lambda match: f"backbone.fpn_output{int(match[1]) + 2}."),
    (r"^(backbone\.fpn_\w+|roi_heads\.mask_head\.mask_fcn\d+)\.0\.", r"\1."),
    (r"^(backbone\.fpn_\w+|roi_heads\.mask_head\.mask_fcn\d+)\.1\.", r"\1.norm."),
    (r"^rpn\.head\.conv\.0\.0\.", "proposal_generator.rpn_head.conv."),
    (r"^rpn\.head\.cls_logits\.", "proposal_generator.rpn_head.objectness_logits."),
    (r"^rpn\.head\.bbox_pred\.", "proposal_generator.rpn_head.anchor_deltas."),
)
# Name in a torchvision ResNet (or DINO's ResNet-50) -> name in the built-in network.
TORCHVISION_RULES = (
    (r"^conv1\.", "backbone.bottom_up.stem.conv1."),
    (r"^bn1\.", "backbone.bottom_up.stem.norm."),
    (r"^layer(\d)\.", lambda match: f"backbone.bottom_up.res{int(match[1]) + 1}."),
)
BACKBONE = "backbone.bottom_up."
# May be missing or left over: derived from the configuration, counters, and the classifier of a backbone.
OPTIONAL = re.compile(r"^pixel_(mean|std)$|cell_anchors|\.num_batches_tracked$|(^|\.)(fc|head|linear)\.(weight|bias)$")

TASKS = {"feature_channels": "train-saliency", "semantic": "train-semantic"}
"""What only checkpoints of other tasks hold -> the command that trains them."""

logger = logging.getLogger(__name__)


def detectron2_names(names: Iterable[str]) -> dict[str, str]:
    """Return the Detectron2 name of each parameter and buffer of a built-in network.

    Args:
        names: all keys of the network's ``state_dict``; a single stage is named otherwise than a cascade.

    >>> detectron2_names(["backbone.bottom_up.res2.0.bn1.weight"])
    {'backbone.bottom_up.res2.0.bn1.weight': 'backbone.bottom_up.res2.0.conv1.norm.weight'}
    """
    names = list(names)
    is_cascade = any(name.startswith("roi_heads.box_predictor.1.") for name in names)
    rules = KEY_RULES if is_cascade else (*KEY_RULES, (r"^(roi_heads\.box_(?:head|predictor))\.0\.", r"\1."))
    return {name: _rename(name, rules) for name in names}


def load_weights(
    model: nn.Module, path: str | Path, *, trust: bool = False, allow_backbone: bool = False
) -> dict[str, Any]:
    """Load a checkpoint into a built-in network, completely.

    Args:
        model: the network.
        path: see `loop.checkpoint.load_checkpoint`; Detectron2's names, or a ResNet in torchvision's names.
        trust: see `loop.checkpoint.load_checkpoint`.
        allow_backbone: accept a file that holds all of the ResNet and nothing else; the rest stays as initialised.

    Returns:
        The checkpoint, for what else is in it.

    Raises:
        UnsegError: some of the network is missing in the file or has another shape, or the reverse, or it is a
            checkpoint of another task.
    """
    checkpoint = load_checkpoint(path, trust=trust)
    for key, command in TASKS.items():
        if key in checkpoint and "recipe" in checkpoint:
            raise UnsegError(f"{path} is a checkpoint of the command {command}, not of a detector.")
    given, source = in_detectron2_names(checkpoint["model"])
    state = model.state_dict()
    own = {foreign: name for name, foreign in detectron2_names(state).items()}
    only_backbone = allow_backbone and all(name.startswith(BACKBONE) for name in given if not OPTIONAL.search(name))
    wanted = {foreign for foreign in own if not only_backbone or foreign.startswith(BACKBONE)}
    check_match(path, source, given, {foreign: state[own[foreign]] for foreign in wanted}, OPTIONAL)
    model.load_state_dict({own[foreign]: given[foreign] for foreign in wanted & set(given)}, strict=False)
    part = "backbone; pyramid and heads stay freshly initialised" if only_backbone else "whole network"
    logger.info("Loaded %d tensors from %s (%s): %s.", len(wanted), path, source, part)
    return checkpoint


def save_checkpoint(path: str | Path, model: nn.Module, **more: Any) -> None:
    """Write a built-in network in Detectron2's format and point ``last_checkpoint`` to it, each completely or not.

    Args:
        path: the ``.pth`` file.
        model: the network, not wrapped.
        **more: what else goes into the file ("optimizer", "iteration", ...); tensors and plain Python values only.

    Raises:
        UnsegError: the disk is full or the folder cannot be written to.
    """
    state = model.state_dict()
    names = detectron2_names(state)
    write_checkpoint(Path(path), {"model": {names[name]: tensor for name, tensor in state.items()}, **more})


def in_detectron2_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return the weights under Detectron2's names, and whose names they had; heads of self-supervision are left out."""
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    source = "Detectron2's names"
    if any(name.startswith(("stem.conv1.", "res2.")) for name in state):
        state = {BACKBONE + name: tensor for name, tensor in state.items()}
    elif any(re.match(r"(backbone\.|encoder\.)?layer1\.0\.", name) for name in state):
        source = "a ResNet in torchvision's names"
        state = {re.sub(r"^(backbone|encoder)\.", "", name): tensor for name, tensor in state.items()}
        renamed = {_rename(name, TORCHVISION_RULES): tensor for name, tensor in state.items()}
        state = {_rename(name, KEY_RULES): tensor for name, tensor in renamed.items()}
        heads = [name for name in state if not name.startswith(BACKBONE)]  # projection heads of self-supervision
        state = {name: tensor for name, tensor in state.items() if name not in heads}
    return state, source


def _rename(name: str, rules: Iterable[tuple[str, Any]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
