"""Student and teacher: a small encoder with a feature pyramid, and a decoder whose queries give masks.

Shape legend
    N      images or crops
    H, W   height and width in pixels, multiples of 32
    d      channels of maps and queries
    q      queries: one for each cell of the map of stride 16, then those of the semantic group
    K      prototypes
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import MLP, FeaturePyramidNetwork

from one_stage.settings import OneStageSettings

FINE, COARSE = 4, 16
"""Strides of the maps: of masks and of the teacher's regions, and of the queries."""

REACH = 24.0  # px from the centre of an instance query at which its mask has faded by a half, before training


@dataclass(frozen=True)
class Queries:
    """What a decoder finds.

    Attributes:
        embeddings: ``(N, q, d)``.
        masks: ``(N, q, H/4, W/4)`` logits.
        scores: ``(N, q)`` logits of how sure a query is of its mask.
        instances: the number of instance queries, which come first.
    """

    embeddings: Tensor
    masks: Tensor
    scores: Tensor
    instances: int


class Encoder(nn.Module):
    """A residual network of 10 layers with a feature pyramid.

    It normalises by groups, not by batches: an average of the weights then needs no statistics, and an image does not
    depend on those beside it.

    Args:
        channels: d.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        body = ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=lambda width: nn.GroupNorm(8, width))
        self.body = IntermediateLayerGetter(body, {f"layer{k}": str(2 ** (k + 1)) for k in range(1, 5)})
        self.pyramid = FeaturePyramidNetwork([64, 128, 256, 512], channels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps of stride 4 and 16, ``(N, d, H/4, W/4)`` and ``(N, d, H/16, W/16)``."""
        maps = self.pyramid(self.body(images))
        return maps[str(FINE)], maps[str(COARSE)]


class Decoder(nn.Module):
    """Queries that look at the map of stride 16, and give masks as products with that of stride 4.

    An instance query begins as a cell of the map with the token [INS], and its mask fades with the distance from a
    point that it chooses; the queries of the semantic group are learnt vectors with [SEM], and reach everywhere.

    Args:
        settings: of the experiment.
    """

    def __init__(self, settings: OneStageSettings) -> None:
        super().__init__()
        d = settings.channels
        self.tokens = nn.Parameter(0.02 * torch.randn(2, d))
        self.semantic = nn.Parameter(0.02 * torch.randn(settings.semantic_queries, d))
        layer = nn.TransformerDecoderLayer(d, 4, 2 * d, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerDecoder(layer, settings.layers, norm=nn.LayerNorm(d))
        self.mask = MLP(d, [d, d])
        self.place = nn.Linear(d, 4)
        self.score = nn.Linear(d, 1)
        self.level = nn.Parameter(torch.ones(1))
        nn.init.zeros_(self.place.weight)
        nn.init.zeros_(self.place.bias)

    def forward(self, fine: Tensor, coarse: Tensor, origins: Tensor | None = None) -> Queries:
        """Return the queries of the two maps of an encoder.

        Args:
            fine: ``(N, d, H/4, W/4)``.
            coarse: ``(N, d, H/16, W/16)``.
            origins: ``(N, 2)`` x and y in pixels of the upper left corners in the whole images; ``None`` is 0. Crops
                need them: they are smaller than what is predicted later, and would never show places far from 0.
        """
        n, d, rows, columns = coarse.shape
        cells = centres(rows, columns, COARSE, coarse)
        places = cells if origins is None else cells + origins[:, None]
        memory = coarse.flatten(2).mT + positions(places, d)
        semantic = (self.semantic + self.tokens[1]).expand(n, -1, -1)
        found = self.layers(torch.cat([memory + self.tokens[0], semantic], 1), memory)
        masks = torch.einsum("nqd,ndhw->nqhw", self.mask(found), fine) / math.sqrt(d)
        count = rows * columns
        pixels = centres(*fine.shape[2:], FINE, fine)
        fading = distances(cells, self.place(found[:, :count]), pixels).unflatten(2, fine.shape[2:])
        masks = torch.cat([masks[:, :count] + self.level - fading, masks[:, count:]], 1)
        return Queries(found, masks, self.score(found)[..., 0], count)


class Head(nn.Module):
    """Logits of queries over prototypes: an MLP of three layers, unit length, cosines to the prototypes.

    Args:
        settings: of the experiment.
    """

    def __init__(self, settings: OneStageSettings) -> None:
        super().__init__()
        self.layers = MLP(settings.channels, [settings.hidden, settings.hidden, settings.channels])
        self.prototypes = nn.Parameter(torch.randn(settings.prototypes, settings.channels))

    def forward(self, queries: Tensor) -> Tensor:
        """Return ``(..., K)`` cosines of ``(..., d)`` queries."""
        return F.normalize(self.layers(queries), dim=-1) @ F.normalize(self.prototypes, dim=-1).T


class Student(nn.Module):
    """Encoder, decoder and projection head.

    Args:
        settings: of the experiment.
    """

    def __init__(self, settings: OneStageSettings) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = Encoder(settings.channels), Decoder(settings), Head(settings)

    def forward(self, images: Tensor, origins: Tensor | None = None) -> Queries:
        """Return the queries of ``(N, 3, H, W)`` normalised images, or of crops and their origins (see `Decoder`)."""
        return self.decoder(*self.encoder(images), origins)


class OneStage(nn.Module):
    """A student, its running average, which is the teacher, and the centre of the teacher's logits.

    Args:
        settings: of the experiment.
    """

    centre: Tensor

    def __init__(self, settings: OneStageSettings) -> None:
        super().__init__()
        self.student = Student(settings)
        self.average = ModelEmaV3(self.student, decay=settings.ema_decay, use_warmup=True)
        self.average.requires_grad_(False)
        self.register_buffer("centre", torch.zeros(settings.prototypes))

    @property
    def teacher(self) -> Student:
        """The network that makes labels, and that predicts in the end."""
        module: Student = self.average.module
        return module

    def follow(self, t: int) -> None:
        """Take the student's weights after step ``t``, from 0, into the teacher.

        The decay is ``1 - (t + 1)^(-2/3)`` at most, so that a short training is no average over its random start.
        """
        self.average.update(self.student, step=t + 1)


def centres(rows: int, columns: int, stride: int, like: Tensor) -> Tensor:
    """Return x and y of the centre of each cell of a map, row-major, ``(rows * columns, 2)`` in pixels."""
    y, x = ((torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) * stride for count in (rows, columns))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)


def positions(points: Tensor, channels: int) -> Tensor:
    """Return sines and cosines of points, of wavelengths from 32 to 1024 px, ``(..., channels)``.

    Args:
        points: ``(..., 2)`` in pixels.
        channels: a multiple of 4.
    """
    waves = 2 * math.pi / torch.logspace(5, 10, channels // 4, base=2, dtype=points.dtype, device=points.device)
    phases = (points[..., None] * waves).flatten(-2)
    return torch.cat([phases.sin(), phases.cos()], -1)


def distances(cells: Tensor, places: Tensor, pixels: Tensor) -> Tensor:
    """Return how far pixels are from the points that queries choose, ``(N, m, p)``, 0.5 at one reach along an axis.

    Args:
        cells: ``(m, 2)`` where the queries begin, px.
        places: ``(N, m, 4)`` step from there, in cells, and logarithms of the reach in x and y, in units of
            :data:`REACH`; the latter are limited to [-2, 2].
        pixels: ``(p, 2)``, px.
    """
    points = cells + COARSE * places[..., :2]
    reach = REACH * places[..., 2:].clamp(-2, 2).exp()
    apart = (pixels - points[:, :, None]) / reach[:, :, None]
    return apart.square().sum(-1) / 2
