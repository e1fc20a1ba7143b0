"""The names of weights in both engines, and checkpoints that both can read.

On disk the checkpoints of both engines have Detectron2's format, ``{"model": {name: tensor}, "iteration": ..., ...}``,
like the published checkpoints of CutLER, CuVLER and CutS3D. In memory the built-in network has names of its own, which
:func:`detectron2_names` translates.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unseg_d2.detectors.timm_backbone import timm_names
from unseg_d2.errors import CheckpointMismatch, UnsegError
from unseg_d2.loop.checkpoint import check_match, load_checkpoint, write_checkpoint, write_torch
from unseg_d2.weight_files import unwrapped
from unseg_d2.weight_kinds import kind_of, kind_of_file

# Name in the built-in network -> name in Detectron2; all rules apply, in this order.
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
TIMM = f"{BACKBONE}model."  # a network of timm
# May be missing or left over: derived from the configuration, counters, and the classifier of a backbone.
OPTIONAL = re.compile(r"^pixel_(mean|std)$|cell_anchors|\.num_batches_tracked$|(^|\.)(fc|head|linear)\.(weight|bias)$")

# Layers with an output per class: scores, and boxes and masks of a head that predicts them per class.
PER_CLASS = re.compile(
    r"^roi_heads\.(box_predictor(\.\d)?\.(cls_score|bbox_pred)|mask_head\.predictor)\.(weight|bias)$"
)

# Of a detector or a ResNet in Detectron2's names, or of a ResNet in torchvision's.
_NETWORK = re.compile(r"(backbone\.bottom_up|roi_heads|proposal_generator|rpn|stem\.conv1|res2|layer1\.0)\.")

logger = logging.getLogger(__name__)


def detectron2_names(names: Iterable[str]) -> dict[str, str]:
    """Return the Detectron2 name of each parameter and buffer of a built-in network.

    Args:
        names: all keys of the network's ``state_dict``; they tell a cascade, whose names differ, from a single stage.

    >>> detectron2_names(["backbone.bottom_up.res2.0.bn1.weight"])
    {'backbone.bottom_up.res2.0.bn1.weight': 'backbone.bottom_up.res2.0.conv1.norm.weight'}
    """
    names = list(names)
    is_cascade = any(name.startswith("roi_heads.box_predictor.1.") for name in names)
    rules = KEY_RULES if is_cascade else (*KEY_RULES, (r"^(roi_heads\.box_(?:head|predictor))\.0\.", r"\1."))
    return {name: _rename(name, rules) for name in names}


def load_weights(model: nn.Module, path: str | Path, *, trust: bool = False, to_start: bool = False) -> dict[str, Any]:
    """Load a checkpoint into a network, completely.

    Args:
        model: network of either engine.
        path: see `loop.checkpoint.load_checkpoint`; Detectron2's names, or a ResNet in torchvision's names.
        trust: see `loop.checkpoint.load_checkpoint`.
        to_start: a training starts from it: accept a file that holds the whole ResNet and nothing else, and a detector
            of other classes, whose layers with an output per class are left out; the rest keeps its initial values.

    Returns:
        The checkpoint, which may hold more than weights.

    Raises:
        UnsegError: names or shapes in the file differ from those of the network, or the checkpoint is of another task.
    """
    checkpoint = load_checkpoint(path, trust=trust)
    state = model.state_dict()
    check_task(checkpoint, path, kind_of(dict(zip(detectron2_names(state).values(), state.values()))).text)
    own = {foreign: name for name, foreign in detectron2_names(state).items()}
    backbone = TIMM if any(name.startswith(TIMM) for name in own) else BACKBONE
    if backbone == TIMM:
        given, source = timm_names(checkpoint["model"], model, TIMM), "timm's names"
    else:
        given, source = in_detectron2_names(checkpoint["model"])
    only_backbone = to_start and all(name.startswith(backbone) for name in given if not OPTIONAL.search(name))
    expected = {foreign: state[name] for foreign, name in own.items()}
    per_class = _of_other_classes(given, expected) if to_start else {}
    wanted = {foreign for foreign in own if not only_backbone or foreign.startswith(backbone)} - set(per_class)
    given = {name: tensor for name, tensor in given.items() if name not in per_class}
    check_match(path, given, {foreign: expected[foreign] for foreign in wanted}, OPTIONAL)
    model.load_state_dict({own[foreign]: given[foreign] for foreign in wanted & set(given)}, strict=False)
    part = "the backbone; pyramid and heads keep their initial values" if only_backbone else "the whole network"
    if per_class:
        layers = ", ".join(dict.fromkeys(per_class.values()))
        part = f"of other classes, so these layers keep their initial values: {layers}"
    logger.info("Loaded %d tensors from %s (%s): %s.", len(wanted), path, source, part)
    return checkpoint


def check_task(checkpoint: Mapping[str, Any], path: str | Path, expected: str = "a detector") -> None:
    """Raise :class:`CheckpointMismatch` where a checkpoint is of another task than detection.

    Args:
        checkpoint: as :func:`~unseg_d2.loop.checkpoint.load_checkpoint` returns it.
        path: of the file, for the message.
        expected: the network, for the message.
    """
    kind = kind_of_file(checkpoint)
    if kind.part in ("saliency", "semantic"):
        raise CheckpointMismatch(
            f"{path} is {kind.text}", expected, f"To use it, {kind.use.replace('FILE', str(path))}."
        )


def _of_other_classes(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the weights of a file that have another number of outputs only because its classes are others.

    The key is their name, the value describes their layer.
    """
    found = {}
    for name in sorted(name for name in given if PER_CLASS.match(name) and name in expected):
        theirs, ours = tuple(given[name].shape), tuple(expected[name].shape)
        if theirs != ours and theirs[1:] == ours[1:]:
            found[name] = f"{name.rpartition('.')[0]} ({theirs[0]} outputs in the file, {ours[0]} here)"
    return found


def say_random() -> None:
    """Say that a training starts from random weights, which may be a key forgotten."""
    logger.info("MODEL.WEIGHTS is empty: the network starts from random weights.")


def check_resumable(checkpoint: Mapping[str, Any], path: str | Path, engine: str, parts: Iterable[str]) -> None:
    """Raise unless a training of this engine can be resumed from a checkpoint.

    Args:
        checkpoint: as :func:`load_weights` returns it.
        path: of the file, for the message.
        engine: the value of ``ENGINE`` that resumes.
        parts: what the checkpoint must hold besides the weights ("optimizer", ...).

    Raises:
        UnsegError: another engine wrote it, or a part is missing.
    """
    missing = [part for part in parts if part not in checkpoint]
    if checkpoint.get("engine") != engine:
        reason = "it was written by another engine"
    elif missing:
        reason = f"it holds no {', '.join(missing)}, because it was trained with other settings"
    else:
        return
    raise UnsegError(
        f"ENGINE {engine} cannot resume a training from {path}: {reason}. Start a new training instead: set "
        "MODEL.WEIGHTS to this file and choose another OUTPUT_DIR."
    )


def save_weights(path: Path, model: nn.Module, **more: Any) -> None:
    """Write a network as :func:`save_checkpoint` does; the training is resumed from another checkpoint."""
    write_torch(path, _in_format(model, more))


def save_checkpoint(path: str | Path, model: nn.Module, **more: Any) -> None:
    """Write a network in Detectron2's format, then point ``last_checkpoint`` to it; each completely or not at all.

    Args:
        path: the ``.pth`` file.
        model: network of either engine, not wrapped.
        **more: further content ("optimizer", "iteration", ...); tensors and plain Python values only.

    Raises:
        UnsegError: the disk is full or the folder cannot be written to.
    """
    write_checkpoint(Path(path), _in_format(model, more))


def _in_format(model: nn.Module, more: Mapping[str, Any]) -> dict[str, Any]:
    state = model.state_dict()
    names = detectron2_names(state)
    return {"model": {names[name]: tensor for name, tensor in state.items()}, **more}


def in_detectron2_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return the weights under Detectron2's names without heads of self-supervision, and whose names they had."""
    bare = unwrapped(state, _is_network)
    state = dict(bare if _is_network(bare) else state)
    source = "Detectron2's names"
    if any(name.startswith(("stem.conv1.", "res2.")) for name in state):
        state = {BACKBONE + name: tensor for name, tensor in state.items()}
    elif any(name.startswith("layer1.0.") for name in state):
        source = "a ResNet in torchvision's names"
        renamed = {_rename(name, TORCHVISION_RULES): tensor for name, tensor in state.items()}
        state = {_rename(name, KEY_RULES): tensor for name, tensor in renamed.items()}
        heads = [name for name in state if not name.startswith(BACKBONE)]  # projection heads of self-supervision
        state = {name: tensor for name, tensor in state.items() if name not in heads}
    return state, source


def _is_network(names: Iterable[str]) -> bool:
    return any(_NETWORK.match(name) for name in names)


def _rename(name: str, rules: Iterable[tuple[str, Any]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
