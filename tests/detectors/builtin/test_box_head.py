from __future__ import annotations

import pytest
import torch

from unseg_d2.detectors.builtin.box_coder import BoxCoder
from unseg_d2.detectors.builtin.box_head import BoxPredictor, box_regression_loss, select_detections

UNIT = BoxCoder((1.0, 1.0, 1.0, 1.0))


def test_box_loss_is_summed_over_foreground_and_divided_by_all() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(4, 1)
    truth = boxes + torch.tensor([1.0, 2.0, 1.0, 2.0])  # dx 0.1, dy 0.2
    loss = box_regression_loss(torch.zeros(4, 4), boxes, truth, torch.tensor([0, 1, 0, 1]), UNIT, 1, 0.0)
    assert loss.item() == pytest.approx(2 * 0.3 / 4)


def test_class_specific_deltas_are_those_of_the_label() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10]])
    deltas = torch.tensor([[9.0, 9, 9, 9, 0.5, 0, 0, 0]], requires_grad=True)
    loss = box_regression_loss(deltas, boxes, boxes, torch.tensor([1]), UNIT, 2, 0.0)
    loss.backward()
    assert loss.item() == 0.5
    assert deltas.grad.tolist() == [[0, 0, 0, 0, 1, 0, 0, 0]]


def test_predictor_starts_almost_undecided() -> None:
    logits, deltas = BoxPredictor(64, 2, 1, UNIT)(torch.randn(8, 64))
    assert logits.shape == (8, 3) and deltas.shape == (8, 4)
    assert logits.abs().max() < 0.5 and deltas.abs().max() < 0.05


def test_detections_are_clipped_thresholded_and_suppressed_per_class() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 9], [50.0, 50, 90, 90], [0.0, 0, 5, 5]])
    scores = torch.tensor([[0.6, 0.1, 0.3], [0.5, 0.4, 0.1], [0.9, 0.0, 0.1], [0.05, 0.0, 0.95]])
    found = select_detections(boxes, scores, (60, 80), score_thresh=0.05, nms_thresh=0.5, topk=3)
    assert found[0].tolist() == [[50, 50, 80, 60], [0, 0, 10, 10], [0, 0, 10, 9]]
    assert found[1].tolist() == pytest.approx([0.9, 0.6, 0.4])
    assert found[2].tolist() == [0, 0, 1]  # the second box survives in its other class


def test_rows_that_are_not_finite_are_left_out() -> None:
    boxes, scores = torch.tensor([[0.0, 0, 9, 9], [0.0, 0, float("nan"), 9]]), torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    assert select_detections(boxes, scores, (20, 20), score_thresh=0, nms_thresh=0.5, topk=-1)[1].tolist() == [0.5]
