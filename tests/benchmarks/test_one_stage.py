"""The experiment "one stage": its arithmetic by hand, and a training that is killed and resumed."""

from __future__ import annotations

import doctest
import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.errors import UnsegError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "experiments"))

from one_stage import objective, views
from one_stage.network import REACH, OneStage, Queries, distances
from one_stage.objective import dice, mask_losses, match, moved_centre, query_loss, teacher_distribution
from one_stage.settings import OneStageSettings
from one_stage.targets import Regions, crop_targets, groups, query_features, unit_maps
from one_stage.train import load, predict, score_loss, step_losses, train, without_repetitions

SMALL = OneStageSettings(size=(64, 64), crop_size=32, layers=1, channels=16, hidden=8, prototypes=6, scale=(0.3, 0.9))


def mask(*rows: str) -> torch.Tensor:
    """Return a bool mask of rows of # and dots."""
    return torch.tensor([[cell == "#" for cell in row] for row in rows])


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(objective) == (0, 2)


# Views


def test_windows_cover_the_share_that_is_asked_for_and_lie_within_the_image() -> None:
    windows = views.draw_windows(500, (60, 80), (0.05, 0.4), np.random.default_rng(0)).double()
    left, top, right, bottom = windows.unbind(1)
    shares = (right - left) * (bottom - top)
    aspects = (right - left) * 80 / ((bottom - top) * 60)
    assert 0.05 - 1e-6 <= shares.min() < 0.06 and 0.39 < shares.max() <= 0.4 + 1e-6
    assert 3 / 4 - 1e-4 <= aspects.min() < 0.8 and 1.25 < aspects.max() <= 4 / 3 + 1e-4
    assert windows.min() >= 0 and windows.max() <= 1


def test_a_window_is_cut_out_scaled_and_mirrored() -> None:
    whole = torch.arange(16.0).view(1, 4, 4)
    windows = torch.tensor([[0, 0, 1, 1], [0.5, 0, 1, 0.5], [0.5, 0, 1, 0.5]])
    same, corner, mirrored = (
        views.cut(whole, windows[[0]], 4, torch.tensor([False]))[0],
        *views.cut(whole, windows[1:], 2, torch.tensor([False, True])),
    )
    assert torch.equal(same, whole)
    assert corner.tolist() == [[[2, 3], [6, 7]]] and mirrored.tolist() == [[[3, 2], [7, 6]]]
    assert views.cut(whole, windows[[0]], 2, torch.tensor([False])).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]


# Targets


def test_cosines_of_joined_maps_are_weighted_means() -> None:
    one, other = torch.randn(2, 5, 2, 3, generator=torch.Generator().manual_seed(0))
    joined = unit_maps(one, other, weights=(0.75, 0.25)).flatten(1)
    cosine = torch.nn.functional.cosine_similarity
    for a, b in itertools.combinations(range(6), 2):
        first, second = (cosine(part.flatten(1)[:, a], part.flatten(1)[:, b], dim=0) for part in (one, other))
        assert (joined[:, a] @ joined[:, b]).item() == pytest.approx((0.75 * first + 0.25 * second).item(), abs=1e-6)


def test_regions_in_one_piece_that_hold_no_two_corners_are_instances() -> None:
    masks = torch.stack(
        [
            mask("....", ".##.", "...."),
            mask("####", "#..#", "...."),  # two corners
            mask("#...", "#...", "...."),  # one corner
            mask("....", ".#..", "..#."),  # two pieces, which touch by a corner
            mask("....", "..#.", "...."),
        ]
    )
    assert [part if isinstance(part, int) else part.tolist() for part in groups(masks, 9, 9)] == [[0, 2, 4, 1, 3], 3]
    assert groups(masks, 2, 1)[0].tolist() == [0, 2, 1]
    assert groups(masks[:0], 2, 1)[0].tolist() == []


def test_features_of_regions_are_those_of_equation_5() -> None:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.nn.functional.normalize(torch.randn(4, 2, 3, generator=generator), dim=0)
    values = torch.randn(5, 2, 3, generator=generator)
    masks = torch.stack([mask("##.", "..."), mask("..#", "..#")])
    found = query_features(masks, tokens, values, sigma=0.5)
    columns, contents = tokens.flatten(1).T.tolist(), values.flatten(1).T.tolist()
    for region, feature in zip(masks.flatten(1).tolist(), found):
        members = [k for k in range(6) if region[k]]
        affinity = [
            sum(sum(a * b for a, b in zip(columns[m], columns[n])) for m in members) / len(members) for n in range(6)
        ]
        weights = [math.exp(value / 0.5) for value in affinity]
        mean = np.array([sum(w * content[c] for w, content in zip(weights, contents)) for c in range(5)])
        assert feature.numpy() == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_masks_are_cropped_to_the_views_and_those_outside_are_dropped() -> None:
    corner, edge = mask("##..", "##..", "....", "...."), mask("...#", "...#", "...#", "...#")
    masks = torch.stack([corner, edge, torch.ones(4, 4, dtype=torch.bool)])
    regions = Regions(masks, torch.zeros(3, 1), torch.ones(3), instances=1)
    windows = torch.tensor([[0, 0, 1, 1], [0.5, 0.5, 1, 1], [0.5, 0, 1, 0.5]])
    whole, part, mirrored = crop_targets(regions, windows, torch.tensor([False, False, True]), 4, (0.1, 0.95))
    assert whole.kept.tolist() == [0, 1] and whole.instances == 1  # the last mask has no edge
    assert torch.equal(whole.masks, masks[:2])
    assert part.kept.tolist() == mirrored.kept.tolist() == [1] and part.instances == 0
    assert part.masks[0].tolist() == [[False, False, True, True]] * 4
    assert mirrored.masks[0].tolist() == [[True, True, False, False]] * 4
    nothing = Regions(masks[:0], torch.zeros(0, 1), torch.ones(0), instances=0)
    found = crop_targets(nothing, windows, torch.zeros(3, dtype=torch.bool), 4, (0.1, 0.95))
    assert [target.masks.shape for target in found] == [(0, 4, 4)] * 3


# Matching and losses


def test_dice_by_hand() -> None:
    soft = torch.tensor([[[0.5, 0.5], [0, 0]], [[0, 0], [0, 1.0]]])
    targets = torch.stack([mask("##", ".."), mask("#.", "##")])
    expected = [[2 * 1 / (1 + 2), 2 * 0.5 / (1 + 3)], [0, 2 * 1 / (1 + 3)]]
    assert dice(soft, targets).numpy() == pytest.approx(np.array(expected))


def best(overlap: torch.Tensor) -> float:
    """Return the largest sum of one entry per row, all in different columns, by trying them all."""
    rows, columns = overlap.shape
    chosen = itertools.permutations(range(columns), rows)
    return max(sum(overlap[row, column].item() for row, column in enumerate(some)) for some in chosen)


@pytest.mark.parametrize("seed", range(5))
def test_matching_has_the_largest_overlap_of_all_within_each_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, targets = (4, 2), (2, 3)  # of the two groups
    overlap = torch.from_numpy(rng.random((sum(queries), sum(targets))))
    rows, columns = match(overlap, queries[0], targets[0])
    assert ((rows < queries[0]) == (columns < targets[0])).all() and len(rows) == 4
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == 4
    first = best(overlap[:4, :2].T)
    second = best(overlap[4:, 2:])
    assert overlap[rows, columns].sum().item() == pytest.approx(first + second)


def test_matching_by_hand_and_without_targets() -> None:
    rows, columns = match(torch.tensor([[0.9, 0.8], [0.8, 0.1], [0.0, 0.0]]), 3, 2)
    assert sorted(zip(rows.tolist(), columns.tolist())) == [(0, 1), (1, 0)]  # 1.6, where the best pair gives 1
    assert [len(side) for side in match(torch.zeros(3, 0), 2, 0)] == [0, 0]


def test_query_loss_is_the_cross_entropy_of_its_formula() -> None:
    rng = np.random.default_rng(2)
    student, teacher, centre = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.normal(size=4)
    total = 0.0
    for z, v in zip(student, teacher):
        p = [math.exp((v[k] - centre[k]) / 0.3) for k in range(4)]
        q = [math.exp(z[k] / 0.2) for k in range(4)]
        total -= sum(p[k] / sum(p) * math.log(q[k] / sum(q)) for k in range(4))
    wanted = teacher_distribution(torch.from_numpy(teacher), torch.from_numpy(centre), 0.3)
    assert query_loss(torch.from_numpy(student), wanted, 0.2).item() == pytest.approx(total / 3)
    assert query_loss(torch.zeros(0, 4), torch.zeros(0, 4), 0.2).item() == 0


def test_the_centre_is_a_running_mean() -> None:
    moved = moved_centre(torch.tensor([1.0, 0.0]), torch.tensor([[2.0, 2.0], [4.0, 0.0]]), 0.9)
    assert moved.tolist() == pytest.approx([0.9 + 0.3, 0.1])
    assert moved_centre(moved, torch.zeros(0, 2), 0.9) is moved


def test_mask_losses_by_hand() -> None:
    logits, targets = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[True, False]]])
    cross_entropy, overlap = mask_losses(logits, targets)
    assert cross_entropy.item() == pytest.approx(math.log(2))
    assert overlap.item() == pytest.approx(1 - (2 * 0.5 + 1) / (1 + 1 + 1))
    assert [loss.item() for loss in mask_losses(logits[:0], targets[:0])] == [0, 0]


def test_scores_should_be_the_contrast_of_matched_regions_and_0_elsewhere() -> None:
    scores = torch.tensor([[2.0, -1.0, 5.0]])  # the third query is of the semantic group
    found = Queries(torch.zeros(1, 3, 1), torch.zeros(1, 3, 1, 1), scores, instances=2)
    pairs = [(torch.tensor([1, 2]), torch.tensor([0, 1]))]
    sigmoid = [1 / (1 + math.exp(-value)) for value in (2.0, -1.0)]
    expected = -(math.log(1 - sigmoid[0]) + 0.7 * math.log(sigmoid[1]) + 0.3 * math.log(1 - sigmoid[1])) / 2
    assert score_loss(found, pairs, [torch.tensor([0.7, 1.0])]).item() == pytest.approx(expected)


# Network


def test_masks_fade_from_the_point_that_a_query_chooses() -> None:
    cells, pixels = torch.tensor([[8.0, 8.0]]), torch.tensor([[8.0, 8.0], [24.0 + REACH, 8.0], [24.0, 8.0 + 2 * REACH]])
    still, moved = torch.zeros(1, 1, 4), torch.tensor([[[1.0, 0.0, 0.0, math.log(2)]]])  # a cell of 16 px to the right
    assert distances(cells, still, pixels[:1]).tolist() == [[[0.0]]]
    assert distances(cells, moved, pixels)[0, 0, 1:].tolist() == pytest.approx([0.5, 0.5])


def test_the_teacher_is_the_running_average_of_the_student() -> None:
    torch.manual_seed(0)
    network = OneStage(SMALL)
    weight, expected = network.student.head.prototypes, None
    for t in range(4):
        with torch.no_grad():
            weight.add_(t + 1.0)
        decay = 0.0 if t == 0 else min(SMALL.ema_decay, 1 - (t + 1) ** (-2 / 3))
        now = weight.detach().clone()
        expected = now if expected is None else decay * expected + (1 - decay) * now
        network.follow(t)
        assert torch.allclose(network.teacher.head.prototypes, expected, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in network.teacher.parameters())


def test_repetitions_of_better_masks_are_left_out() -> None:
    masks = torch.stack([mask("##.."), mask("###."), mask(".###"), mask("##..")])
    assert without_repetitions(masks.flatten(1)).tolist() == [
        True,
        False,
        True,
        False,
    ]  # the third overlaps only the second


# Training


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng, found = np.random.default_rng(0), []
    for index in range(3):
        pixels = np.full((96, 96, 3), 60, np.uint8) + rng.integers(0, 12, (96, 96, 3), dtype=np.uint8)
        pixels[20:60, 10 + 8 * index : 50 + 8 * index] = (220, 40, 40)
        pixels[64:88, 60:88] = (30, 200, 60)
        found.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels).save(found[-1])
    return found


def state(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def test_a_training_that_was_killed_ends_with_the_same_bytes(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"steps": 4, "seed": 3, "checkpoint_period": 3}
    whole = state(train(paths, SMALL, tmp_path / "whole", **options))
    follow = OneStage.follow

    def killed(network: OneStage, t: int) -> None:
        follow(network, t)
        if t == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(OneStage, "follow", killed)
    with pytest.raises(KeyboardInterrupt):
        train(paths, SMALL, tmp_path / "killed", **options)
    monkeypatch.undo()
    resumed = state(train(paths, SMALL, tmp_path / "killed", **options, resume=True))
    assert resumed["iteration"] == 3
    assert whole["model"].keys() == resumed["model"].keys()
    assert all(torch.equal(whole["model"][name], resumed["model"][name]) for name in whole["model"])
    student, teacher = (whole["model"][f"{who}.decoder.score.weight"] for who in ("student", "average.module"))
    assert not torch.equal(student, teacher) and whole["model"]["centre"].abs().max() > 0
    with pytest.raises(UnsegError, match=r"other settings: seed was 3, now 4.*[Cc]hoose another folder"):
        train(paths, SMALL, tmp_path / "killed", **{**options, "seed": 4}, resume=True)
    network = load(tmp_path / "whole" / "model_final.pth", SMALL)
    masks, scores = predict(network, np.array(Image.open(paths[0])), SMALL)
    assert masks.shape[1:] == (96, 96) and masks.any((1, 2)).all() and len(masks) == len(scores) > 0


def test_a_step_teaches_encoder_decoder_and_head_and_leaves_the_teacher_alone(paths: list[Path]) -> None:
    torch.manual_seed(0)
    network = OneStage(SMALL)
    losses = step_losses(network, views.Batches(paths, SMALL, 0)(0), 0, 5, SMALL)
    assert losses.keys() == {"loss_query", "loss_mask", "loss_dice", "loss_score"}
    assert all(loss.item() > 0 for loss in losses.values())
    sum(losses.values(), torch.zeros(())).backward()
    student = network.student
    for weight in (student.encoder.body.conv1.weight, student.decoder.semantic, student.head.prototypes):
        assert weight.grad is not None and weight.grad.abs().max() > 0
    assert all(weight.grad is None for weight in network.teacher.parameters())


def test_a_step_on_images_without_regions_has_no_pairs(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (90, 90, 90)).save(tmp_path / "plain.png")
    torch.manual_seed(0)
    network = OneStage(SMALL)
    losses = step_losses(network, views.Batches([tmp_path / "plain.png"], SMALL, 0)(0), 0, 5, SMALL)
    values = {name: loss.item() for name, loss in losses.items()}
    assert values["loss_query"] == values["loss_mask"] == values["loss_dice"] == 0 < values["loss_score"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop_size": 40}, "crop_size must be a multiple of 32"),
        ({"size": (64,)}, "size must be two numbers"),
        ({"scale": (0.5, 0.2)}, "a smaller and a larger number"),
        ({"student_temperature": 0.0}, "student_temperature"),
    ],
)
def test_settings_that_do_not_work_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OneStageSettings(**wrong)
