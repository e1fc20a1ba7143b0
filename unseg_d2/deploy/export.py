"""Write a trained detector as one file for ONNX Runtime, or for `torch.export`."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn
from torch.export import Dim, ExportedProgram

from unseg_d2 import __version__
from unseg_d2.config import edited
from unseg_d2.config.recipe import Recipe
from unseg_d2.data.classes import read_classes
from unseg_d2.data.settings import InputSettings
from unseg_d2.deploy.about import About
from unseg_d2.deploy.formats import DETECTOR_FORMATS
from unseg_d2.deploy.graph import OUTPUTS, DetectorGraph
from unseg_d2.detectors.about import portable_recipe
from unseg_d2.detectors.builtin.model import GeneralizedRCNN, build_model
from unseg_d2.detectors.checkpoints import load_weights
from unseg_d2.detectors.learnt import of_weights
from unseg_d2.detectors.recipe import detector_recipe
from unseg_d2.errors import CheckpointMismatch, UnsegError, missing_extra, nearest
from unseg_d2.files import atomic_write, check_can_write
from unseg_d2.zoo.store import resolve

SIDES = (65, 8192)
"""Shortest and longest side of an image that an exported network takes, px: two cells of the coarsest pyramid level."""
OPSET = 18

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportedDetector:
    """What was written.

    Attributes:
        path: the file.
        about: what it says about the detector.
    """

    path: Path
    about: About


def export_detector(
    weights: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *overrides: Any,
    format: str = "onnx",
    half: bool = False,
    recipe: Recipe | None = None,
    trust_checkpoint: bool = False,
) -> ExportedDetector:
    """Write a trained detector, of either engine, as one file that needs neither its recipe nor this package.

    Args:
        weights: see :meth:`unseg_d2.Detector.load`.
        output: the file to write.
        *overrides: changes to the recipe; ``MODEL.ROI_HEADS.SCORE_THRESH_TEST`` and ``TEST.DETECTIONS_PER_IMAGE``
            become part of the file.
        format: ``onnx`` or ``torch-export``.
        half: weights in half precision, half as large a file; boxes and their selection stay float32.
        recipe: see :meth:`unseg_d2.Detector.load`.
        trust_checkpoint: allow pickled objects in the checkpoint, which can run arbitrary code.

    Returns:
        The file, and what it says about the detector.

    Raises:
        UnsegError: a package is missing, the checkpoint is not one of a detector or does not fit its recipe, its
            network cannot be exported, or the file cannot be written.
    """
    if format not in DETECTOR_FORMATS:
        raise UnsegError(
            f"A detector is written as {' or '.join(DETECTOR_FORMATS)}, not as {format}."
            f"{nearest(format, DETECTOR_FORMATS)}"
        )
    for package in ("onnx", "onnxscript") if format == "onnx" else ():
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "onnx")
    path = Path(output)
    check_can_write(path)
    cfg, origin = detector_recipe(weights, recipe, *overrides)
    cfg = edited(cfg, {"MODEL.DEVICE": "cpu", "MODEL.TIMM.PRETRAINED": False})
    try:
        model = build_model(cfg)
        _check_backbone(cfg, model)
        load_weights(model, resolve(os.fspath(weights)), trust=trust_checkpoint or cfg.MODEL.TRUST_CHECKPOINT)
    except CheckpointMismatch as mismatch:
        raise mismatch.of_recipe(origin) from None
    about = _about(weights, cfg, half=half, trust=trust_checkpoint)
    logger.info("Following the network through one image; this takes a minute or two.")
    program = traced(DetectorGraph(model, half=half, always_two=format == "torch-export"))
    content = _onnx(program, about) if format == "onnx" else _torch_export(program, about)
    with atomic_write(path) as file:
        file.write(content)
    return ExportedDetector(path, about)


def traced(graph: nn.Module) -> ExportedProgram:
    """Return a detector as `torch.export` sees it, for images of any size within `SIDES`.

    Args:
        graph: the detector.

    Raises:
        UnsegError: its network decides by the size of the image.
    """
    image, size = torch.zeros(160, 224, 3, dtype=torch.uint8), torch.tensor([160, 224])
    low, high = SIDES
    shapes = ({0: Dim("height", min=low, max=high), 1: Dim("width", min=low, max=high)}, None)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, about each other
            program = torch.export.export(graph, (image, size), dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise UnsegError(
            f"This network cannot be exported for images of any size ({type(error).__name__} in torch.export); "
            "detectors with a ResNet backbone can."
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _check_backbone(cfg: CfgNode, model: GeneralizedRCNN) -> None:
    if any(type(module).__name__.startswith("PatchEmbed") for module in model.backbone.modules()):
        raise UnsegError(
            f"A detector on {cfg.MODEL.TIMM.BASE_NAME} cannot be exported: what a transformer computes depends on the "
            "size of the image in ways that a fixed graph cannot follow; detectors with a ResNet backbone can."
        )


def _about(weights: str | os.PathLike[str], cfg: CfgNode, *, half: bool, trust: bool) -> About:
    """Describe the detector of a checkpoint."""
    count = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    names = [category["name"] for category in read_classes(os.fspath(weights))]
    if len(names) != count:
        names = ["object"] if count == 1 else [f"class {number}" for number in range(1, count + 1)]
    learnt = of_weights(os.fspath(weights), trust=trust or cfg.MODEL.TRUST_CHECKPOINT)
    return About(
        task="instance segmentation" if cfg.MODEL.MASK_ON else "object detection",
        classes=tuple(names),
        min_size=cfg.INPUT.MIN_SIZE_TEST,
        max_size=cfg.INPUT.MAX_SIZE_TEST,
        reading=InputSettings.from_config(cfg).reading,
        precision="float16" if half else "float32",
        supervision=", ".join(learnt) or "not stated",
        recipe=portable_recipe(cfg),
        version=__version__,
    )


def _onnx(program: ExportedProgram, about: About) -> bytes:
    import onnx

    names = list(OUTPUTS) if about.task == "instance segmentation" else list(OUTPUTS[:-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = torch.onnx.export(
            program, input_names=["image", "size"], output_names=names, opset_version=OPSET, dynamo=True, verbose=False
        )
    assert written is not None  # with dynamo=True
    proto = written.model_proto
    del proto.graph.value_info[:]  # sizes under names of the tracer's own
    for node in proto.graph.node:
        del node.metadata_props[:]
    _name_sizes(proto.graph.input[0], "height", "width")
    for output in proto.graph.output:
        _name_sizes(output, "detections")
    onnx.helper.set_model_props(proto, about.to_text())
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString()
    return content


def _name_sizes(value: Any, *names: str) -> None:
    for side, name in zip(value.type.tensor_type.shape.dim, names):
        side.dim_param = name


def _torch_export(program: ExportedProgram, about: About) -> bytes:
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"unseg_d2.json": json.dumps(about.to_text())})
    return content.getvalue()
