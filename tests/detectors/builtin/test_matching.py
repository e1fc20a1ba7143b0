from __future__ import annotations

import torch

from unseg_d2.detectors.builtin.matching import match_boxes, sample_images, sample_labels

TRUTH = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]])


def test_intervals_include_their_lower_end() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 7], [0.0, 0, 10, 5], [20.0, 0, 30, 2.5], [50.0, 0, 60, 10]])
    index, label = match_boxes(TRUTH, boxes, (0.25, 0.7), (0, -1, 1))
    assert index.tolist() == [0, 0, 1, 0]
    assert label.tolist() == [1, -1, -1, 0]  # IoU 0.7, 0.5, 0.25, 0


def test_closest_boxes_are_kept_with_their_own_match() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 2], [20.0, 0, 30, 1], [20.0, 9, 30, 10], [50.0, 0, 60, 10]])
    index, label = match_boxes(TRUTH, boxes, (0.3, 0.7), (0, -1, 1), keep_best=True)
    assert label.tolist() == [1, 1, 1, 0]  # both boxes that share the largest IoU of the second object
    assert index.tolist() == [0, 1, 1, 0]


def test_no_truth_is_background() -> None:
    index, label = match_boxes(torch.zeros(0, 4), TRUTH, (0.5,), (0, 1), keep_best=True)
    assert index.tolist() == [0, 0] and label.tolist() == [0, 0]


def test_sampling_limits_the_foreground_and_fills_up_with_background() -> None:
    foreground = torch.arange(100) < 40
    chosen = sample_labels(foreground, torch.arange(100) >= 60, 20, 0.25)
    assert len(set(chosen.tolist())) == 20
    assert (chosen[:5] < 40).all() and (chosen[5:] >= 60).all()


def test_sampling_is_random_and_takes_what_there_is() -> None:
    foreground = torch.arange(50) < 3
    first, second = (sample_labels(foreground, ~foreground, 20, 0.5) for _ in range(2))
    assert sorted(first[:3].tolist()) == [0, 1, 2] and len(first) == 20
    assert first.tolist() != second.tolist()


def test_a_card_samples_as_many_of_each_image(card) -> None:
    first, second = torch.arange(100) < 40, torch.arange(50) < 3
    flags = [(first, ~first), (second, ~second)]
    for given in (flags, [(foreground.cuda(), background.cuda()) for foreground, background in flags]):
        samples = sample_images(given, 20, 0.25)
        for (chosen, positive), (foreground, _) in zip(samples, flags):
            chosen = chosen.cpu()
            assert positive == min(5, int(foreground.sum())) and len(set(chosen.tolist())) == 20
            assert foreground[chosen[:positive]].all() and not foreground[chosen[positive:]].any()
