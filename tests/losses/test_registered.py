"""What every registered loss must cope with, of either kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from unseg_d2.config import load_cfg
from unseg_d2.losses import CLASSIFICATION_LOSSES, MASK_LOSSES
from unseg_d2.registry import Registry

CLASSES, SIDE = 3, 28


@dataclass(frozen=True)
class Case:
    """A loss, with inputs that fit its kind."""

    registry: Registry
    loss: Any

    @property
    def classifies(self) -> bool:
        return self.registry is CLASSIFICATION_LOSSES

    def takes(self, what: str) -> bool:
        return getattr(self.loss, f"takes_{what}", self.classifies or what == "weights")

    def inputs(self, count: int = 12) -> tuple[Tensor, Tensor]:
        """Logits, which want a gradient, and targets: labels with the background among them, or masks."""
        if self.classifies:
            logits, targets = torch.randn(count, CLASSES + 1), torch.arange(count) % (CLASSES + 1)
        else:
            logits, targets = torch.randn(count, SIDE, SIDE), torch.rand(count, SIDE, SIDE) > 0.5
        return logits.requires_grad_(), targets

    def weights(self, value: float, count: int = 12) -> list[Tensor]:
        """The shapes in which weights may come."""
        shapes = [(count,)] if self.classifies else [(count, SIDE, SIDE), (count, 1, 1)]
        return [torch.full(shape, value) for shape in shapes]

    def __call__(
        self, logits: Tensor, targets: Tensor, *, scores: Tensor | None = None, weights: Tensor | None = None
    ) -> Tensor:
        return self.loss(logits, targets, *((scores, weights) if self.classifies else (weights,)))


@pytest.fixture(
    params=[(registry, name) for registry in (CLASSIFICATION_LOSSES, MASK_LOSSES) for name in registry.names()],
    ids=lambda param: f"{param[0].key.lower()}-{param[1]}",
)
def case(request: pytest.FixtureRequest) -> Case:
    registry, name = request.param
    return Case(registry, registry.build(load_cfg(None, ["MODEL.MASK_ON", "True", registry.key, name])))


def needs(case: Case, what: str) -> None:
    if not case.takes(what):
        pytest.skip(f"takes no {what}")


class TestEveryLoss:
    def test_is_a_finite_scalar(self, case):
        loss = case(*case.inputs())
        assert loss.shape == () and loss.dtype == torch.float32 and loss.isfinite()

    def test_every_region_has_a_gradient(self, case):
        logits, targets = case.inputs()
        case(logits, targets).backward()
        assert logits.grad.isfinite().all() and logits.grad.flatten(1).any(1).all()

    @pytest.mark.parametrize("size", [30.0, 1000.0])
    def test_large_logits(self, case, size):
        logits, targets = case.inputs()
        logits = (logits.detach().sign() * size).requires_grad_()
        loss = case(logits, targets)
        loss.backward()
        assert loss.isfinite() and logits.grad.isfinite().all()

    def test_a_step_along_the_gradient_makes_it_smaller(self, case):
        logits, targets = case.inputs()
        before = case(logits, targets)
        before.backward()
        assert case(logits.detach() - 0.1 * logits.grad / logits.grad.abs().max(), targets) < before

    def test_no_regions_are_zero_with_a_gradient_path(self, case):
        logits, targets = case.inputs(0)
        scores = torch.zeros(0) if case.takes("scores") else None
        every_weight = [None, *case.weights(1.0, 0)] if case.takes("weights") else [None]
        for weights in every_weight:
            loss = case(logits, targets, scores=scores, weights=weights)
            assert loss.shape == () and loss.item() == 0
            (gradient,) = torch.autograd.grad(loss, logits)
            assert gradient.shape == logits.shape

    def test_regions_of_weight_zero_do_not_count(self, case):
        needs(case, "weights")
        for weights in case.weights(0.0):
            logits, targets = case.inputs()
            loss = case(logits, targets, weights=weights)
            loss.backward()
            assert loss.item() == 0 and not logits.grad.any()

    def test_weights_of_one_change_nothing(self, case):
        needs(case, "weights")
        logits, targets = case.inputs()
        for weights in case.weights(1.0):
            torch.testing.assert_close(case(logits, targets, weights=weights), case(logits, targets))

    def test_a_region_of_weight_zero_has_no_gradient_and_the_others_have_one(self, case):
        needs(case, "weights")
        for weights in case.weights(1.0):
            logits, targets = case.inputs()
            weights[3] = 0
            case(logits, targets, weights=weights).backward()
            counts = logits.grad.flatten(1).any(1)
            assert not counts[3] and counts.sum() == len(counts) - 1

    def test_scores_of_one_change_nothing(self, case):
        needs(case, "scores")
        logits, targets = case.inputs()
        torch.testing.assert_close(case(logits, targets, scores=torch.ones(12)), case(logits, targets))

    def test_scores_are_those_of_objects(self, case):
        needs(case, "scores")
        logits, targets = case.inputs()
        background = targets == CLASSES
        ignored = torch.where(background, 0.3, 1.0)
        torch.testing.assert_close(case(logits, targets, scores=ignored), case(logits, targets))
        assert case(logits, targets, scores=torch.full((12,), 0.3)) != case(logits, targets)

    def test_only_background(self, case):
        if not case.classifies:
            pytest.skip("masks have no background")
        logits, _ = case.inputs()
        assert case(logits, torch.full((12,), CLASSES)).isfinite()

    def test_half_precision_under_autocast(self, case):
        logits, targets = case.inputs()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = logits.detach().bfloat16().requires_grad_()
            loss = case(half, targets)
        loss.backward()
        torch.testing.assert_close(loss.float(), case(logits, targets), rtol=0.02, atol=0.02)
        assert half.grad.isfinite().all() and half.grad.any()

    def test_leaves_its_input_alone(self, case):
        logits, targets = case.inputs()
        before = logits.detach().clone(), targets.clone()
        case(logits, targets)
        assert torch.equal(logits, before[0]) and torch.equal(targets, before[1])

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
    def test_cuda_equals_cpu(self, case):
        logits, targets = case.inputs()
        scores = torch.rand(12) if case.takes("scores") else None
        for weights in case.weights(0.5) if case.takes("weights") else [None]:
            arguments = {"scores": scores, "weights": weights}
            moved = {name: None if value is None else value.cuda() for name, value in arguments.items()}
            theirs = case(logits.cuda(), targets.cuda(), **moved)
            assert theirs.device.type == "cuda"
            torch.testing.assert_close(theirs.cpu(), case(logits, targets, **arguments))

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
    def test_float16_under_autocast(self, case):
        logits, targets = case.inputs()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = case(logits.cuda().half(), targets.cuda())
        torch.testing.assert_close(loss.float().cpu(), case(logits, targets), rtol=0.01, atol=0.01)
