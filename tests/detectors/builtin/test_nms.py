from __future__ import annotations

import pytest
import torch
from torchvision.ops import nms

from unseg_d2.detectors.builtin.nms import grouped_nms


@pytest.mark.parametrize("count", [0, 1, 60])
def test_a_card_keeps_what_each_group_keeps_alone(card, count):
    corners = 90 * torch.rand(count, 2)
    boxes, scores = torch.cat([corners, corners + 5 + 30 * torch.rand(count, 2)], 1), torch.rand(count)
    groups = torch.randint(3, (count,))
    alone = []
    for group in range(3):
        members = (groups == group).nonzero()[:, 0]
        alone += members[nms(boxes[members], scores[members], 0.5)].tolist()
    expected = sorted(alone, key=lambda index: -float(scores[index]))
    assert grouped_nms(boxes, scores, groups, 0.5).tolist() == expected
    assert grouped_nms(boxes.cuda(), scores.cuda(), groups.cuda(), 0.5).tolist() == expected
