"""The unit features of a batch of images, and products of rows that belong to images of it.

Shape legend
    b      images
    n      patches (tokens) of an image
    r      rows: of regions, or of patches
    m      most rows of an image
    C      feature channels
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.transfer import to_card


@dataclass(frozen=True)
class Tokens:
    """The unit features of a batch of images; patches are row-major, and counted through the images.

    Attributes:
        given: ``(b, C, h, w)`` features of any length.
        single: ``(b, n, C)`` float32; a feature that is 0 stays 0.
    """

    given: Tensor
    single: Tensor

    @classmethod
    def of(cls, tokens: Tensor) -> Tokens:
        """Return the unit features of ``(b, C, h, w)`` tokens of any float type."""
        rows = tokens.flatten(2).mT.contiguous()
        if rows.dtype != torch.float64:
            rows = rows.float()
        return cls(tokens, F.normalize(rows, dim=2).float())

    @cached_property
    def double(self) -> Tensor:
        """The same in float64, ``(b, n, C)``: for the few similarities that float32 cannot decide."""
        rows = self.given.flatten(2).mT.contiguous().double()
        return rows.div_(rows.norm(dim=2, keepdim=True).clamp_min_(1e-12))  # as `normalize` does, but in place

    @cached_property
    def moments(self) -> Tensor:
        """The second moments of the features, ``(b, C, C)``: the mean of ``F^T F`` over the patches."""
        return (self.single.mT @ self.single) / self.per_image

    @cached_property
    def mean(self) -> Tensor:
        """The mean feature, ``(b, C, 1)``: times a region's mean feature, the mean of its profile."""
        return self.single.mean(1)[:, :, None]

    @property
    def few(self) -> bool:
        """Whether there are so few patches that a profile costs no more than bounds by the second moments."""
        return self.per_image < 2 * self.single.shape[2]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.given.shape[2], self.given.shape[3]

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.single)

    @property
    def per_image(self) -> int:
        """Number of patches of an image."""
        return self.single.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the features are."""
        return self.single.device

    def index(self, positions: np.ndarray) -> Tensor:
        """Return positions, or other numbers, on the device of the features."""
        return to_card(torch.from_numpy(positions), self.device)


class Rows:
    """Rows that belong to images, those of an image one after another, as a stack of as many rows for each image.

    Args:
        images: ``(r,)`` int64 image of each row, ascending.
        tokens: of the images.
    """

    def __init__(self, images: np.ndarray, tokens: Tokens) -> None:
        counts = np.bincount(images, minlength=tokens.count)
        self.counts, self.firsts = counts, np.cumsum(counts) - counts
        self._shape = tokens.count, int(counts.max())
        self._places: Tensor | None = None
        if tokens.count > 1:
            within = np.arange(len(images)) - self.firsts[images]
            self._places = tokens.index(images * self._shape[1] + within)

    def stacked(self, rows: Tensor) -> Tensor:
        """Return ``(r, ...)`` rows as ``(b, m, ...)``, zeros below the rows of images that have fewer."""
        if self._places is None:
            return rows[None]
        whole = rows.new_zeros(self._shape[0] * self._shape[1], *rows.shape[1:])
        whole[self._places] = rows
        return whole.view(*self._shape, *rows.shape[1:])

    def flat(self, stack: Tensor) -> Tensor:
        """Return the ``(r, ...)`` rows of a ``(b, m, ...)`` stack."""
        return stack[0] if self._places is None else stack.flatten(0, 1)[self._places]

    def times(self, rows: Tensor, matrices: Tensor) -> Tensor:
        """Return the product of each row with the matrix of its image, ``(r, q)``.

        Args:
            rows: ``(r, p)``.
            matrices: ``(b, p, q)``.
        """
        return self.flat(self.stacked(rows) @ matrices)
