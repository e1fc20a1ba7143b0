"""Shapes and sizes of the head: patches of 8 and 16 px, any width, grids that are not square."""

from __future__ import annotations

import pytest
import torch

from unseg_d2.saliency import SempartHead
from unseg_d2.saliency.heads import TransformerLayer
from unseg_d2.saliency.settings import HeadSettings


@pytest.mark.parametrize(("patch_size", "channels", "grid"), [(8, 384, (5, 7)), (16, 48, (3, 2)), (4, 6, (2, 2))])
def test_masks_lie_on_the_grid_and_on_the_image(patch_size, channels, grid):
    head = SempartHead(channels, patch_size, HeadSettings(channels=[6, 4])).eval()
    size = tuple(patch_size * length for length in grid)
    coarse, fine = head(torch.randn(2, channels, *grid), torch.randn(2, 3, *size))
    assert coarse.shape == (2, 1, *grid) and fine.shape == (2, 1, *size)
    assert 0 < coarse.min() and coarse.max() < 1 and 0 < fine.min() and fine.max() < 1


def test_the_layers_of_the_paper():
    """Channels before and after each convolution, as the appendix lists them; the last block has two."""

    def convolutions(head):
        return [(m.in_channels, m.out_channels) for m in head.modules() if isinstance(m, torch.nn.Conv2d)]

    eight = [(384, 64), (64, 1), (67, 192), (195, 128), (131, 128), (128, 128), (131, 1)]
    assert convolutions(SempartHead(384, 8, HeadSettings())) == eight
    sixteen = [*eight[:5], (131, 128), (128, 128), (131, 1)]
    assert convolutions(SempartHead(384, 16, HeadSettings())) == sixteen
    layer = SempartHead(384, 8, HeadSettings()).layers[0]
    assert layer.qkv.weight.shape == (3 * 128, 64) and layer.qkv.bias is None and layer.out.bias is not None


def test_attention_equals_its_definition():
    torch.manual_seed(0)
    layer, tokens = TransformerLayer(6, 2, 4), torch.randn(1, 5, 6)
    normed = layer.norm1(tokens)[0]
    q, k, v = (normed @ layer.qkv.weight.T).view(5, 3, 2, 4).unbind(1)
    heads = []
    for head in range(2):
        weights = (q[:, head] @ k[:, head].T / 4**0.5).softmax(1)
        heads.append(weights @ v[:, head])
    after = tokens[0] + layer.out(torch.cat(heads, dim=1))
    expected = after + layer.mlp(layer.norm2(after))
    torch.testing.assert_close(layer(tokens)[0], expected, rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="power of two, got 14"):
        SempartHead(8, 14, HeadSettings())
    with pytest.raises(ValueError, match="channels must have at least one entry"):
        HeadSettings(channels=[])
    with pytest.raises(ValueError, match="depth must be a whole number of at least 1"):
        HeadSettings(depth=0)
    with pytest.raises(ValueError, match=r"\(40, 48\) px has no grid of \(5, 5\)"):
        SempartHead(8, 8, HeadSettings(channels=[4]))(torch.zeros(1, 8, 5, 5), torch.zeros(1, 3, 40, 48))
