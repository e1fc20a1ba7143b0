"""The built-in network against Detectron2's: the same weights and image, the same losses and detections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from pycocotools import mask as mask_codec

from unseg_d2.data.sample import Sample
from unseg_d2.detectors.builtin.model import GeneralizedRCNN, build_model
from unseg_d2.detectors.checkpoints import load_weights
from unseg_d2.detectors.postprocess import to_prediction
from unseg_d2.detectors.protocol import detectron2_availability

pytestmark = [
    pytest.mark.detectron2,
    pytest.mark.skipif(not detectron2_availability()[0], reason=detectron2_availability()[1]),
]

NETWORKS = {
    "resnet18": {},
    "resnet50, msra stride": {
        "MODEL__RESNETS__DEPTH": 50,
        "MODEL__RESNETS__RES2_OUT_CHANNELS": 256,
        "MODEL__RESNETS__STRIDE_IN_1X1": True,
        "INPUT__FORMAT": "BGR",
    },
    "resnet50, torch stride": {
        "MODEL__RESNETS__DEPTH": 50,
        "MODEL__RESNETS__RES2_OUT_CHANNELS": 256,
        "MODEL__RESNETS__NORM": "FrozenBN",
        "MODEL__BACKBONE__FREEZE_AT": 2,
    },
    "resnext50, group norm": {
        "MODEL__RESNETS__DEPTH": 50,
        "MODEL__RESNETS__RES2_OUT_CHANNELS": 256,
        "MODEL__RESNETS__NUM_GROUPS": 4,
        "MODEL__RESNETS__WIDTH_PER_GROUP": 32,
        "MODEL__RESNETS__NORM": "GN",
        "MODEL__FPN__NORM": "GN",
        "MODEL__ROI_MASK_HEAD__NORM": "GN",
    },
    "single stage": {"MODEL__ROI_HEADS__NAME": "StandardROIHeads"},
    "three classes": {
        "MODEL__ROI_HEADS__NAME": "StandardROIHeads",
        "MODEL__ROI_HEADS__NUM_CLASSES": 3,
        "MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": False,
        "MODEL__ROI_MASK_HEAD__CLS_AGNOSTIC_MASK": False,
    },
    "droploss": {"MODEL__ROI_HEADS__USE_DROPLOSS": True, "MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH": 0.01},
    "droploss, published": {
        "MODEL__ROI_HEADS__USE_DROPLOSS": True,
        "MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH": 0.01,
        "MODEL__ROI_HEADS__DROPLOSS_REFERENCE": "published",
    },
    "soft targets": {"MODEL__ROI_HEADS__USE_SOFT_TARGETS": True},
    "soft targets, three classes": {
        "MODEL__ROI_HEADS__NAME": "StandardROIHeads",
        "MODEL__ROI_HEADS__NUM_CLASSES": 3,
        "MODEL__ROI_HEADS__USE_SOFT_TARGETS": True,
        "MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": False,
        "MODEL__ROI_MASK_HEAD__CLS_AGNOSTIC_MASK": False,
    },
    "spatial confidence": {"MODEL__ROI_MASK_HEAD__CONFIDENCE": "spatial"},
    "everything uncertain": {
        "MODEL__ROI_HEADS__USE_DROPLOSS": True,
        "MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH": 0.01,
        "MODEL__ROI_HEADS__USE_SOFT_TARGETS": True,
        "MODEL__ROI_MASK_HEAD__CONFIDENCE": "scalar",
    },
}
UNCERTAIN = ["soft targets", "soft targets, three classes", "spatial confidence", "everything uncertain"]


def both(cfg: CfgNode, folder: Path) -> tuple[Any, GeneralizedRCNN]:
    """A Detectron2 network whose scores vary, and the built-in one with its weights."""
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.modeling import build_model as build_detectron2

    import unseg_d2.detectors.detectron2.roi_heads  # noqa: F401  registers the heads
    from unseg_d2.detectors.detectron2.config import to_detectron2

    reference = build_detectron2(to_detectron2(cfg))
    with torch.no_grad():
        for name, tensor in reference.state_dict().items():
            if any(part in name for part in ("cls_score.weight", "objectness_logits.weight", "deltas.weight")):
                tensor *= 20
            elif any(part in name for part in ("bbox_pred.weight", "predictor.weight")):
                tensor *= 100
            elif name.endswith(("running_mean", "norm.bias")):
                tensor.normal_(std=0.1)
    DetectionCheckpointer(reference, str(folder)).save("random")
    model = build_model(cfg)
    load_weights(model, folder / "random.pth")
    return reference, model


def as_input(sample: Sample, cfg: CfgNode) -> dict[str, Any]:
    """A sample as Detectron2's mapper would return it."""
    from detectron2.structures import BitMasks, Boxes, Instances

    instances = Instances(tuple(sample.image.shape[-2:]))
    instances.gt_boxes = Boxes(sample.boxes)
    instances.gt_classes = sample.class_numbers()
    instances.gt_masks = BitMasks(sample.masks)
    image = sample.image.flip(0) if cfg.INPUT.FORMAT == "BGR" else sample.image
    return {"image": image, "instances": instances, "height": sample.height, "width": sample.width}


def uncertain_input(sample: Sample, cfg: CfgNode) -> dict[str, Any]:
    """The sample with random scores and spatial confidence, as this project's loader returns it."""
    from unseg_d2.detectors.detectron2.inputs import to_input

    sample.scores = torch.rand(len(sample))
    sample.confidence = torch.randint(128, 256, sample.masks.shape, dtype=torch.uint8)
    return to_input(sample, channel_order=cfg.INPUT.FORMAT)


@pytest.mark.parametrize("network", UNCERTAIN)
def test_certain_ground_truth_gives_the_plain_losses(
    network: str, tiny_cfg: Callable, make_sample: Callable, tmp_path: Path
) -> None:
    from detectron2.utils.events import EventStorage

    from unseg_d2.detectors.detectron2.inputs import to_input

    certain = {key: value for key, value in NETWORKS[network].items() if "CLASSES" in key or "AGNOSTIC" in key}
    certain |= {key: value for key, value in NETWORKS[network].items() if key.endswith(("NAME", "LOSS", "THRESH"))}
    sample = make_sample(120, 96, instances=4)
    sample.confidence = torch.full_like(sample.masks, 255, dtype=torch.uint8)
    results, weights = [], None
    for options in (NETWORKS[network], certain):
        cfg = tiny_cfg(**options)
        networks = both(cfg, tmp_path)
        weights = weights or [model.state_dict() for model in networks]
        batches = [to_input(sample, channel_order=cfg.INPUT.FORMAT)], [sample]
        for model, batch, state in zip(networks, batches, weights):
            model.load_state_dict(state)
            torch.manual_seed(0)
            with EventStorage():
                results.append(model.train()(batch))
    for uncertain, plain in zip(results[:2], results[2:]):
        assert set(uncertain) == set(plain)
        for name, loss in uncertain.items():
            assert loss.item() == pytest.approx(plain[name].item(), rel=1e-6, abs=1e-6), name


@pytest.mark.parametrize("network", NETWORKS)
def test_detections_are_equal(network: str, tiny_cfg: Callable, make_sample: Callable, tmp_path: Path) -> None:
    cfg = tiny_cfg(**NETWORKS[network])
    reference, model = both(cfg, tmp_path)
    sample = make_sample(120, 200)
    sample.height, sample.width = 171, 290
    with torch.no_grad():
        expected = reference.eval()([as_input(sample, cfg)])[0]["instances"]
        found = to_prediction({"image_id": 1}, sample, model.eval()([sample])[0])
    assert len(found.scores) == len(expected) > 10
    assert expected.scores.std() > 0.01
    np.testing.assert_allclose(found.scores, expected.scores.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected.pred_boxes.tensor.numpy(), atol=1e-2)
    masks = mask_codec.encode(np.asfortranarray(expected.pred_masks.numpy().transpose(1, 2, 0).astype(np.uint8)))
    ious = [
        mask_codec.iou([own], [other], [0])[0, 0]
        for own, other in zip(found.rles, masks)
        if any(mask_codec.area([own]))
    ]
    assert len(ious) > 5 and min(ious) >= 0.99


@pytest.mark.parametrize("network", NETWORKS)
def test_losses_and_gradients_are_equal(
    network: str, tiny_cfg: Callable, make_sample: Callable, tmp_path: Path
) -> None:
    from detectron2.utils.events import EventStorage

    # All anchors and proposals are sampled, so that the order in which they are drawn does not matter.
    everything = {"MODEL__RPN__BATCH_SIZE_PER_IMAGE": 100_000, "MODEL__ROI_HEADS__BATCH_SIZE_PER_IMAGE": 100_000}
    cfg = tiny_cfg(**NETWORKS[network], **everything)
    reference, model = both(cfg, tmp_path)
    samples = [make_sample(120, 96, instances=4, seed=1), make_sample(100, 128, seed=2)]
    for sample in samples:
        sample.classes = torch.arange(len(sample)) % cfg.MODEL.ROI_HEADS.NUM_CLASSES
    inputs = [as_input(sample, cfg) for sample in samples]
    if network in UNCERTAIN:
        inputs = [uncertain_input(sample, cfg) for sample in samples]
    torch.manual_seed(0)
    with EventStorage():
        expected = reference.train()(inputs)
    torch.manual_seed(0)
    losses = model.train()(samples)
    assert set(losses) == set(expected)
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-4, abs=1e-6), name
    sum(expected.values()).backward()
    sum(losses.values()).backward()
    pairs = [
        (model.backbone.bottom_up.res5[0].conv1.weight, reference.backbone.bottom_up.res5[0].conv1.weight),
        (model.roi_heads.mask_head.predictor.weight, reference.roi_heads.mask_head.predictor.weight),
        (model.rpn.head.cls_logits.weight, reference.proposal_generator.rpn_head.objectness_logits.weight),
    ]
    for own, other in pairs:
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-2, atol=1e-4 * float(other.grad.abs().max()))
