from __future__ import annotations

import torch

from unseg_d2.detectors.builtin.box_coder import SCALE_CLAMP, BoxCoder, clip_boxes, is_nonempty


def test_deltas_by_hand() -> None:
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    boxes, targets = torch.tensor([[0.0, 0.0, 10.0, 20.0]]), torch.tensor([[5.0, 0.0, 25.0, 20.0]])
    # Centre (5, 10) -> (15, 10): 1 width; width 10 -> 20: log 2.
    expected = torch.tensor([[10.0, 0.0, 5 * torch.log(torch.tensor(2.0)).item(), 0.0]])
    torch.testing.assert_close(coder.encode(boxes, targets), expected)


def test_decode_inverts_encode_for_several_boxes_per_row() -> None:
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    corner = torch.rand(5, 3, 2) * 50
    targets = torch.cat([corner, corner + 1 + torch.rand(5, 3, 2) * 30], dim=2)
    boxes = targets[:, 0] + torch.tensor([-1.0, 2.0, 3.0, 4.0])
    deltas = torch.cat([coder.encode(boxes, targets[:, k]) for k in range(3)], dim=1)
    torch.testing.assert_close(coder.decode(deltas, boxes), targets.flatten(1), atol=1e-4, rtol=1e-4)


def test_growth_is_limited() -> None:
    decoded = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode(
        torch.tensor([[0.0, 0.0, 50.0, 0.0]]), torch.tensor([[0.0, 0, 16, 16]])
    )
    torch.testing.assert_close(decoded[0, 2] - decoded[0, 0], torch.tensor(16 * torch.e**SCALE_CLAMP))


def test_clip_and_nonempty() -> None:
    boxes = torch.tensor([[-5.0, -5.0, 3.0, 4.0], [20.0, 0.0, 30.0, 9.0]])
    clipped = clip_boxes(boxes, torch.tensor([10.0, 8.0, 10.0, 8.0]))
    assert clipped.tolist() == [[0, 0, 3, 4], [10, 0, 10, 8]]
    assert is_nonempty(clipped).tolist() == [True, False]
    assert is_nonempty(clipped, 3.0).tolist() == [False, False]
