"""What every registered mask generator must cope with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from unseg_d2.config import get_cfg, load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.masks import MASK_GENERATORS, ProposalGenerator, build_generator
from unseg_d2.masks.registry import idle_prior
from unseg_d2.structures import DepthMap, PatchFeatures, Proposals


def features(h: int = 18, w: int = 25, seed: int = 0) -> PatchFeatures:
    """Smooth random tokens with a distinct rectangle, 16 channels; depth of a slope with the same rectangle nearer."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.standard_normal((1, 16, 4, 5))).float()
    tokens = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bilinear")[0]
    tokens[:, h // 4 : h // 2, w // 4 : w // 2] = torch.from_numpy(2 * rng.standard_normal((16, 1, 1))).float()
    return described(tokens, attention=torch.from_numpy(rng.random((h, w))).float())


def described(tokens: torch.Tensor, attention: torch.Tensor | None = None) -> PatchFeatures:
    """Tokens ``(C, h, w)`` with all that a generator may ask for."""
    h, w = tokens.shape[1:]
    depth = torch.linspace(9, 3, h)[:, None].repeat(1, w)
    depth[h // 4 : h // 2, w // 4 : w // 2] = 2
    return PatchFeatures(tokens, 8, torch.ones(h, w) if attention is None else attention, DepthMap(depth, "metric"))


def assert_well_formed(proposals: Proposals, grid: tuple[int, int]) -> None:
    n = len(proposals)
    assert proposals.masks.shape == (n, *grid)
    assert proposals.masks.dtype == torch.bool
    assert proposals.masks.device.type == proposals.scores.device.type == "cpu"
    assert proposals.masks.flatten(1).any(1).all()
    assert proposals.scores.shape == (n,)
    assert proposals.scores.dtype == torch.float32
    assert ((proposals.scores >= 0) & (proposals.scores <= 1)).all()


def assert_equal(first: Proposals, second: Proposals) -> None:
    assert torch.equal(first.masks, second.masks)
    torch.testing.assert_close(first.scores, second.scores)


def on_cuda(depth: DepthMap) -> DepthMap:
    return replace(depth, depth=depth.depth.cuda())


@pytest.fixture(
    params=[(name, mode) for name in MASK_GENERATORS.names() for mode in ("default", "parity")], ids="-".join
)
def generator(request: pytest.FixtureRequest) -> ProposalGenerator:
    cfg = get_cfg()
    cfg.MASKS.GENERATOR, cfg.MASKS.MODE = request.param
    return build_generator(cfg)


def ensemble(h: int = 18, w: int = 25, seed: int = 0) -> PatchFeatures:
    """The features of :func:`features` as the first member of two; the other one sees the same on a coarser grid."""
    image = features(h, w, seed)
    coarse = torch.nn.functional.interpolate(image.tokens[None], size=(-(-h // 2), -(-w // 2)), mode="nearest")[0]
    return replace(image, members=(image, PatchFeatures(coarse, patch_size=16)))


class TestEveryGenerator:
    def test_follows_the_protocol(self, generator):
        assert isinstance(generator, ProposalGenerator)
        assert generator([]) == []

    @pytest.mark.parametrize("grid", [(18, 25), (30, 9), (16, 16), (1, 12), (12, 1), (2, 2)])
    def test_any_grid(self, generator, grid):
        assert_well_formed(generator([features(*grid)])[0], grid)

    def test_finds_something_in_an_ordinary_image(self, generator):
        assert len(generator([features()])[0]) > 0

    @pytest.mark.parametrize("grid", [(18, 25), (30, 9), (1, 12), (1, 1)])
    def test_members_of_an_ensemble_on_other_grids(self, generator, grid):
        image = ensemble(*grid)
        (proposals,) = generator([image])
        assert_well_formed(proposals, grid)
        assert_equal(generator([features(), image])[1], proposals)

    def test_one_patch(self, generator):
        assert_well_formed(generator([features(1, 1)])[0], (1, 1))

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_an_image_of_equal_patches_has_no_objects(self, generator, value):
        tokens = torch.full((16, 9, 13), value)
        (proposals,) = generator([described(tokens)])
        assert len(proposals) == 0
        if type(generator).__module__.startswith("unseg_d2."):  # others may say why
            assert proposals.rejected and all(count > 0 for count in proposals.rejected.values())

    def test_float16_gives_what_its_values_give_in_float32(self, generator):
        image = features()
        half = replace(image, tokens=image.tokens.half())
        single = replace(image, tokens=image.tokens.half().float())
        assert_equal(generator([half])[0], generator([single])[0])

    def test_float64(self, generator):
        image = features()
        assert_well_formed(generator([replace(image, tokens=image.tokens.double())])[0], image.grid)

    def test_repeats_itself_whatever_the_batch(self, generator):
        images = [features(seed=0), features(12, 12, seed=1), features(seed=2)]
        for proposals, image in zip(generator(images), images):
            assert torch.equal(proposals.masks, generator([image])[0].masks)
            assert torch.equal(proposals.scores, generator([image])[0].scores)

    def test_leaves_its_input_alone(self, generator):
        image = features()
        before = image.tokens.clone()
        generator([image])
        assert torch.equal(image.tokens, before)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_features_that_are_not_finite_are_named(self, generator, value):
        image = features()
        image.tokens[3, 4, 5] = value
        with pytest.raises(ValueError, match="NaN or infinite"):
            generator([image])

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_members_that_are_not_finite_are_named_where_they_matter(self, generator, value):
        image = ensemble()
        expected = generator([features()])[0]
        image.members[1].tokens[3, 4, 5] = value
        try:
            (proposals,) = generator([image])
        except ValueError as error:
            assert "member 1 of the ensemble" in str(error) and "NaN or infinite" in str(error)
        else:
            assert_equal(proposals, expected)

    def test_a_card_finds_the_same(self, card, generator):
        images = [features(seed=seed) for seed in range(4)] + [features(12, 30), features(1, 1)]
        moved = [
            replace(image, tokens=image.tokens.cuda(), attention=image.attention.cuda(), depth=on_cuda(image.depth))
            for image in images
        ]
        for theirs, ours in zip(generator(moved), generator(images)):
            assert_equal(theirs, ours)


def test_an_unknown_name_suggests_the_nearest():
    cfg = get_cfg()
    cfg.MASKS.GENERATOR = "maskcutt"
    with pytest.raises(UnsegError, match="Did you mean 'maskcut'"):
        build_generator(cfg)


def test_names_are_accepted_in_any_case():
    cfg = get_cfg()
    cfg.MASKS.GENERATOR = "TokenCut"
    assert type(build_generator(cfg)) is MASK_GENERATORS.entry("tokencut").make


def test_a_setting_out_of_range_is_one_sentence():
    cfg = get_cfg()
    cfg.MASKS.MASKCUT.TAU = -1.0
    with pytest.raises(UnsegError, match=r"MASKS.MASKCUT do not work: tau must be a number in \[0, 1\), got -1.0"):
        build_generator(cfg)


class TestStop:
    """MASKS.STOP prior, and who takes it."""

    @staticmethod
    def cfg(generator: str) -> CfgNode:
        cfg = get_cfg()
        cfg.MASKS.GENERATOR, cfg.MASKS.STOP = generator, "prior"
        return cfg

    @pytest.mark.parametrize("name", ["maskcut", "cuts3d"])
    @pytest.mark.parametrize("grid", [(18, 25), (30, 9), (1, 12), (12, 1), (1, 1)])
    def test_repeated_cuts_take_it_on_any_grid(self, name, grid):
        generator = build_generator(self.cfg(name))
        for image in (features(*grid), described(torch.ones(16, *grid))):
            assert_well_formed(generator([image])[0], grid)

    @pytest.mark.parametrize("name", ["tokencut", "lost", "votecut", "promerge", "primaps"])
    def test_others_refuse_it(self, name):
        with pytest.raises(UnsegError, match=rf"no effect on MASKS.GENERATOR {name}.*name one of cuts3d, maskcut"):
            build_generator(self.cfg(name))

    def test_the_published_variant_refuses_it(self):
        with pytest.raises(UnsegError, match=r"MASKS\.STOP prior needs MASKS\.MODE default"):
            load_cfg(None, ["MASKS.STOP", "prior", "MASKS.MODE", "parity"])

    def test_a_setting_of_the_prior_without_one_is_named(self):
        changed = ["MASKS.PRIOR.COVERAGE", "0.7", "MASKS.PRIOR.UNIONCUT.GRID", "20"]
        said = list(idle_prior(load_cfg(None, changed)))
        assert [sentence.split()[0] for sentence in said] == ["MASKS.PRIOR.COVERAGE", "MASKS.PRIOR.UNIONCUT.GRID"]
        assert not list(idle_prior(load_cfg(None, [*changed, "MASKS.STOP", "prior"])))
        once = ["MASKS.GENERATOR", "tokencut", "MASKS.TOKENCUT.SIDE", "union", "MASKS.PRIOR.MIN_PRECISION", "0.5"]
        said = list(idle_prior(load_cfg(None, [*changed, *once])))  # there is no second mask and no second cut
        assert [sentence.split()[0] for sentence in said] == ["MASKS.PRIOR.MIN_PRECISION", "MASKS.PRIOR.COVERAGE"]
        assert all("tokencut, which does not repeat cuts" in sentence for sentence in said)
        assert not list(idle_prior(get_cfg()))

    def test_settings_reach_the_generator(self):
        cfg = load_cfg(None, ["MASKS.STOP", "prior", "MASKS.PRIOR.COVERAGE", "0.7", "MASKS.PRIOR.UNIONCUT.GRID", "20"])
        settings = build_generator(cfg).settings
        assert settings.stop == "prior" and settings.prior.coverage == 0.7 and settings.prior.unioncut.grid == 20
