from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from unseg_d2.detectors.builtin.batch import Targets
from unseg_d2.detectors.builtin.rpn import ProposalSelection, build_rpn, select_proposals

FEATURES = [torch.randn(1, 32, 64 // 2**level, 64 // 2**level) for level in range(5)]


def targets(boxes: torch.Tensor) -> Targets:
    return Targets(boxes, torch.zeros(len(boxes), dtype=torch.int64), torch.zeros(len(boxes), 256, 256))


def test_suppression_within_a_level_only() -> None:
    boxes = torch.tensor([[0.0, 0, 20, 20], [0.0, 0, 20, 19], [0.0, 0, 20, 18], [-9.0, 0, 0, 20], [0.0, 0, 2, 20]])
    scores = torch.tensor([3.0, 2.0, 1.0, 5.0, 4.0])
    levels = torch.tensor([0, 0, 1, 0, 0])
    kept = select_proposals(boxes, scores, levels, (40, 40), ProposalSelection(10, 10, 0.7, min_size=2.0))
    assert kept.tolist() == [[0, 0, 20, 20], [0, 0, 20, 18]]
    kept = select_proposals(boxes, scores, levels, (40, 40), ProposalSelection(10, 1, 0.7, min_size=0.0))
    assert kept.tolist() == [[0, 0, 2, 20]]


def test_proposals_are_anchors_when_nothing_is_predicted(tiny_cfg: Callable) -> None:
    rpn = build_rpn(tiny_cfg(), 32).eval()
    torch.nn.init.zeros_(rpn.head.bbox_pred.weight)
    (proposals,), losses = rpn(FEATURES, [(256, 256)])
    anchors = torch.cat(rpn.anchors(FEATURES)).clamp(0, 256)
    assert losses == {} and 0 < len(proposals) <= 50
    # The Chebyshev distance: the Euclidean one goes through a matrix product, which cancels at such coordinates.
    assert torch.cdist(proposals, anchors, p=torch.inf).amin(dim=1).max() < 1e-3


def test_objectness_loss_of_a_fresh_network_is_log_two(tiny_cfg: Callable) -> None:
    rpn = build_rpn(tiny_cfg(MODEL__RPN__BATCH_SIZE_PER_IMAGE=64), 32)
    torch.nn.init.zeros_(rpn.head.cls_logits.weight)
    _, losses = rpn(FEATURES, [(256, 256)], [targets(torch.tensor([[10.0, 10, 70, 60]]))])
    assert losses["loss_rpn_cls"].item() == pytest.approx(0.693147, abs=1e-5)  # 64 anchors over 64


def test_no_truth_gives_no_box_loss(tiny_cfg: Callable) -> None:
    _, losses = build_rpn(tiny_cfg(), 32)(FEATURES, [(256, 256)], [targets(torch.zeros(0, 4))])
    assert losses["loss_rpn_loc"].item() == 0 and losses["loss_rpn_cls"].item() > 0
    sum(losses.values()).backward()
