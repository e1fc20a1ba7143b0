from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image

from unseg_d2.config import get_cfg, load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features import build_features
from unseg_d2.features.vit import ViT, ViTSettings, cls_attention, resize_position_embedding
from unseg_d2.features.weights import create_vit


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough for every part of the network to matter (timm starts scales at 1e-5)."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


@pytest.fixture(scope="module")
def dino():
    return randomise(create_vit("dino_vits16"))


@pytest.fixture(scope="module")
def images():
    return list(np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8))


def bicubic(values: np.ndarray, size: int, ratio: float) -> np.ndarray:
    """Bicubic (a = -.75) samples of the last axis at ``(i + .5) * ratio - .5``, borders repeated."""

    def kernel(t):
        t, a = abs(t), -0.75
        return (a + 2) * t**3 - (a + 3) * t**2 + 1 if t <= 1 else a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0

    out = []
    for i in range(size):
        position = (i + 0.5) * ratio - 0.5
        taps = int(np.floor(position)) + np.arange(-1, 3)
        weight = np.array([kernel(position - tap) for tap in taps])
        out.append((values[..., np.clip(taps, 0, values.shape[-1] - 1)] * weight).sum(-1))
    return np.stack(out, -1)


@pytest.mark.parametrize("grid", [(60, 60), (9, 5), (3, 14)])
@pytest.mark.parametrize("rule, offset", [("offset", 0.1), ("exact", 0.0)])
def test_position_embedding_samples_at_the_stated_ratio(grid, rule, offset):
    n = 14
    pos_embed = torch.randn(1, 1 + n * n, 2)
    table = pos_embed[0, 1:].T.reshape(2, n, n).double().numpy()
    rows = bicubic(table.transpose(0, 2, 1), grid[0], n / (grid[0] + offset)).transpose(0, 2, 1)
    expected = bicubic(rows, grid[1], n / (grid[1] + offset)).reshape(2, -1).T
    resized = resize_position_embedding(pos_embed, grid, rule)
    assert resized.shape == (1, 1 + grid[0] * grid[1], 2)
    assert resized[0, 0].equal(pos_embed[0, 0])
    np.testing.assert_allclose(resized[0, 1:].numpy(), expected, atol=2e-4)


def test_position_embedding_of_the_same_grid_is_untouched():
    pos_embed = torch.randn(1, 10, 2)
    assert resize_position_embedding(pos_embed, (3, 3), "offset") is pos_embed


def test_position_embedding_refuses():
    with pytest.raises(ValueError, match="rule"):
        resize_position_embedding(torch.zeros(1, 10, 2), (4, 4), "half")
    with pytest.raises(ValueError, match="n \\* n"):
        resize_position_embedding(torch.zeros(1, 12, 2), (4, 4), "exact")


def plain_dino(weights: dict, image: np.ndarray, heads: int = 6, patch: int = 16, offset: float = 0.1):
    """DINO's forward pass written out: qkv ``(N, 3C)`` and attention of the last block, normalised output."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.tensor(((image / 255 - mean) / std).transpose(2, 0, 1), dtype=torch.float32)[None]
    x = F.conv2d(x, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=patch)
    h, w = x.shape[2:]
    pos = weights["pos_embed"]
    table = pos[:, 1:].reshape(1, 14, 14, -1).permute(0, 3, 1, 2)
    factor = ((h + offset) / 14, (w + offset) / 14)
    table = F.interpolate(table, scale_factor=factor, mode="bicubic", recompute_scale_factor=False)
    x = torch.cat([weights["cls_token"], x.flatten(2).mT], 1)[0] + torch.cat([pos[:, :1], table.flatten(2).mT], 1)[0]

    def norm(name, x):
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6)

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    for i in range(12):
        qkv = linear(f"blocks.{i}.attn.qkv", norm(f"blocks.{i}.norm1", x))
        q, k, v = (part.reshape(len(x), heads, -1).transpose(0, 1) for part in qkv.chunk(3, 1))
        attention = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        x = x + linear(f"blocks.{i}.attn.proj", (attention @ v).transpose(0, 1).flatten(1))
        hidden = F.gelu(linear(f"blocks.{i}.mlp.fc1", norm(f"blocks.{i}.norm2", x)))
        x = x + linear(f"blocks.{i}.mlp.fc2", hidden)
    return qkv, attention, norm("norm", x), (h, w)


@pytest.mark.parametrize("facet", ["key", "query", "value", "kqv", "token"])
def test_facets_equal_a_plain_forward_pass(dino, images, facet):
    qkv, attention, token, grid = plain_dino(dino.state_dict(), images[0])
    q, k, v = qkv.chunk(3, 1)
    expected = {"key": k, "query": q, "value": v, "kqv": torch.cat([k, q, v], 1), "token": token}[facet]
    (features,) = ViT(dino, ViTSettings(facet=facet))(images[:1])
    assert features.grid == grid == (6, 6)
    assert features.tokens.dtype == torch.float32
    assert features.tokens.is_contiguous()
    torch.testing.assert_close(features.tokens, expected[1:].T.reshape(-1, *grid), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.attention, attention[:, 0, 1:].mean(0).reshape(grid), atol=1e-6, rtol=1e-4)


def test_images_need_not_be_square(dino):
    image = np.random.default_rng(1).integers(0, 256, (48, 112, 3), dtype=np.uint8)
    qkv, *_, grid = plain_dino(dino.state_dict(), image)
    (features,) = ViT(dino)([image])
    assert features.grid == grid == (3, 7)
    torch.testing.assert_close(features.tokens, qkv[1:, 384:768].T.reshape(-1, 3, 7), atol=1e-4, rtol=1e-4)


def test_position_rules_differ_slightly(dino, images):
    offset, exact = (ViT(dino, ViTSettings(pos_embed=rule))(images[:1])[0].tokens for rule in ("offset", "exact"))
    difference = (offset - exact).norm() / exact.norm()
    assert 1e-4 < difference < 0.2


def test_batch_equals_single(dino, images):
    backend = ViT(dino)
    for image, features in zip(images, backend(images)):
        (alone,) = backend([image])
        torch.testing.assert_close(features.tokens, alone.tokens, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(features.attention, alone.attention, atol=1e-6, rtol=1e-5)
    assert backend([]) == []


def test_half_precision_is_close(images):
    full = ViT(randomise(create_vit("dino_vits16")))(images[:1])[0]
    half = ViT(randomise(create_vit("dino_vits16")), dtype=torch.bfloat16)(images[:1])[0]
    assert half.tokens.dtype == half.attention.dtype == torch.float32
    assert F.cosine_similarity(half.tokens.flatten(1), full.tokens.flatten(1), dim=0).min() > 0.99


def hooked(model, image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Qkv, attention and output of timm's own forward pass."""
    seen = {}
    attn = model.blocks[-1].attn
    attn.fused_attn = False
    handles = [
        attn.attn_drop.register_forward_hook(lambda _m, _i, out: seen.update(attention=out)),
        attn.register_forward_hook(lambda _m, inputs, _o: seen.update(stream=inputs[0])),
    ]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((torch.from_numpy(image) / 255 - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        output = model.forward_features(x)[0]
    for handle in handles:
        handle.remove()
    bias = attn.qkv.bias
    if bias is None:
        bias = torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])
    return (F.linear(seen["stream"], attn.qkv.weight, bias)[0]).detach(), seen["attention"][0], output


@pytest.mark.parametrize(
    "name, size, prefix",
    [("vit_small_patch16_dinov3_qkvb", 96, 5), ("vit_small_patch14_dinov2", 84, 1)],
)
def test_dinov2_and_dinov3_equal_timm(name, size, prefix):
    """At the grid of the position embeddings, where timm and the rules agree; DINOv3 has rotary ones at any grid."""
    options = {} if "dinov3" in name else {"img_size": size}
    model = randomise(timm.create_model(name, num_classes=0, dynamic_img_size=True, **options).eval())
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    qkv, attention, output = hooked(model, image)
    key, token = ViT(model, ViTSettings(facet="key"))([image])[0], ViT(model, ViTSettings(facet="token"))([image])[0]
    assert key.grid == (6, 6)
    torch.testing.assert_close(key.tokens.flatten(1).T, qkv[prefix:, 384:768], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(token.tokens.flatten(1).T, output[prefix:], atol=1e-4, rtol=1e-4)
    expected = attention[:, 0, prefix:].mean(0).reshape(6, 6)
    torch.testing.assert_close(key.attention, expected, atol=1e-6, rtol=1e-4)


def test_size_is_rounded_to_the_patch():
    """480 px with patch 14: 476 px, 34 x 34, as if resized before."""
    model = randomise(timm.create_model("vit_small_patch14_dinov2", img_size=84, dynamic_img_size=True, num_classes=0))
    image = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    resized = np.asarray(Image.fromarray(image).resize((84, 84), Image.Resampling.LANCZOS))
    backend = ViT(model)
    assert backend.patch_size == 14
    assert backend([image])[0].tokens.equal(backend([resized])[0].tokens)
    assert round(480 / 14) == 34


def test_cls_attention_by_hand():
    """Two heads of one channel, scale 1: softmax of (0, ln 3) and of (0, 0)."""
    query = torch.tensor([[[1.0, 1.0], [9.0, 9.0]]])
    key = torch.tensor([[[0.0, 0.0], [float(np.log(3.0)), 0.0]]])
    torch.testing.assert_close(cls_attention(query, key, 2), torch.tensor([[0.375, 0.625]]))


def test_built_from_a_configuration(dino, tmp_path, images):
    torch.save(dino.state_dict(), tmp_path / "dino.pth")
    cfg = get_cfg()
    cfg.FEATURES.WEIGHTS = str(tmp_path / "dino.pth")
    cfg.FEATURES.VIT.ARCH = "dino_vits16"
    cfg.FEATURES.VIT.FACET = "value"
    backend = build_features(cfg)
    reference = ViT(dino, ViTSettings(facet="value"))
    assert backend.name == "vit/dino_vits16/value/offset"
    assert backend.checksum == reference.checksum
    assert backend(images)[0].tokens.equal(reference(images)[0].tokens)


@pytest.mark.parametrize("key, value", [("VIT.FACET", "keys"), ("VIT.POS_EMBED", "offsett"), ("PRECISION", "float8")])
def test_unknown_option(key, value):
    with pytest.raises(UnsegError, match=rf"FEATURES.{key} in .* is '{value}', but must be one of .*Did you mean"):
        load_cfg(None, [f"FEATURES.{key}", value])


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_unknown_device(dino, device, tmp_path):
    path = tmp_path / "dino.pth"
    torch.save(dino.state_dict(), path)
    with pytest.raises(UnsegError, match=r"FEATURES\.DEVICE"):
        build_features(
            load_cfg(
                None, ["FEATURES.WEIGHTS", str(path), "FEATURES.DEVICE", device, "FEATURES.VIT.ARCH", "dino_vits16"]
            )
        )
