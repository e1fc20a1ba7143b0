"""The sum of losses, and the error when one of them is not finite."""

from __future__ import annotations

import pytest
import torch

from unseg_d2.loop.losses import diverged, total_loss


def test_total_is_the_sum_and_passes_the_gradient_on() -> None:
    parts = {name: torch.tensor(value, requires_grad=True) for name, value in (("a", 0.5), ("b", 2.0), ("c", -1.0))}
    total_loss(parts).backward()
    assert total_loss(parts).item() == 1.5
    assert [part.grad.item() for part in parts.values()] == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="at least one loss"):
        total_loss({})


def test_the_error_names_losses_and_images() -> None:
    assert str(diverged("step 3", ["a"])) == "Stopped at step 3: a is not finite. Lower SOLVER.BASE_LR."
    message = str(diverged("iteration 3", ["a", "b"], ["1.jpg", "2.jpg"]))
    assert message.startswith("Stopped at iteration 3: a, b is not finite for the images 1.jpg, 2.jpg. Lower SOLVER.")
