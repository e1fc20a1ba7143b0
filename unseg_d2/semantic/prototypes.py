"""Class prototypes: a direction in feature space per class, and two ways to initialise them without labels.

Shape legend
    b      images
    C      feature channels
    h, w   rows and columns of the patch grid
    K      classes
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RANK_TOLERANCE = 1e-6
"""Share of the largest variance up to which the features count as having no extent in a direction."""


class Prototypes(nn.Module):
    """A linear classifier without bias whose rows are directions times lengths (weight normalisation).

    Args:
        directions: ``(K, C)`` of any length; the learned lengths all start at 1.

    Attributes:
        directions: ``(K, C)`` parameter.
        lengths: ``(K,)`` parameter.
    """

    def __init__(self, directions: Tensor) -> None:
        super().__init__()
        self.directions = nn.Parameter(directions.detach().clone().float())
        self.lengths = nn.Parameter(torch.ones(len(directions)))

    @property
    def weight(self) -> Tensor:
        """``(K, C)`` rows of the classifier."""
        return self.lengths[:, None] * F.normalize(self.directions, dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the inner products ``(b, K, h, w)`` of the prototypes with features ``(b, C, h, w)``."""
        return F.conv2d(features, self.weight[:, :, None, None])


def principal_directions(batches: Iterable[Tensor], count: int) -> Tensor:
    """Return the first principal directions of the features of many images; they are the first prototypes.

    Only the sums that the covariance needs are kept, so the memory does not depend on the number of images. The
    published code keeps all features and approximates the directions.

    Args:
        batches: ``(b, C, h, w)`` each.
        count: K.

    Returns:
        ``(K, C)`` float32, orthonormal, on the device of the features. The sign of a direction, which means nothing, is
        that of its product with the mean feature.

    Raises:
        ValueError: there are no features, or they do not have K directions.
    """
    total: Tensor | None = None
    products: Tensor | None = None
    number = 0
    for features in batches:
        rows = features.movedim(1, -1).flatten(0, 2).double()
        total = rows.sum(0) if total is None else total + rows.sum(0)
        products = rows.T @ rows if products is None else products + rows.T @ rows
        number += len(rows)
    if total is None or products is None or not number:
        raise ValueError("there are no features")
    mean = total / number
    values, vectors = torch.linalg.eigh(products / number - mean[:, None] * mean)
    rank = int((values > RANK_TOLERANCE * values[-1].clamp_min(1e-300)).sum())
    if count > rank:
        raise ValueError(f"{count} prototypes are more than the {rank} directions that the features have")
    directions = vectors[:, -count:].flip(1).T
    return (directions * torch.where(directions @ mean < 0, -1.0, 1.0)[:, None]).float()


def kmeans_loss(features: Tensor, prototypes: Prototypes) -> Tensor:
    """Return minus the mean cosine of each patch and the prototype nearest to it: k-means on the sphere, by gradient.

    Args:
        features: ``(b, C, h, w)``.
        prototypes: their lengths do not matter and get no gradient.

    Returns:
        Scalar in [-1, 1].
    """
    directions = F.normalize(prototypes.directions, dim=1)
    cosine = F.conv2d(F.normalize(features, dim=1), directions[:, :, None, None])
    return -cosine.amax(1).mean()
