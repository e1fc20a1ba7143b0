from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from unseg_d2.config import get_cfg, load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features import Ensemble, FeatureBackend, build_features, join_members, single_backend
from unseg_d2.features.descriptors import Descriptors
from unseg_d2.structures import PatchFeatures


def image(side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def view(value: float, side: int) -> PatchFeatures:
    return PatchFeatures(torch.full((2, side, side), value), patch_size=8)


class TestEnsemble:
    def test_is_a_backend_that_describes_by_each_member(self):
        ensemble = Ensemble([(Descriptors(16), 64), (Descriptors(8), 48)])
        assert isinstance(ensemble, FeatureBackend)
        assert ensemble.patch_size == 16
        (features,) = ensemble([image()])
        assert [member.grid for member in features.members] == [(4, 4), (8, 8)]
        assert torch.equal(features.tokens, Descriptors(16)([image()])[0].tokens)

    def test_name_and_checksum_tell_members_and_sizes_apart(self):
        pairs = [(Descriptors(16), 64), (Descriptors(8), 48)]
        first, second, third = Ensemble(pairs), Ensemble(pairs[::-1]), Ensemble([pairs[0], (Descriptors(8), 64)])
        assert first.name == "ensemble(descriptors@64, descriptors@48)"
        assert len({first.checksum, second.checksum, third.checksum}) == 3
        assert first.checksum == Ensemble(pairs).checksum
        assert len(first.checksum) == len(hashlib.sha256().hexdigest())

    def test_no_members(self):
        with pytest.raises(ValueError, match="at least one member"):
            Ensemble([])


class TestJoinMembers:
    def test_the_first_member_speaks_for_all(self):
        first, second = join_members([[view(0, 4), view(1, 4)], [view(2, 6), view(3, 6)]])
        assert [member.tokens[0, 0, 0].item() for member in first.members] == [0, 2]
        assert [member.tokens[0, 0, 0].item() for member in second.members] == [1, 3]
        assert first.grid == (4, 4)
        assert not first.members[0].members

    def test_members_must_describe_the_same_images(self):
        with pytest.raises(ValueError, match=r"the same images, got \[2, 1\]"):
            join_members([[view(0, 4), view(1, 4)], [view(2, 6)]])


class TestBuildFeatures:
    def test_members_differ_from_the_section_they_stand_in(self):
        cfg = get_cfg()
        cfg.FEATURES.NAME, cfg.FEATURES.IMAGE_SIZE = "descriptors", 96
        cfg.FEATURES.MEMBERS = [{"DESCRIPTORS": {"PATCH_SIZE": 16}}, {"IMAGE_SIZE": 70}]
        cfg.freeze()
        ensemble = build_features(cfg)
        assert [(backend.patch_size, size) for backend, size in ensemble.members] == [(16, 96), (8, 70)]
        assert cfg.FEATURES.IMAGE_SIZE == 96

    def test_members_come_from_a_recipe(self, tmp_path):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text("FEATURES: {NAME: descriptors, MEMBERS: [{DESCRIPTORS: {PATCH_SIZE: 4}}, {}]}\n")
        ensemble = build_features(load_cfg(recipe))
        assert [backend.patch_size for backend, _ in ensemble.members] == [4, 8]

    @pytest.mark.parametrize(
        ("member", "message"),
        [
            ({"VIT": {"ARC": "dino_vits8"}}, r"MEMBERS\[1\].VIT has the unknown key 'ARC'\. Did you mean 'ARCH'"),
            ({"IMAGESIZE": 3}, r"MEMBERS\[1\] has the unknown key 'IMAGESIZE'\. Did you mean 'IMAGE_SIZE'"),
            ({"IMAGE_SIZE": "large"}, r"MEMBERS\[1\].IMAGE_SIZE is 'large', but must be a whole number of at least 1"),
            ({"VIT": 3}, r"MEMBERS\[1\].VIT is 3, but must be a section"),
            ({"MEMBERS": []}, "unknown key 'MEMBERS'"),
            ({"NAME": "descriptor"}, r"MEMBERS\[1\]: FEATURES.NAME is .*Did you mean 'descriptors'"),
            ("dino_vits8", r"MEMBERS\[1\] is 'dino_vits8', but must be a mapping"),
            ({3: 4}, "unknown key '3'"),
        ],
    )
    def test_mistakes_are_one_sentence(self, member, message):
        cfg = get_cfg()
        cfg.FEATURES.NAME = "descriptors"
        cfg.FEATURES.MEMBERS = [{}, member]
        with pytest.raises(UnsegError, match=message) as caught:
            build_features(cfg)
        assert "\n" not in str(caught.value)


class TestSingleBackend:
    def test_the_channels_are_those_of_the_tokens(self):
        backend, channels = single_backend(load_cfg(None, ["FEATURES.NAME", "descriptors"]))
        assert channels == len(backend([image()])[0].tokens)

    def test_an_ensemble_is_refused(self):
        cfg = load_cfg(None, ["FEATURES.NAME", "descriptors", "FEATURES.MEMBERS", "[{}]"])
        with pytest.raises(UnsegError, match="a single backend is needed"):
            single_backend(cfg)
