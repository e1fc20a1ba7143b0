from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.config import get_cfg, load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.masks import MASK_GENERATORS, build_generator
from unseg_d2.masks.greedymerge import GreedyMerge, GreedyMergeSettings, greedymerge
from unseg_d2.registry import unused_settings
from unseg_d2.structures import DepthMap, PatchFeatures, Proposals


def box(top: int, left: int, bottom: int, right: int, side: int = 12) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top:bottom, left:right] = True
    return mask


LEFT, RIGHT = box(2, 2, 8, 5), box(2, 5, 8, 8)  # two halves of an object, of cosine .7
WHOLE = LEFT | RIGHT
LARGE = box(1, 1, 11, 9)  # contains the object and some background
ALONE = box(9, 10, 12, 12)  # of the colour of the left half, apart


def tokens() -> torch.Tensor:
    """Tokens ``(1, 3, 12, 12)`` without noise: background, the two halves, and a patch of the first one's kind."""
    image = np.zeros((3, 12, 12), np.float32)
    image[0] = 1
    image[:, LEFT | ALONE] = np.array([0, 1, 0], np.float32)[:, None]
    image[:, RIGHT] = np.array([0, 0.7, 51**0.5 / 10], np.float32)[:, None]
    return torch.from_numpy(image)[None]


def objects(*masks: np.ndarray, scores: tuple[float, ...] | None = None) -> Proposals:
    scores = scores or tuple(0.9 - 0.1 * number for number in range(len(masks)))
    return Proposals(torch.from_numpy(np.stack(masks)), torch.tensor(scores), rejected={"min_area": 2})


def described(found: Proposals) -> dict[bytes, tuple[int, bytes | None, float]]:
    """Level, parent and score of each mask."""
    masks = [mask.numpy().tobytes() for mask in found.masks]
    assert len(set(masks)) == len(masks) and (found.scores[:-1] >= found.scores[1:]).all()
    parents = [None if parent < 0 else masks[parent] for parent in found.parents.tolist()]
    return dict(zip(masks, zip(found.levels.tolist(), parents, [round(s, 4) for s in found.scores.tolist()])))


SETTINGS = GreedyMergeSettings(taus=(0.9, 0.8))


def test_an_object_is_divided_into_its_regions_and_keeps_its_score():
    """Halves have the cosine .7, so that their contrast is .15; the background is not looked at."""
    (found,) = greedymerge(tokens(), SETTINGS, [objects(WHOLE)])
    whole = WHOLE.tobytes()
    assert described(found) == {
        whole: (2, None, 0.9),
        LEFT.tobytes(): (0, whole, 0.15),
        RIGHT.tobytes(): (0, whole, 0.15),
    }
    assert found.rejected == {"min_area": 2}


def test_a_region_that_is_the_whole_object_is_the_object_in_a_finer_layer():
    (found,) = greedymerge(tokens(), GreedyMergeSettings(taus=(0.9, 0.65)), [objects(WHOLE)])
    assert described(found)[WHOLE.tobytes()] == (1, None, 0.9)


def test_objects_in_objects_share_what_they_have_in_common():
    """The halves lie in both objects and are found once, in the smaller one, which lies in the larger."""
    (found,) = greedymerge(tokens(), SETTINGS, [objects(LARGE, WHOLE, ALONE)])
    large, whole = LARGE.tobytes(), WHOLE.tobytes()
    floor = (LARGE & ~WHOLE).tobytes()
    about = {mask: (level, parent) for mask, (level, parent, _) in described(found).items()}
    assert about == {
        large: (2, None),
        whole: (2, large),
        LEFT.tobytes(): (0, whole),
        RIGHT.tobytes(): (0, whole),
        floor: (0, large),
        ALONE.tobytes(): (0, None),
    }


def test_an_image_without_objects_has_no_masks():
    (found,) = greedymerge(tokens(), SETTINGS, [Proposals.empty((12, 12), {"no cut": 1})])
    assert len(found) == 0 and found.rejected == {"no cut": 1}


def test_objects_of_another_grid():
    """VoteCut gives masks on the finest grid of an ensemble."""
    fine = np.kron(WHOLE, np.ones((2, 2), bool))
    (found,) = greedymerge(tokens(), SETTINGS, [objects(fine)])
    assert set(described(found)) == {WHOLE.tobytes(), LEFT.tobytes(), RIGHT.tobytes()}


def test_limits_hold_for_objects_too():
    settings = GreedyMergeSettings(taus=(0.9,), min_patches=7, max_share=0.3)
    (found,) = greedymerge(tokens(), settings, [objects(LARGE, ALONE)])
    assert set(described(found)) == {LEFT.tobytes(), RIGHT.tobytes()}  # the floor in the large one is large too
    assert found.rejected == {"min_area": 2, "max_share": 1, "min_patches": 1}


@pytest.mark.parametrize("name", [n for n, e in MASK_GENERATORS if not getattr(e.make, "has_levels", False)])
def test_every_other_generator_can_divide(name):
    cfg = load_cfg(None, ["MASKS.GENERATOR", "greedymerge", "MASKS.GREEDYMERGE.DIVIDE", name])
    generator, alone = build_generator(cfg), MASK_GENERATORS.build(cfg, name)
    assert generator.needs_depth == (name == "cuts3d")
    image = PatchFeatures(tokens()[0], 8, torch.ones(12, 12), DepthMap(1 + torch.arange(144.0).view(12, 12), "metric"))
    (found,), (objects_,) = generator([image]), alone([image])
    contained = [any((mask & ~whole).sum() == 0 for whole in objects_.masks) for mask in found.masks]
    assert all(contained)
    if len(objects_):
        assert len(found) or found.rejected


class TestSettings:
    def test_settings_of_the_other_generator_have_an_effect(self):
        options = ["MASKS.GENERATOR", "greedymerge", "MASKS.MASKCUT.TAU", "0.3", "MASKS.LOST.MAX_SEEDS", "7"]
        said = list(unused_settings(load_cfg(None, options), ("MASKS.GENERATOR",)))
        assert [one.split()[0] for one in said] == ["MASKS.LOST.MAX_SEEDS", "MASKS.MASKCUT.TAU"]
        cfg = load_cfg(None, [*options, "MASKS.GREEDYMERGE.DIVIDE", "MaskCut"])
        said = list(unused_settings(cfg, ("MASKS.GENERATOR",)))
        assert [one.split()[0] for one in said] == ["MASKS.LOST.MAX_SEEDS"]
        assert build_generator(cfg).divide.settings.tau == 0.3

    def test_settings_below_those_of_a_generator_that_is_not_named_have_none(self):
        options = ["MASKS.CUTS3D.LOCALCUT.TAU_KNN", "0.2", "MASKS.GENERATOR"]
        (said,) = unused_settings(load_cfg(None, [*options, "maskcut"]), ("MASKS.GENERATOR",))
        assert said.startswith("MASKS.CUTS3D.LOCALCUT.TAU_KNN is 0.2, which has no effect: MASKS.GENERATOR does not")
        assert not list(unused_settings(load_cfg(None, [*options, "cuts3d"]), ("MASKS.GENERATOR",)))
        assert not list(unused_settings(load_cfg(None, [*options, "maskcut"]), ("DEPTH.SOURCE",)))

    @pytest.mark.parametrize("name", ["uniap", "greedymerge", "maskcutt"])
    def test_others_are_refused(self, name):
        cfg = get_cfg()
        cfg.MASKS.GENERATOR, cfg.MASKS.GREEDYMERGE.DIVIDE = "greedymerge", name
        with pytest.raises(UnsegError, match=f"divide must name a generator without levels .*got '{name}'"):
            build_generator(cfg)

    def test_a_union_guides_nobody_here(self):
        options = ["MASKS.GENERATOR", "greedymerge", "MASKS.GREEDYMERGE.DIVIDE", "tokencut"]
        with pytest.raises(UnsegError, match="without a foreground union"):
            build_generator(load_cfg(None, [*options, "MASKS.TOKENCUT.SIDE", "union"]))

    def test_the_generator_is_the_one_that_is_named(self):
        with pytest.raises(ValueError, match="divide must be the generator"):
            GreedyMerge(GreedyMergeSettings(divide="maskcut"))
        assert "change the settings of maskcut" in GreedyMergeSettings(divide="maskcut").when_empty()
