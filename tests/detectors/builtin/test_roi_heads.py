"""RoI heads: sampling, the cascade's matching, and the references of DropLoss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from unseg_d2.config.sections.heads import RoIHeadsSettings
from unseg_d2.detectors.builtin.batch import Targets
from unseg_d2.detectors.builtin.model import build_roi_heads
from unseg_d2.detectors.builtin.roi_heads import RoIHeads, ScaleGradient, gather_scores
from unseg_d2.errors import UnsegError

SIZE = (64, 96)
FEATURES = [torch.randn(2, 32, 24 // 2**level, 24 // 2**level) for level in range(4)]


def targets(*boxes: list[float]) -> Targets:
    masks = torch.zeros(len(boxes), *SIZE, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    return Targets(torch.tensor(boxes).reshape(-1, 4), torch.zeros(len(boxes), dtype=torch.int64), masks)


@pytest.fixture
def heads(tiny_cfg: Callable) -> Callable[..., RoIHeads]:
    return lambda **overrides: build_roi_heads(tiny_cfg(**overrides), 32)


TRUTH = targets([0.0, 0.0, 20.0, 20.0], [40.0, 20.0, 80.0, 60.0])
EMPTY = targets()
PROPOSALS = torch.tensor([[0.0, 0, 20, 18], [41.0, 21, 80, 60], [0.0, 30, 30, 60], [60.0, 0, 90, 15]])


def test_ground_truth_is_added_and_regions_are_labelled(heads: Callable) -> None:
    rois = heads().sample([PROPOSALS, PROPOSALS], [TRUTH, EMPTY])
    assert rois.counts == [6, 4]
    assert rois.labels.tolist() == [0] * 4 + [1] * 6
    assert torch.equal(rois.gt_boxes[:4], TRUTH.boxes[rois.gt_index[:4]])
    assert sorted(rois.gt_index[:4].tolist()) == [0, 0, 1, 1]
    assert not rois.gt_boxes[6:].any()
    assert rois.image_index().tolist() == [0] * 6 + [1] * 4
    without = heads(MODEL__ROI_HEADS__PROPOSAL_APPEND_GT=False).sample([PROPOSALS], [TRUTH])
    assert without.counts == [4]


def test_each_stage_demands_more_overlap(heads: Callable) -> None:
    cascade = heads()
    rois = cascade.sample([torch.zeros(0, 4)], [targets([0.0, 0.0, 20.0, 20.0])])
    decoded = torch.tensor([[0.0, 0.0, 20.0, 13.0]])  # IoU 0.65
    for stage, label in ((1, 0), (2, 1)):
        assert cascade._next_rois(decoded, rois, [SIZE], [TRUTH], stage).labels.tolist() == [label]
    outside = torch.tensor([[200.0, 0.0, 220.0, 20.0]])
    assert cascade._next_rois(outside, rois, [SIZE], [TRUTH], 1).counts == [0]


def test_droploss_references(heads: Callable) -> None:
    rois = heads().sample([PROPOSALS, PROPOSALS], [TRUTH, EMPTY])
    near, everything = (
        rois.boxes,
        {"MODEL__ROI_HEADS__USE_DROPLOSS": True, "MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH": 0.01},
    )
    assert heads()._droploss(near, rois, [TRUTH, EMPTY], 0) is None
    weights = heads(**everything)._droploss(near, rois, [TRUTH, EMPTY], 0)
    overlaps = [1, 1, 1, 1, 0, 0] if rois.labels[4:6].tolist() == [1, 1] else None
    assert weights[:4].tolist() == [1] * 4 and weights[6:].tolist() == [0] * 4
    assert sorted(weights[4:6].tolist()) == sorted(overlaps[4:])
    published = heads(**everything, MODEL__ROI_HEADS__DROPLOSS_REFERENCE="published")
    assert published._droploss(near, rois, [TRUTH, EMPTY], 0) is None  # the whole batch, because of the empty image
    assert published._droploss(near, rois, [TRUTH, EMPTY], 1)[6:].tolist() == [0] * 4


def test_droploss_removes_the_gradient_of_far_regions(heads: Callable) -> None:
    plain, dropped = (
        heads(MODEL__ROI_HEADS__USE_DROPLOSS=use, MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH=0.01) for use in (False, True)
    )
    dropped.load_state_dict(plain.state_dict())
    losses = []
    for model in (plain, dropped):
        torch.manual_seed(1)
        losses.append(model([level[:1] for level in FEATURES], [PROPOSALS], [SIZE], [TRUTH]))
    # Two of the six regions touch no object, and an undecided logit costs log 2 each.
    difference = losses[0]["loss_cls_stage0"] - losses[1]["loss_cls_stage0"]
    assert difference.item() == pytest.approx(2 * 0.693 / 6, rel=0.1)
    for name in ("loss_box_reg_stage0", "loss_mask"):
        assert losses[0][name].item() == pytest.approx(losses[1][name].item())


def test_a_batch_without_objects_reaches_every_parameter(heads: Callable) -> None:
    model = heads()
    losses = model(FEATURES, [PROPOSALS, PROPOSALS[:1]], [SIZE, SIZE], [EMPTY, EMPTY])
    assert losses["loss_mask"].item() == 0 and losses["loss_box_reg_stage2"].item() == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_names_of_the_losses(heads: Callable) -> None:
    single = heads(MODEL__ROI_HEADS__NAME="CustomStandardROIHeads", MODEL__MASK_ON=False)
    losses = single(FEATURES, [PROPOSALS, PROPOSALS], [SIZE, SIZE], [TRUTH, EMPTY])
    assert set(losses) == {"loss_cls", "loss_box_reg"}


def test_no_proposals_give_no_detections(heads: Callable) -> None:
    (found,) = heads().eval().predict([level[:1] for level in FEATURES], [torch.zeros(0, 4)], [SIZE])
    assert found.boxes.shape == (0, 4) and found.masks.shape == (0, 28, 28)


def test_scale_gradient() -> None:
    x = torch.ones(3, requires_grad=True)
    y = ScaleGradient.apply(x, 0.25)
    assert torch.equal(x, y)
    y.sum().backward()
    assert x.grad.tolist() == [0.25] * 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"MODEL__ROI_HEADS__NAME": "CascadeROIHead"}, "Did you mean 'CascadeROIHeads'"),
        ({"MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": False}, "needs MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG True"),
        ({"MODEL__ROI_BOX_CASCADE_HEAD__IOUS": (0.5, 0.6)}, "as many IOUS as BBOX_REG_WEIGHTS"),
    ],
)
def test_wrong_recipes(override: dict, message: str, heads: Callable) -> None:
    with pytest.raises(UnsegError, match=message):
        heads(**override)


def test_regions_know_the_score_of_their_instance(heads: Callable) -> None:
    scored = replace(TRUTH, scores=torch.tensor([0.25, 0.75]))
    rois = heads().sample([PROPOSALS, PROPOSALS], [scored, EMPTY])
    scores = gather_scores(rois, [scored, EMPTY])
    assert torch.equal(scores[:4], scored.scores[rois.gt_index[:4]]) and scores[6:].tolist() == [1] * 4


def test_unknown_kind_of_confidence(heads: Callable) -> None:
    with pytest.raises(UnsegError, match=r"CONFIDENCE in .* is 'soft', but must be one of 'none', 'spatial', 'scalar'"):
        heads(MODEL__ROI_MASK_HEAD__CONFIDENCE="soft")


@pytest.mark.parametrize("reference", ["all", "published"])
def test_droploss_spares_nothing_in_an_image_that_is_done(heads: Callable, reference: str) -> None:
    dropping = heads(
        MODEL__ROI_HEADS__USE_DROPLOSS=True,
        MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH=0.01,
        MODEL__ROI_HEADS__DROPLOSS_REFERENCE=reference,
    )
    empty, full = replace(EMPTY, done=True), replace(TRUTH, done=True)
    rois = dropping.sample([PROPOSALS] * 3, [full, TRUTH, empty])
    weights = dropping._droploss(rois.boxes, rois, [full, TRUTH, empty], 0).split(rois.counts)
    assert weights[0].tolist() == [1] * 6 and weights[2].tolist() == [1] * 4
    assert sorted(weights[1].tolist())[:2] == [0, 0]  # the two proposals that overlap nothing


def test_background_on_a_crowd_region_is_dropped(heads: Callable) -> None:
    """Of the RoIs that DropLoss keeps in an image, those that lie on the crowd teach nothing, objects apart."""
    keys = {"MODEL__ROI_HEADS__USE_DROPLOSS": True, "MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH": -1.0}
    plain, sparing = heads(**keys), heads(**keys, MODEL__ROI_HEADS__DROPLOSS_CROWD_IOU=0.9)
    rois = plain.sample([PROPOSALS], [TRUTH])
    background = rois.labels == plain.num_classes
    assert background.any() and not background.all()
    crowded = replace(TRUTH, crowds=rois.boxes)  # one on each of them
    assert plain._droploss(rois.boxes, rois, [crowded], 0).tolist() == [1] * len(rois.boxes)
    assert torch.equal(sparing._droploss(rois.boxes, rois, [crowded], 0), (~background).float())
    assert sparing._droploss(rois.boxes, rois, [TRUTH], 0).tolist() == [1] * len(rois.boxes)


def test_sparing_crowds_needs_droploss(tiny_cfg: Callable) -> None:
    with pytest.raises(UnsegError, match="DROPLOSS_CROWD_IOU has no effect without USE_DROPLOSS"):
        RoIHeadsSettings.from_config(tiny_cfg(MODEL__ROI_HEADS__DROPLOSS_CROWD_IOU=0.5))
