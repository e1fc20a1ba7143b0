"""Patch tokens of pretrained vision transformers: DINO, DINOv2 and DINOv3 through timm.

Shape legend
    B      images in a batch
    H, W   height and width of an image in pixels, multiples of the patch size
    h, w   rows and columns of the patch grid
    N      tokens of an image: one [CLS], R registers, then h * w patches in row-major order
    C      channels of the transformer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from PIL import Image
from torch import Tensor, nn

from unseg_d2.devices import resolve_device
from unseg_d2.features.follow_device import precision_of
from unseg_d2.features.registry import FEATURE_BACKENDS
from unseg_d2.features.weights import load_vit, weights_checksum
from unseg_d2.pixels import normalise
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures
from unseg_d2.zoo.store import learnt_from

FACETS = ("key", "query", "value", "kqv", "token")
POS_EMBED_RULES = ("offset", "exact")


def resize_position_embedding(pos_embed: Tensor, grid: tuple[int, int], rule: str) -> Tensor:
    """Resample learned position embeddings bicubically to another patch grid.

    Args:
        pos_embed: ``(1, 1 + n * n, C)``, [CLS] first.
        grid: wanted ``(h, w)``.
        rule: ``offset`` adds .1 to h and w before the scale factor is formed and samples with that factor
            (ratio n / (h + .1)): DINO, CutLER's MaskCut. ``exact`` samples with ratio n / h: CuVLER.

    Returns:
        ``(1, 1 + h * w, C)`` in the type of ``pos_embed``; unchanged where the grid already is n by n.

    Raises:
        ValueError: for an unknown rule, or position embeddings that are not a square plus one.
    """
    if rule not in POS_EMBED_RULES:
        raise ValueError(f"the rule must be one of {', '.join(POS_EMBED_RULES)}, got '{rule}'")
    n = round((pos_embed.shape[1] - 1) ** 0.5)
    if n * n + 1 != pos_embed.shape[1]:
        raise ValueError(f"expected (1, 1 + n * n, C) position embeddings, got {tuple(pos_embed.shape)}")
    if tuple(grid) == (n, n):
        return pos_embed
    patches = pos_embed[:, 1:].float().reshape(1, n, n, -1).permute(0, 3, 1, 2)
    if rule == "offset":
        factor = ((grid[0] + 0.1) / n, (grid[1] + 0.1) / n)
        patches = F.interpolate(patches, scale_factor=factor, mode="bicubic", recompute_scale_factor=False)
    else:
        patches = F.interpolate(patches, size=grid, mode="bicubic")
    patches = patches.permute(0, 2, 3, 1).reshape(1, grid[0] * grid[1], -1).to(pos_embed.dtype)
    return torch.cat([pos_embed[:, :1], patches], dim=1)


def cls_attention(query: Tensor, key: Tensor, num_heads: int) -> Tensor:
    """Attention of the first token to all tokens, averaged over heads.

    Args:
        query: ``(B, N, C)``; only the first token is used.
        key: ``(B, N, C)``.
        num_heads: heads of ``C / num_heads`` channels.

    Returns:
        ``(B, N)``, rows sum to 1.
    """
    size, _, channels = key.shape
    head = channels // num_heads
    query = query[:, 0].reshape(size, num_heads, 1, head)
    key = key.reshape(size, -1, num_heads, head).permute(0, 2, 3, 1)
    return (query @ key * head**-0.5).softmax(dim=-1).mean(dim=1).squeeze(1)


@dataclass(frozen=True)
class ViTSettings(Settings):
    """The transformer, and which of its outputs are the features."""

    arch: str = setting("dino_vitb8", "architecture: dino_vit{s,b}{8,16}, dinov2_vit{s,b,l}14, dinov3_vit{s,b,l}16")
    facet: str = setting(
        "key", "what of the last block: key | query | value | kqv (all three) | token (its output)", choices=FACETS
    )
    pos_embed: str = setting(
        "offset",
        "resampling of position embeddings: offset, ratio 28/60.1 (DINO, MaskCut) | exact, ratio 28/60 (CuVLER)",
        choices=POS_EMBED_RULES,
    )


@FEATURE_BACKENDS.register(settings=ViTSettings)
class ViT:
    """Feature backend around one of timm's vision transformers.

    Args:
        model: network of :func:`unseg_d2.features.weights.load_vit`.
        settings: see :class:`ViTSettings`; ``None`` takes the defaults. Of the facets, ``key``, ``query`` and ``value``
            are the raw output of the last block's qkv layer, before rotary embedding and scaling, ``kqv`` all three,
            concatenated over channels, and ``token`` the output of the last block after the final normalisation. The
            position embedding is that of :func:`resize_position_embedding`; DINOv3's is rotary and stays.
        name: goes into the ``info`` of label sets.
        device: where the network runs.
        dtype: precision of the forward pass; tokens are always float32.
        supervision: what the weights have learnt from; empty where it is not known.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: ViTSettings | None = None,
        *,
        name: str = "vit",
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        supervision: Sequence[str] = (),
    ) -> None:
        settings = settings or ViTSettings()
        self.name = f"{name}/{settings.facet}/{settings.pos_embed}"
        self.checksum = weights_checksum(model)
        self.supervision = tuple(supervision)
        self.facet = settings.facet
        self.pos_embed = settings.pos_embed
        self.device = torch.device(device)
        self.dtype = dtype
        # Any, because nn.Module does not declare the parts that timm's transformers share.
        self.model = cast(Any, model.to(self.device, self.dtype).eval())
        self.patch_size = int(self.model.patch_embed.patch_size[0])
        self._resized: dict[tuple[int, int], Tensor] = {}  # position embeddings per grid

    @classmethod
    def from_config(cls, cfg: CfgNode) -> ViT:
        """Return the backend of ``cfg.FEATURES``, with weights from ``FEATURES.WEIGHTS`` or the hub."""
        settings = ViTSettings.from_config(cfg)
        return cls(
            load_vit(settings.arch, cfg.FEATURES.WEIGHTS, trust=cfg.MODEL.TRUST_CHECKPOINT),
            settings,
            name=f"vit/{settings.arch}",
            device=resolve_device(cfg.FEATURES.DEVICE),
            dtype=precision_of(cfg),
            # DINO, DINOv2 and DINOv3, all that the hub is asked for, see no labels.
            supervision=learnt_from(cfg.FEATURES.WEIGHTS) if cfg.FEATURES.WEIGHTS else ("none",),
        )

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        """Describe a batch; a size that is not a multiple of the patch is rounded to one (480 to 476 for patch 14).

        See :class:`unseg_d2.features.FeatureBackend`. Tokens stay on the backend's device.
        """
        if not images:
            return []
        embedded = self.model.patch_embed(self._normalise(images))  # (B, h, w, C)
        grid = embedded.shape[1], embedded.shape[2]
        stream, rope = self._prepend(embedded, grid)
        extra = {} if rope is None else {"rope": rope}
        for block in self.model.blocks[:-1]:
            stream = block(stream, **extra)
        query, key, value = self._last_qkv(stream)
        # Of the last block's attention only this row is needed, and its qkv come before attention and MLP.
        attention = cls_attention(query, self._rotate(key, rope), self.model.blocks[-1].attn.num_heads)
        if self.facet == "token":
            tokens = self.model.norm(self.model.blocks[-1](stream, **extra))
        elif self.facet == "kqv":
            tokens = torch.cat([key, query, value], dim=-1)
        else:
            tokens = {"key": key, "query": query, "value": value}[self.facet]
        skip = self.model.num_prefix_tokens
        tokens = tokens[:, skip:].float().transpose(1, 2).unflatten(2, grid).contiguous()
        attention = attention[:, skip:].float().unflatten(1, grid)
        return [PatchFeatures(*pair) for pair in zip(tokens, [self.patch_size] * len(images), attention)]

    def _normalise(self, images: Sequence[np.ndarray]) -> Tensor:
        """``(B, 3, H, W)`` in the network's normalisation, sides rounded to multiples of the patch."""
        height, width = (max(1, round(side / self.patch_size)) * self.patch_size for side in images[0].shape[:2])
        if (height, width) != images[0].shape[:2]:
            resize = Image.Resampling.LANCZOS
            images = [np.asarray(Image.fromarray(image).resize((width, height), resize)) for image in images]
        batch = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float() / 255
        return normalise(batch).to(self.dtype)

    def _prepend(self, embedded: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
        """Patches ``(B, h, w, C)`` to the input ``(B, N, C)`` of the first block, and the rotary embedding if any."""
        model = self.model
        prefix = [model.cls_token] if model.reg_token is None else [model.cls_token, model.reg_token]
        prefix = [token.expand(len(embedded), -1, -1) for token in prefix]
        stream = torch.cat([*prefix, embedded.flatten(1, 2)], dim=1)
        if model.pos_embed is None:  # DINOv3
            return stream, model.rope.get_embed(shape=grid)
        if grid not in self._resized:
            self._resized[grid] = resize_position_embedding(model.pos_embed, grid, self.pos_embed)
        return stream + self._resized[grid], None

    def _last_qkv(self, stream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value ``(B, N, C)`` of the last block, bias included."""
        last = self.model.blocks[-1]
        qkv = last.attn.qkv(last.norm1(stream))
        if getattr(last.attn, "q_bias", None) is not None:  # DINOv3 keeps the bias next to the layer
            qkv = qkv + torch.cat([last.attn.q_bias, last.attn.k_bias, last.attn.v_bias])
        query, key, value = qkv.chunk(3, dim=-1)
        return query, key, value

    def _rotate(self, key: Tensor, rope: Tensor | None) -> Tensor:
        """Apply the rotary embedding to the patches of ``(B, N, C)``; [CLS] and registers are not rotated."""
        if rope is None:
            return key
        from timm.layers import apply_rot_embed_cat

        attention, skip = self.model.blocks[-1].attn, self.model.num_prefix_tokens
        patches = key[:, skip:].unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
        patches = apply_rot_embed_cat(patches, rope, half=attention.rotate_half).transpose(1, 2).flatten(2)
        return torch.cat([key[:, :skip], patches.to(key.dtype)], dim=1)
