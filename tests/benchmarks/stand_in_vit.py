"""A small transformer with the parameters' names and the methods of the official DINO, DINOv2 and DINOv3 code.

Written for the tests from the papers' equations: plain loops, one head after the other. ``FAMILY`` is set by the test
that copies this file into a folder of the official layout; ``WRONG`` resamples position embeddings without the offset.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

FAMILY = "dino"
WRONG = False
WIDTH, HEADS, DEPTH = 384, 6, 12
PATCH = {"dino": 8, "dinov2": 14, "dinov3": 16}[FAMILY]
SIDE = {"dino": 28, "dinov2": 37, "dinov3": 0}[FAMILY]
REGISTERS = {"dino": 0, "dinov2": 0, "dinov3": 4}[FAMILY]


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(WIDTH))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = (WIDTH // HEADS) ** -0.5
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        if FAMILY == "dinov3":  # keys have no bias
            mask = torch.ones(3 * WIDTH)
            mask[WIDTH : 2 * WIDTH] = 0
            self.qkv.register_buffer("bias_mask", mask)
            self.qkv.forward = lambda x: F.linear(x, self.qkv.weight, self.qkv.bias * self.qkv.bias_mask)

    def forward(self, x, angles=None):
        heads = self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = heads
        if angles is not None:
            query, key = rotate(query, angles), rotate(key, angles)
        if FAMILY == "dino":
            weights = (query @ key.transpose(-2, -1) * self.scale).softmax(-1)
            return self.proj((weights @ value).transpose(1, 2).flatten(2)), weights
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)), None


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        eps = 1e-5 if FAMILY == "dinov3" else 1e-6
        self.norm1, self.attn = nn.LayerNorm(WIDTH, eps=eps), Attention()
        self.norm2, self.mlp = nn.LayerNorm(WIDTH, eps=eps), Mlp()
        if FAMILY != "dino":
            self.ls1, self.ls2 = Scale(), Scale()

    def forward(self, x, angles=None):
        first, second = (1, 1) if FAMILY == "dino" else (self.ls1.gamma, self.ls2.gamma)
        x = x + first * self.attn(self.norm1(x), angles)[0]
        return x + second * self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


def rotate(x, angles):
    """Turn pairs of channels of the patches, the last tokens, by angles ``(h * w, channels)``."""
    prefix, patches = x[:, :, : -len(angles)], x[:, :, -len(angles) :]
    one, two = patches.chunk(2, -1)
    patches = patches * angles.cos() + torch.cat([-two, one], -1) * angles.sin()
    return torch.cat([prefix, patches], 2)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.patch_size = PATCH
        self.patch_embed.proj = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        if FAMILY == "dinov3":
            self.storage_tokens = nn.Parameter(torch.zeros(1, REGISTERS, WIDTH))
        else:
            self.pos_embed = nn.Parameter(torch.zeros(1, 1 + SIDE * SIDE, WIDTH))
        if FAMILY != "dino":
            self.mask_token = nn.Parameter(torch.zeros(1, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-5 if FAMILY == "dinov3" else 1e-6)

    def prepare(self, pixels):
        """Tokens before the first block, and the angles of DINOv3."""
        embedded = self.patch_embed.proj(pixels)
        h, w = embedded.shape[2:]
        tokens = embedded.flatten(2).transpose(1, 2)
        if FAMILY == "dinov3":
            return torch.cat([self.cls_token, self.storage_tokens, tokens], 1), angles_of(h, w)
        position = self.pos_embed[:, 1:].unflatten(1, (SIDE, SIDE)).permute(0, 3, 1, 2)
        if WRONG:
            position = F.interpolate(position, size=(h, w), mode="bicubic")
        else:
            factor = ((h + 0.1) / SIDE, (w + 0.1) / SIDE)
            position = F.interpolate(position, scale_factor=factor, mode="bicubic", recompute_scale_factor=False)
        position = torch.cat([self.pos_embed[:, :1], position.flatten(2).transpose(1, 2)], 1)
        return torch.cat([self.cls_token, tokens], 1) + position, None

    def get_intermediate_layers(self, pixels, n=1):
        x, angles = self.prepare(pixels)
        for block in self.blocks:
            x = block(x, angles)
        x = self.norm(x)
        return [x if FAMILY == "dino" else x[:, 1 + REGISTERS :]]

    def get_last_selfattention(self, pixels):
        x, _ = self.prepare(pixels)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.blocks[-1].attn(self.blocks[-1].norm1(x))[1]


def angles_of(h, w):
    """Rotary angles ``(h * w, channels of a head)``: rows and columns in [-1, 1], periods from 1 to 100."""
    channels = WIDTH // HEADS
    periods = 100 ** (torch.arange(channels // 4) * 4 / channels)
    rows, columns = ((torch.arange(count) + 0.5) / count * 2 - 1 for count in (h, w))
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    return (2 * math.pi * places[:, :, None] / periods).flatten(1).tile(2)


def small(pretrained=True):
    assert not pretrained
    return Network()


dino_vits8 = dinov2_vits14 = dinov3_vits16 = small
