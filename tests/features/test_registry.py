from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.config import get_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features import FEATURE_BACKENDS, FeatureBackend, build_features


def test_builds_the_named_backend():
    cfg = get_cfg()
    cfg.FEATURES.NAME = "descriptors"
    cfg.FEATURES.DESCRIPTORS.PATCH_SIZE = 16
    backend = build_features(cfg)
    assert isinstance(backend, FeatureBackend)
    (features,) = backend([np.zeros((64, 64, 3), np.uint8)])
    assert backend.patch_size == features.patch_size == 16
    assert features.grid == (4, 4)


def test_unknown_name_suggests_the_nearest():
    cfg = get_cfg()
    cfg.FEATURES.NAME = "descriptor"
    with pytest.raises(UnsegError, match=r"one of .*Did you mean 'descriptors'\?"):
        build_features(cfg)


def test_every_backend_is_registered():
    assert {"descriptors", "vit"} <= set(FEATURE_BACKENDS.names())
