"""Checkpoints of exactly the published layouts: written by hand, converted, and loaded."""

from __future__ import annotations

import argparse
import pickle
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import save as save_safetensors
from torch import Tensor

from unseg_d2.cli.convert_checkpoint import main
from unseg_d2.config import load_cfg
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import load_weights
from unseg_d2.detectors.convert import _in_order, check_fit, convert, write
from unseg_d2.detectors.detector import Detector
from unseg_d2.detectors.protocol import detectron2_availability
from unseg_d2.errors import UnsegError
from unseg_d2.loop.checkpoint import load_checkpoint

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CASCADE = CONFIGS / "cutler" / "cascade_mask_rcnn_R_50_FPN.yaml"
MASK_RCNN = CONFIGS / "cutler" / "mask_rcnn_R_50_FPN.yaml"
RECIPES = {"cascade": CASCADE, "mask_rcnn": MASK_RCNN}

ENGINES = [
    "builtin",
    pytest.param(
        "detectron2",
        marks=[
            pytest.mark.detectron2,
            pytest.mark.skipif(not detectron2_availability()[0], reason=detectron2_availability()[1]),
        ],
    ),
]

Shapes = dict[str, tuple[int, ...]]


def norm(name: str, channels: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def conv_norm(name: str, out: int, into: int, size: int) -> Shapes:
    return {f"{name}.weight": (out, into, size, size)} | norm(f"{name}.norm", out)


def layer(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": (shape[1] if name.endswith("deconv") else shape[0],)}


def resnet50(prefix: str = "") -> Shapes:
    """Detectron2's names of a ResNet-50."""
    shapes = conv_norm(f"{prefix}stem.conv1", 64, 3, 7)
    into = 64
    for stage, (blocks, out) in enumerate([(3, 256), (4, 512), (6, 1024), (3, 2048)], start=2):
        for block in range(blocks):
            name, middle = f"{prefix}res{stage}.{block}", out // 4
            if block == 0:
                shapes |= conv_norm(f"{name}.shortcut", out, into, 1)
            shapes |= conv_norm(f"{name}.conv1", middle, into, 1) | conv_norm(f"{name}.conv2", middle, middle, 3)
            shapes |= conv_norm(f"{name}.conv3", out, middle, 1)
            into = out
    return shapes


def detector(kind: str) -> Shapes:
    """Names and shapes of the published CutLER and CuVLER detectors: SyncBN in backbone and pyramid, one class."""
    shapes = resnet50("backbone.bottom_up.")
    for level, channels in zip(range(2, 6), (256, 512, 1024, 2048)):
        shapes |= conv_norm(f"backbone.fpn_lateral{level}", 256, channels, 1)
        shapes |= conv_norm(f"backbone.fpn_output{level}", 256, 256, 3)
    shapes |= layer("proposal_generator.rpn_head.conv", 256, 256, 3, 3)
    shapes |= layer("proposal_generator.rpn_head.objectness_logits", 3, 256, 1, 1)
    shapes |= layer("proposal_generator.rpn_head.anchor_deltas", 12, 256, 1, 1)
    for stage in (".0", ".1", ".2") if kind == "cascade" else ("",):
        shapes |= layer(f"roi_heads.box_head{stage}.fc1", 1024, 256 * 7 * 7)
        shapes |= layer(f"roi_heads.box_head{stage}.fc2", 1024, 1024)
        shapes |= layer(f"roi_heads.box_predictor{stage}.cls_score", 2, 1024)
        shapes |= layer(f"roi_heads.box_predictor{stage}.bbox_pred", 4, 1024)
    for number in range(1, 5):
        shapes |= layer(f"roi_heads.mask_head.mask_fcn{number}", 256, 256, 3, 3)
    shapes |= layer("roi_heads.mask_head.deconv", 256, 256, 2, 2) | layer("roi_heads.mask_head.predictor", 1, 256, 1, 1)
    return shapes


def tensors(shapes: Shapes) -> dict[str, Tensor]:
    """A different constant per tensor, which takes no space on disk."""
    return {name: torch.tensor(float(i % 97)).expand(shape) for i, (name, shape) in enumerate(shapes.items())}


@pytest.fixture(params=["cascade", "mask_rcnn"])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A file as `DetectionCheckpointer` writes it at the end of a training."""
    content = {"model": tensors(detector(request.param)), "iteration": 159999}
    torch.save(content | {"optimizer": {"state": {}, "param_groups": []}, "scheduler": {}}, tmp_path / "model.pth")
    return request.param, tmp_path / "model.pth"


def test_published_detectors_fit_our_recipes(published: tuple[str, Path]) -> None:
    kind, path = published
    conversion = convert(path)
    assert conversion.part == "detector" and conversion.heads == {"cascade": 3, "mask_rcnn": 1}[kind]
    assert conversion.state.keys() == detector(kind).keys()
    check_fit(conversion, load_cfg(RECIPES[kind]), path)
    other = RECIPES["mask_rcnn" if kind == "cascade" else "cascade"]
    with pytest.raises(UnsegError, match=r"is a .*\nExpected: .*the file holds 384 of its \d+ tensors.*\n"):
        check_fit(conversion, load_cfg(other), path)


def test_a_published_cascade_loads(tmp_path: Path) -> None:
    shapes = detector("cascade")
    old = {"pixel_mean": torch.zeros(3, 1, 1), "proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(3, 4)}
    torch.save({"model": tensors(shapes) | old, "__author__": "somebody"}, tmp_path / "model.pth")
    model = build_model(load_cfg(CASCADE))
    load_weights(model, tmp_path / "model.pth")
    expected = tensors(shapes)
    assert torch.equal(
        model.roi_heads.box_predictor[2].cls_score.weight, expected["roi_heads.box_predictor.2.cls_score.weight"]
    )
    lateral = model.backbone.fpn.inner_blocks[1]
    assert torch.equal(lateral[1].running_var, expected["backbone.fpn_lateral3.norm.running_var"])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_released_cuts3d_detector(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the layout that its published configuration describes, put where the zoo looks for it."""
    monkeypatch.setenv("UNSEG_D2_ZOO", str(tmp_path))
    torch.save({"model": tensors(detector("cascade"))}, tmp_path / "cuts3d.pth")
    found = Detector.load("zoo:cuts3d", "ENGINE", engine, "MODEL.DEVICE", "cpu")
    assert not found.cfg.MODEL.ROI_HEADS.USE_DROPLOSS and found.cfg.MODEL.RPN.NMS_THRESH == 0.65
    assert found.cfg.TEST.DETECTIONS_PER_IMAGE == 100


@pytest.mark.detectron2
@pytest.mark.parametrize("kind", ["cascade", "mask_rcnn"])
def test_layout_is_detectron2s_own(kind: str) -> None:
    modeling = pytest.importorskip("detectron2.modeling")
    from unseg_d2.detectors.detectron2.config import to_detectron2

    cfg = load_cfg(RECIPES[kind], ["MODEL.DEVICE", "cpu"])
    state = modeling.build_model(to_detectron2(cfg)).state_dict()
    own = {name: tuple(tensor.shape) for name, tensor in state.items()}
    counters = {name for name in detector(kind).keys() - own.keys() if name.endswith("num_batches_tracked")}
    assert own == {name: shape for name, shape in detector(kind).items() if name not in counters}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_there_and_back(
    suffix: str, published: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    kind, path = published
    shapes = {name: shape for name, shape in detector(kind).items() if "box_head" not in name}  # 200 MB less to write
    torch.save({"model": tensors(shapes), "optimizer": {}, "engine": "builtin"}, path)
    main(["--weights", str(path), "--output", str(tmp_path / f"weights{suffix}")])
    report = capsys.readouterr().out
    assert "only the file format was converted" in report and "left out: optimizer" in report
    assert "a training resumes from the original file, with ENGINE builtin" in report
    found = load_checkpoint(tmp_path / f"weights{suffix}")
    assert found.keys() == {"model", "engine"} and found["model"].keys() == shapes.keys()
    assert all(torch.equal(tensor, found["model"][name]) for name, tensor in tensors(shapes).items())


def test_metadata_have_one_order(tmp_path: Path) -> None:
    """The library writes them in an order that differs from process to process."""
    tensors_of_it = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.int64)}
    given = {"part": "backbone", "format": "pt", "names": "detectron2"}
    kinds = {_in_order(save_safetensors(tensors_of_it, metadata=dict(items))) for items in permutations(given.items())}
    (content,) = kinds
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with safe_open(path, "pt") as found:
        assert found.metadata() == given
        assert all(torch.equal(found.get_tensor(name), tensor) for name, tensor in tensors_of_it.items())


def dino_resnet(path: Path, *, wrapped: bool) -> dict[str, Tensor]:
    """DINO's file: torchvision's names, bare or in a training checkpoint with a projection head and its options."""
    resnet = torchvision.models.resnet50()
    resnet.fc = torch.nn.Identity()
    state = {
        name: tensor.uniform_() if tensor.is_floating_point() else tensor
        for name, tensor in resnet.state_dict().items()
    }
    content: dict = dict(state)
    if wrapped:
        head = {"head.mlp.0.weight": torch.zeros(4, 2048), "head.last_layer.weight": torch.zeros(8, 4)}
        teacher = {f"backbone.{name}": tensor for name, tensor in state.items()} | head
        student = {f"module.{name}": tensor for name, tensor in teacher.items()}
        content = {"student": student, "teacher": teacher, "epoch": 800, "args": argparse.Namespace(arch="resnet50")}
    torch.save(content, path)
    return state


@pytest.mark.parametrize("wrapped", [False, True])
def test_dino_resnet_to_backbone(wrapped: bool, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    state = dino_resnet(tmp_path / "dino_resnet50_pretrain.pth", wrapped=wrapped)
    output = tmp_path / "backbone.safetensors"
    weights = str(tmp_path / "dino_resnet50_pretrain.pth")
    main(["--weights", weights, "--output", str(output), "--config-file", str(CASCADE)])
    report = capsys.readouterr().out
    assert "a ResNet backbone" in report and "names and shapes fit" in report
    found = load_checkpoint(output)["model"]
    assert found.keys() == resnet50("backbone.bottom_up.").keys()
    assert torch.equal(found["backbone.bottom_up.res4.0.shortcut.weight"], state["layer3.0.downsample.0.weight"])
    assert torch.equal(found["backbone.bottom_up.res5.2.conv3.norm.bias"], state["layer4.2.bn3.bias"])
    assert torch.equal(found["backbone.bottom_up.stem.conv1.norm.running_mean"], state["bn1.running_mean"])


def test_dino_resnet_in_detectron2s_pickle(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in resnet50().items() if not name.endswith("num_batches_tracked")}
    arrays = {name: tensor.numpy() for name, tensor in tensors(shapes).items()}
    arrays |= {"stem.fc.weight": np.zeros((10, 2048), np.float32), "stem.fc.bias": np.zeros(10, np.float32)}
    path = tmp_path / "dino_RN50_pretrain_d2_format.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody", "matching_heuristics": True}))
    with pytest.raises(UnsegError, match="--trust-checkpoint"):
        convert(path)
    conversion = convert(path, trust=True)
    assert conversion.part == "backbone" and "2 other tensors" in conversion.left_out
    assert conversion.state.keys() == {f"backbone.bottom_up.{name}" for name in shapes}
    write(conversion, tmp_path / "backbone.pth")
    load_weights(build_model(load_cfg(CASCADE)), tmp_path / "backbone.pth", to_start=True)  # without trust


def test_backbone_of_a_detector(published: tuple[str, Path]) -> None:
    conversion = convert(published[1], backbone_only=True)
    assert conversion.part == "backbone" and conversion.state.keys() == resnet50("backbone.bottom_up.").keys()
    check_fit(conversion, load_cfg(CASCADE), published[1])


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    torch.save({"blocks.0.attn.qkv.weight": torch.zeros(3, 1)}, tmp_path / "vit.pth")
    with pytest.raises(UnsegError, match=r"begin with blocks.0.attn.qkv.weight\.\nExpected: a ResNet or a detector"):
        convert(tmp_path / "vit.pth")
    with pytest.raises(UnsegError, match="There is no checkpoint"):
        convert(tmp_path / "missing.pth")
    torch.save({"model": tensors(resnet50())}, tmp_path / "resnet.pth")
    with pytest.raises(UnsegError, match=r"ends with '.onnx', but only .pth and .safetensors"):
        write(convert(tmp_path / "resnet.pth"), tmp_path / "resnet.onnx")
