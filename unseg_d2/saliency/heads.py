"""Sempart's head: a coarse and a fine mask of the salient object from frozen patch features (Two Tricks, appendix A).

Shape legend
    B      images
    C      feature channels
    h, w   rows and columns of the patch grid
    H, W   height and width of the image in pixels, h and w times the patch size
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unseg_d2.errors import Unusable
from unseg_d2.saliency.settings import HeadSettings

SLOPE = 0.01  # of the leaky ReLU


class SoftMasks(NamedTuple):
    """Probabilities of the foreground.

    Attributes:
        coarse: ``(B, 1, h, w)`` float32.
        fine: ``(B, 1, H, W)`` float32.
    """

    coarse: Tensor
    fine: Tensor


class SempartHead(nn.Module):
    """Predicts masks from features and the image.

    Args:
        feature_channels: C.
        patch_size: side of a patch in pixels, a power of two: each upsampling block doubles the resolution.
        settings: widths and numbers of layers.

    Raises:
        ValueError: the patch size is not a power of two.
    """

    def __init__(self, feature_channels: int, patch_size: int, settings: HeadSettings) -> None:
        super().__init__()
        if patch_size < 2 or patch_size & (patch_size - 1):
            raise ValueError(f"the patch size must be a power of two, got {patch_size}")
        blocks, width = patch_size.bit_length() - 1, settings.width
        channels = [*settings.channels, *[settings.channels[-1]] * blocks][:blocks]
        self.patch_size = patch_size
        self.project = nn.Conv2d(feature_channels, width, 1)
        self.layers = nn.ModuleList(
            TransformerLayer(width, settings.heads, settings.head_width) for _ in range(settings.depth)
        )
        self.coarse = nn.Conv2d(width, 1, 1)
        ins = [width, *channels[:-1]]
        upsampling = [conv_block(3 + before, after) for before, after in zip(ins, channels)]
        upsampling[-1].extend(conv_block(channels[-1], channels[-1]))
        self.blocks = nn.ModuleList(upsampling)
        self.fine = nn.Conv2d(channels[-1] + 3, 1, 1)

    def forward(self, tokens: Tensor, image: Tensor) -> SoftMasks:
        """Predict both masks.

        Args:
            tokens: ``(B, C, h, w)`` patch features.
            image: ``(B, 3, H, W)`` with ImageNet's mean and deviation taken out.

        Raises:
            ValueError: the image is not ``patch_size`` times as large as the grid.
        """
        if image.shape[2:] != (tokens.shape[2] * self.patch_size, tokens.shape[3] * self.patch_size):
            raise Unusable(
                f"an image of {tuple(image.shape[2:])} px has no grid of {tuple(tokens.shape[2:])} patches of "
                f"{self.patch_size} px"
            )
        maps = self.project(tokens)
        sequence = maps.flatten(2).transpose(1, 2)
        for layer in self.layers:
            sequence = layer(sequence)
        maps = sequence.transpose(1, 2).unflatten(2, tokens.shape[2:])
        coarse = self.coarse(maps)
        for block in self.blocks:
            maps = F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
            maps = block(torch.cat([maps, _shrink(image, maps)], dim=1))
        fine = self.fine(torch.cat([maps, image], dim=1))
        return SoftMasks(coarse.float().sigmoid(), fine.float().sigmoid())


class TransformerLayer(nn.Module):
    """Self-attention and a two-layer perceptron, each behind a LayerNorm and added to its input.

    Args:
        width: channels of the tokens, of the perceptron's hidden layer too.
        heads: attention heads.
        head_width: channels of a head.
    """

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens ``(B, h w, width)`` that have seen each other."""
        q, k, v = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(attended)
        return tokens + self.mlp(self.norm2(tokens))


def conv_block(ins: int, outs: int) -> nn.Sequential:
    """3x3 convolution, BatchNorm and leaky ReLU."""
    return nn.Sequential(nn.Conv2d(ins, outs, 3, padding=1), nn.BatchNorm2d(outs), nn.LeakyReLU(SLOPE))


def _shrink(image: Tensor, maps: Tensor) -> Tensor:
    if image.shape[2:] == maps.shape[2:]:
        return image
    return F.interpolate(image, size=maps.shape[2:], mode="bilinear", align_corners=False)
