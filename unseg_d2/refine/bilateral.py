"""Bilateral solver: soft masks become smooth where the image is (Barron and Poole, ECCV 2016, simplified grid).

Pixels are gathered in the cells of a grid over position and colour, a sparse linear system over the occupied cells is
solved, and every pixel takes the value of its cell.

Shape legend
    n      masks
    H, W   height and width in pixels
    v      occupied cells of the grid
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.registry import REFINERS, Refiner, check_inputs, hard, soft
from unseg_d2.settings import Settings, setting

YUV = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])  # BT.601, full range
BISTOCHASTIC_STEPS = 10
MIN_DIAGONAL = 1e-5  # of the Jacobi preconditioner
TOLERANCE = 1e-5  # of the residual, relative to the right-hand side


@dataclass(frozen=True)
class BilateralSettings(Settings):
    """Settings of :func:`bilateral`; the defaults are those of TokenCut. Two Tricks has sigmas of 24, 4 and 4."""

    sigma_spatial: float = setting(16.0, "side of a cell of the bilateral grid", unit="px", above=0)
    sigma_luma: float = setting(16.0, "height of a cell in luma", unit="grey levels", above=0)
    sigma_chroma: float = setting(8.0, "side of a cell in chroma", unit="grey levels", above=0)
    smoothness: float = setting(
        256.0, "weight of smoothness relative to the mask (equation 1)", symbol="lambda", above=0
    )
    confidence: float = setting(
        0.999, "confidence in the mask, the same for all pixels (equation 1)", symbol="c", above=0
    )
    max_iterations: int = setting(25, "largest number of conjugate gradient steps", low=1)
    parity: bool = setting(
        False, "keep only the second largest region, counting the background, as TokenCut's code does"
    )


@REFINERS.register(settings=BilateralSettings)
def bilateral(settings: BilateralSettings | None = None) -> Refiner:
    """Return a refiner that solves for soft masks, cuts them at one half and fills their holes.

    Args:
        settings: see :class:`BilateralSettings`; ``None`` takes the defaults.
    """
    return partial(_refine, settings=settings or BilateralSettings())


def bilateral_solver(image: np.ndarray, masks: np.ndarray, settings: BilateralSettings | None = None) -> np.ndarray:
    """Return soft masks that are close to the given ones and smooth where the image is.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        masks: ``(n, H, W)`` float32 in [0, 1], solved for independently of each other.
        settings: see :class:`BilateralSettings`; ``None`` takes the defaults.

    Returns:
        ``(n, H, W)`` float32; not clipped, values can leave [0, 1] a little.
    """
    settings = settings or BilateralSettings()
    sigmas = settings.sigma_spatial, settings.sigma_luma, settings.sigma_chroma
    cell, blur = bilateral_grid(image, *sigmas)
    size = np.bincount(cell).astype(np.float64)
    norm = np.ones_like(size)
    for _ in range(BISTOCHASTIC_STEPS):
        norm = np.sqrt(norm * size / (blur @ norm))
    scaling = sparse.diags(norm)
    laplacian = sparse.diags(norm * (blur @ norm)) - scaling @ blur @ scaling
    system = (settings.smoothness * laplacian + sparse.diags(settings.confidence * size)).tocsr()
    preconditioner = sparse.diags(1 / np.maximum(system.diagonal(), MIN_DIAGONAL))
    solved = np.empty(masks.shape, dtype=np.float32)
    for out, mask in zip(solved, masks):
        total = settings.confidence * np.bincount(cell, mask.ravel())
        mean = total / (settings.confidence * size)
        solution, _ = cg(system, total, x0=mean, rtol=TOLERANCE, maxiter=settings.max_iterations, M=preconditioner)
        out[:] = solution[cell].reshape(mask.shape)
    return solved


def bilateral_grid(
    image: np.ndarray, sigma_spatial: float, sigma_luma: float, sigma_chroma: float
) -> tuple[np.ndarray, sparse.csr_array]:
    """Sort pixels into cells of position and colour.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        sigma_spatial: side of a cell in pixels.
        sigma_luma: height of a cell in luma, grey levels.
        sigma_chroma: side of a cell in chroma, grey levels.

    Returns:
        The cell of each pixel ``(H W,)``, and the blur ``(v, v)`` by (1, 2, 1) summed over the five dimensions.
    """
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    colour = image.reshape(-1, 3) @ YUV.T + (0, 128, 128)
    sigmas = (sigma_spatial, sigma_spatial, sigma_luma, sigma_chroma, sigma_chroma)
    digits = [(d // sigma).astype(np.int64) for d, sigma in zip((x.ravel(), y.ravel(), *colour.T), sigmas)]
    key, strides, stride = np.zeros(x.size, dtype=np.int64), [], 1
    for digit in digits:
        strides.append(stride)
        key += (digit + 1 - digit.min()) * stride  # a margin on both sides: no carry into the next digit
        stride *= int(digit.max() - digit.min()) + 3
    keys, cell = np.unique(key, return_inverse=True)
    blur = sparse.diags(np.full(len(keys), 2.0 * len(strides)), format="csr")
    for stride in strides:
        _, cells, neighbours = np.intersect1d(keys + stride, keys, assume_unique=True, return_indices=True)
        step = sparse.csr_array((np.ones(len(cells)), (cells, neighbours)), shape=blur.shape)
        blur = blur + step + step.T
    return cell, blur


def _refine(image: np.ndarray, masks: np.ndarray, *, settings: BilateralSettings) -> np.ndarray:
    check_inputs(image, masks)
    refined = np.zeros(masks.shape, dtype=bool)
    present = masks.any((1, 2))
    if present.any():
        refined[present] = fill_holes(hard(bilateral_solver(image, soft(masks[present]), settings)))
    if settings.parity:
        refined[present] = [second_largest_region(mask) for mask in refined[present]]
    return refined


def second_largest_region(mask: np.ndarray) -> np.ndarray:
    """Return the second largest region of a mask ``(H, W)``, the background counting as one.

    This is the object unless it is larger than the background, as in TokenCut's published code. With one region in
    all, every pixel is returned.
    """
    regions, _ = ndimage.label(mask)
    sizes = np.bincount(regions.ravel())
    present = np.flatnonzero(sizes)
    if len(present) < 2:
        return np.ones_like(mask)
    return regions == present[np.argsort(sizes[present], kind="stable")[-2]]
