"""DropLoss inside Detectron2's heads, against stock heads and hand-computed weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from unseg_d2.data.sample import Sample
from unseg_d2.detectors.detectron2.config import to_detectron2
from unseg_d2.detectors.detectron2.inputs import to_input
from unseg_d2.detectors.detectron2.roi_heads import PseudoLabelOutputLayers
from unseg_d2.detectors.detectron2.uncertain import ScoredBoxes
from unseg_d2.errors import UnsegError

pytestmark = pytest.mark.detectron2

Recipe = Callable[..., CfgNode]
NEAR, FAR, OTHER = [10.0, 10.0, 30.0, 30.0], [70.0, 70.0, 90.0, 90.0], [40.0, 10.0, 60.0, 30.0]


def batch(*counts: int) -> list[dict]:
    """Images of 64 x 96 pixels with the given numbers of objects."""
    samples = []
    for count in counts:
        corners = torch.rand(count, 2) * torch.tensor([60.0, 30.0])
        boxes = torch.cat([corners, corners + 25], dim=1)
        masks = torch.zeros(count, 64, 96, dtype=torch.bool)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist()):
            mask[y0:y1, x0:x1] = True
        instances = Instances((64, 96), gt_boxes=Boxes(boxes), gt_masks=BitMasks(masks))
        instances.gt_classes = torch.zeros(count, dtype=torch.int64)
        samples.append({"image": torch.randint(256, (3, 64, 96), dtype=torch.uint8), "instances": instances})
    return samples


def losses(cfg: CfgNode, samples: list[dict], state: dict | None = None) -> tuple[dict[str, torch.Tensor], dict]:
    """Compute the losses of one step; weights and sampling are the same at every call."""
    torch.manual_seed(1)
    model = build_model(cfg)
    if state is not None:
        model.load_state_dict(state)
    torch.manual_seed(2)
    with EventStorage():
        result = model(samples)
    sum(result.values()).backward()
    return {name: value.detach() for name, value in result.items()}, model.state_dict()


def changed(cfg: CfgNode, name: str) -> CfgNode:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.ROI_HEADS.NAME = name
    return cfg


@pytest.mark.parametrize("stock", ["CascadeROIHeads", "StandardROIHeads"])
@pytest.mark.parametrize("droploss", [False, True], ids=["off", "everything kept"])
def test_without_dropping_the_losses_are_those_of_the_stock_heads(stock: str, droploss: bool, tiny_cfg: Recipe) -> None:
    cfg = to_detectron2(
        tiny_cfg(
            MODEL__ROI_HEADS__NAME=stock,
            MODEL__ROI_HEADS__USE_DROPLOSS=droploss,
            MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH=-1.0,
        )
    )
    samples = batch(2, 3)
    expected, state = losses(changed(cfg, stock), samples)
    actual, _ = losses(cfg, samples, state)
    assert cfg.MODEL.ROI_HEADS.NAME != stock
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(actual[name], value, rtol=1e-5), name


def test_dropping_everything_leaves_the_other_losses(tiny_cfg: Recipe) -> None:
    samples = batch(2, 3)
    plain, state = losses(to_detectron2(tiny_cfg()), samples)
    dropping = tiny_cfg(MODEL__ROI_HEADS__USE_DROPLOSS=True, MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH=1.0)
    dropped, _ = losses(to_detectron2(dropping), samples, state)
    for name, value in plain.items():
        expected = torch.zeros(()) if "loss_cls_stage" in name else value
        assert torch.allclose(dropped[name], expected, rtol=1e-5), name


@pytest.mark.parametrize("reference", ["all", "published"])
@pytest.mark.parametrize("counts", [(0, 2), (0, 0)], ids=["one empty image", "two empty images"])
def test_images_without_objects(reference: str, counts: tuple[int, int], tiny_cfg: Recipe) -> None:
    recipe = tiny_cfg(
        MODEL__ROI_HEADS__USE_DROPLOSS=True,
        MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH=0.01,
        MODEL__ROI_HEADS__DROPLOSS_REFERENCE=reference,
    )
    result, _ = losses(to_detectron2(recipe), batch(*counts))
    assert all(torch.isfinite(value) for value in result.values())
    # Published: an empty image switches DropLoss off at the first stage, and drops all its regions at the others.
    assert (result["loss_cls_stage0"] > 0) == (reference == "published" or sum(counts) > 0)
    assert (result["loss_cls_stage2"] > 0) == (sum(counts) > 0)


def predictor(**options: object) -> PseudoLabelOutputLayers:
    """A predictor whose deltas are zero: predicted boxes are the proposals."""
    options = {"droploss_iou_thresh": 0.01, **options}
    layers = PseudoLabelOutputLayers(
        ShapeSpec(channels=4), box2box_transform=Box2BoxTransform((10, 10, 5, 5)), num_classes=1, **options
    )
    torch.nn.init.zeros_(layers.bbox_pred.weight)
    return layers


def regions(boxes: list[list[float]], matched: list[list[float]], classes: list[int]) -> Instances:
    return Instances(
        (100, 100),
        proposal_boxes=Boxes(torch.tensor(boxes)),
        gt_boxes=Boxes(torch.tensor(matched)),
        gt_classes=torch.tensor(classes),
    )


def test_only_the_classification_loss_of_far_regions_is_dropped() -> None:
    layers = predictor(droploss_iou_thresh=0.01)
    layers.targets = [Instances((100, 100), gt_boxes=Boxes(torch.tensor([NEAR])))]
    proposals = [regions([NEAR, FAR, OTHER], [NEAR, NEAR, NEAR], [0, 1, 1])]
    predictions = layers(torch.randn(3, 4))
    assert layers.region_weights(predictions, proposals).tolist() == [1, 0, 0]
    with EventStorage():
        result = layers.losses(predictions, proposals)
    kept = F.cross_entropy(predictions[0][:1], torch.tensor([0]))
    assert torch.allclose(result["loss_cls"], kept / 3)  # averaged over all three regions


def test_all_targets_are_references_not_only_the_sampled_ones() -> None:
    proposals = [regions([NEAR, FAR, OTHER], [NEAR, NEAR, FAR], [0, 0, 1])]
    everything = predictor(droploss_iou_thresh=0.01)
    everything.targets = [Instances((100, 100), gt_boxes=Boxes(torch.tensor([NEAR, FAR])))]
    predictions = everything(torch.randn(3, 4))
    assert everything.region_weights(predictions, proposals).tolist() == [1, 1, 0]
    # Two distinct boxes are matched, but the first two rows are both NEAR: the released code drops the true FAR.
    published = predictor(droploss_iou_thresh=0.01, droploss_reference="published")
    assert published.region_weights(predictions, proposals).tolist() == [1, 0, 0]


def test_wrong_use_is_named() -> None:
    with pytest.raises(ValueError, match="'all' or 'published', not 'some'"):
        predictor(droploss_reference="some")
    with pytest.raises(UnsegError, match=r"USE_SIGMOID_CE True in MODEL\.ROI_BOX_HEAD; set"):
        predictor(use_sigmoid_ce=True)
    with pytest.raises(UnsegError, match="USE_SOFT_TARGETS is True, but has no effect on the box loss giou; set MODEL"):
        predictor(soft_targets=True, box_reg_loss_type="giou")
    layers = predictor()
    with pytest.raises(RuntimeError, match="DropLossCascadeROIHeads"):
        layers.region_weights(layers(torch.randn(1, 4)), [regions([NEAR], [NEAR], [0])])


@pytest.mark.parametrize("reference", ["all", "published"])
def test_nothing_is_spared_in_an_image_that_is_done(reference: str) -> None:
    layers = predictor(droploss_reference=reference)
    boxes = torch.tensor([NEAR])
    targets = [ScoredBoxes(boxes, torch.ones(1), done=done) for done in (True, False)]
    targets.append(ScoredBoxes(boxes[:0], torch.ones(0), done=True))
    layers.targets = [Instances((100, 100), gt_boxes=target).to("cpu") for target in targets]
    proposals = [regions([NEAR, FAR, OTHER], [NEAR, NEAR, NEAR], [0, 1, 1]) for _ in range(2)]
    empty = Instances((100, 100), proposal_boxes=Boxes(torch.tensor([NEAR, FAR])), gt_classes=torch.tensor([1, 1]))
    predictions = torch.zeros(8, 2), torch.zeros(8, 4)
    weights = layers.region_weights(predictions, [*proposals, empty])
    assert weights.tolist() == [1, 1, 1, 1, 0, 0, 1, 1]


def test_an_empty_image_that_is_done_teaches_background(tiny_cfg: Recipe) -> None:
    recipe = to_detectron2(tiny_cfg(MODEL__ROI_HEADS__USE_DROPLOSS=True, MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH=0.01))
    samples = batch(0, 0)
    spared, state = losses(recipe, samples)
    for sample in samples:
        sample["instances"].gt_boxes = ScoredBoxes(torch.zeros(0, 4), torch.zeros(0), done=True)
    taught, _ = losses(recipe, samples, state)
    for stage in range(3):
        assert spared[f"loss_cls_stage{stage}"] == 0 < taught[f"loss_cls_stage{stage}"]


def test_background_on_a_crowd_region_is_dropped() -> None:
    """Also after the boxes were selected from and moved, as Detectron2 does."""
    crowds = torch.tensor([OTHER])
    target = Instances((100, 100), gt_boxes=ScoredBoxes(torch.tensor([NEAR]), torch.ones(1), crowds=crowds))
    proposals = [regions([NEAR, OTHER, OTHER], [NEAR, NEAR, NEAR], [0, 1, 0])]
    predictions = torch.zeros(3, 2), torch.zeros(3, 4)
    for threshold, expected in ((0.9, [1, 0, 1]), (1.0, [1, 1, 1])):
        layers = predictor(droploss_iou_thresh=-1.0, droploss_crowd_iou=threshold)
        layers.targets = [target[torch.tensor([0])].to("cpu")]
        assert layers.region_weights(predictions, proposals).tolist() == expected


def test_crowds_of_an_annotation_file_reach_the_heads(tiny_cfg: Recipe) -> None:
    recipe = tiny_cfg(MODEL__ROI_HEADS__USE_DROPLOSS=True, MODEL__ROI_HEADS__DROPLOSS_CROWD_IOU=0.5)
    sample = Sample(
        torch.zeros(3, 64, 64, dtype=torch.uint8),
        *(torch.tensor([[4.0, 4, 30, 30]]), torch.ones(1, 64, 64, dtype=torch.bool), torch.ones(1), None),
        *("a.png", 1, 64, 64),
        crowds=torch.tensor([OTHER]),
    )
    data = to_input(sample, channel_order="BGR")
    assert torch.equal(data["instances"].gt_boxes.crowds, torch.tensor([OTHER]))
    model = build_model(to_detectron2(recipe))
    assert all(predictor.droploss_crowd_iou == 0.5 for predictor in model.roi_heads.box_predictor)


def test_instances_that_know_of_no_crowd_regions_are_refused(tiny_cfg: Recipe) -> None:
    recipe = tiny_cfg(MODEL__ROI_HEADS__USE_DROPLOSS=True, MODEL__ROI_HEADS__DROPLOSS_CROWD_IOU=0.5)
    with pytest.raises(UnsegError, match=r"DROPLOSS_CROWD_IOU is on, but the instances .* have no crowd regions"):
        losses(to_detectron2(recipe), batch(1))
