"""What every registered feature backend must do, those of plug-ins included (``--unseg-plugin``)."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.features import FEATURE_BACKENDS, FeatureBackend
from unseg_d2.features.cnn import CNN
from unseg_d2.features.registry import learnt_from
from unseg_d2.features.vit import ViT
from unseg_d2.features.weights import create_vit
from unseg_d2.supervision import MEANINGS
from unseg_d2.timm_networks import make_network

ROWS, COLUMNS = 4, 6
"""Patches of the images: more columns than rows."""


@pytest.fixture(scope="module")
def vit() -> ViT:
    """The transformer without its weights, which no test downloads."""
    torch.manual_seed(0)
    return ViT(create_vit("dino_vits16"))


@pytest.fixture(scope="module")
def cnn() -> CNN:
    """A network without its weights."""
    torch.manual_seed(0)
    return CNN(make_network("tf_efficientnet_lite0", "FEATURES.CNN.ARCH"))


@pytest.fixture(params=FEATURE_BACKENDS.names())
def backend(request: pytest.FixtureRequest) -> FeatureBackend:
    if request.param in ("vit", "cnn"):
        return request.getfixturevalue(request.param)
    return FEATURE_BACKENDS.build(load_cfg(None, ["FEATURES.NAME", request.param]))


def photo(backend: FeatureBackend, seed: int = 0) -> np.ndarray:
    """A bright rectangle on a noisy ground."""
    size = ROWS * backend.patch_size, COLUMNS * backend.patch_size
    image = np.random.default_rng(seed).integers(0, 120, (*size, 3), dtype=np.uint8)
    image[: size[0] // 2, : size[1] // 3] += 100
    return image


class TestEveryBackend:
    def test_follows_the_protocol(self, backend):
        assert isinstance(backend, FeatureBackend)
        assert set(learnt_from(backend)) <= {*MEANINGS}
        assert backend.name and backend.patch_size >= 1 and re.fullmatch("[0-9a-f]{64}", backend.checksum)

    def test_a_token_per_patch(self, backend):
        (found,) = backend([photo(backend)])
        assert found.patch_size == backend.patch_size
        assert found.tokens.ndim == 3 and found.grid == (ROWS, COLUMNS) and found.tokens.is_floating_point()
        assert found.tokens.isfinite().all()
        if found.attention is not None:
            assert found.attention.shape == (ROWS, COLUMNS) and (found.attention >= 0).all()

    def test_as_many_descriptions_as_images_in_order(self, backend):
        images = [photo(backend, seed) for seed in range(3)]
        together = backend(images)
        for image, found in zip(images, together, strict=True):
            (alone,) = backend([image])
            torch.testing.assert_close(found.tokens, alone.tokens, rtol=1e-4, atol=1e-4)
        assert backend([]) == []

    def test_repeats_itself(self, backend):
        first, second = (backend([photo(backend)])[0].tokens for _ in range(2))
        assert torch.equal(first, second)

    def test_sees_the_image(self, backend):
        first, second = backend([photo(backend, 0), photo(backend, 1)])
        assert not torch.equal(first.tokens, second.tokens)
        assert first.tokens.flatten(1).unique(dim=1).shape[1] > 1

    def test_padded_images_are_float32(self, backend):
        """In [0, 255], as bytes are."""
        image = photo(backend)
        plain, padded = (backend([one])[0].tokens for one in (image, image.astype(np.float32)))
        torch.testing.assert_close(padded, plain, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("value", [0, 128, 255])
    def test_one_colour(self, backend, value):
        assert backend([np.full_like(photo(backend), value)])[0].tokens.isfinite().all()

    def test_another_size_afterwards(self, backend):
        first = backend([photo(backend)])[0].tokens
        side = 3 * backend.patch_size
        assert backend([np.zeros((side, side, 3), np.uint8)])[0].grid == (3, 3)
        assert torch.equal(backend([photo(backend)])[0].tokens, first)

    def test_leaves_the_images_alone(self, backend):
        image = photo(backend)
        before = image.copy()
        backend([image])
        np.testing.assert_array_equal(image, before)

    def test_tokens_need_no_gradient(self, backend):
        assert not backend([photo(backend)])[0].tokens.requires_grad
