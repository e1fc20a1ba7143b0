"""Patch descriptors that need no weights: colour and texture, seen against the border of the image.

They let every command, test and demo run without a download. They are for trying things out, not for results.
``docs/descriptors.md`` holds the measurements behind the choices made here.

Shape legend
    H, W   height and width of the image in pixels
    h, w   rows and columns of the patch grid, ``H // patch_size`` and ``W // patch_size``
    C      channels
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.errors import Unusable
from unseg_d2.features.registry import FEATURE_BACKENDS, OF_NETWORKS
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures

VERSION = 4
"""Increased whenever the numbers change; enters the checksum of label sets."""

FITS_UNIAP = {
    "MASKS.UNIAP.MEASURE": "quantile",
    "MASKS.UNIAP.TAUS": (0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03),
}
"""All similarities are high; the neighbours that are least alike lie at the boundaries of objects (docs/levels.md)."""

FITS = {"MASKS.LOST.CENTER": True, "MASKS.PROMERGE.MAX_LIKENESS": 0.3, **FITS_UNIAP}
"""No descriptor has negative entries, and the published limit takes most masks for background (docs/generators.md)."""

NOTICEABLE = 0.01  # a just noticeable difference in Lab / 100
BORDER = 1 / 30  # share of the grid's side that counts as border, on each side


@dataclass(frozen=True)
class DescriptorSettings:
    """What goes into a descriptor.

    Attributes:
        texture: weight of the standard deviation of Lab within a patch, relative to the mean; 0 leaves it out.
        orientation: weight of the histogram of gradient orientations; 0 leaves it out.
        smoothing: sigma of a Gaussian over the patch grid, patches; 0 is none.
        reference: patches whose statistics whiten the others, ``border`` or ``image``.
        ridge: share of the image's own variance that is added to the reference's.
        bandwidth: width of the soft assignment to the palette, in standard deviations of the reference; 0 leaves the
            palette out, and descriptors are the whitened statistics themselves.
        palette: number of palette entries.
    """

    texture: float = 0.0
    orientation: float = 0.0
    smoothing: float = 0.0
    reference: str = "border"
    ridge: float = 0.01
    bandwidth: float = 1.5
    palette: int = 64


def patch_descriptors(image: np.ndarray, patch_size: int, settings: DescriptorSettings | None = None) -> np.ndarray:
    """Describe each patch of an image by what distinguishes it from the image's border, without weights.

    Per-patch statistics are whitened by their mean and covariance over the border, which is mostly background (as in
    Zhu et al., Saliency optimization from robust background detection, CVPR 2014): a floor of two alternating colours
    shrinks to one cluster, while a colour that the border lacks moves far away from it. A soft assignment to a palette
    drawn from the image itself then turns distances into cosines, which is what graph cuts threshold.

    Args:
        image: ``(H, W, 3)`` RGB, uint8 or float32 in [0, 255], at least one patch large.
        patch_size: side of a patch in pixels; a remainder at the right and bottom is left out.
        settings: what goes into a descriptor; ``docs/descriptors.md`` explains the default.

    Returns:
        ``(C, h, w)`` float32, finite. The cosine of two patches is near 1 if they look alike, otherwise near 0.

    Raises:
        ValueError: if the image has another shape or type, or is smaller than a patch.
    """
    settings = settings or DescriptorSettings()
    if image.dtype not in (np.uint8, np.float32) or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a (H, W, 3) image in uint8 or float32, got {image.dtype} {image.shape}")
    if min(image.shape[:2]) < patch_size:
        raise Unusable(f"the image {image.shape[:2]} is smaller than a patch of {patch_size} px")
    lab = cv2.cvtColor(np.multiply(image, np.float32(1 / 255), dtype=np.float32), cv2.COLOR_RGB2LAB) / 100
    mean = pool(lab, patch_size)
    groups = [(1.0, mean)]
    if settings.texture:
        groups.append((settings.texture, texture(lab, mean, patch_size)))
    if settings.orientation:
        groups.append((settings.orientation, orientation(lab[..., 0], patch_size)))
    whitened = [weight * whiten(smooth(group, settings.smoothing), settings) for weight, group in groups]
    statistics = np.concatenate(whitened)
    if not settings.bandwidth:
        return statistics.astype(np.float32)
    return soft_palette(statistics / settings.bandwidth, settings.palette).astype(np.float32)


def pool(channels: np.ndarray, patch_size: int) -> np.ndarray:
    """Mean of ``(H, W, C)`` over each patch, ``(C, h, w)``."""
    h, w = channels.shape[0] // patch_size, channels.shape[1] // patch_size
    cropped = np.ascontiguousarray(channels[: h * patch_size, : w * patch_size])
    # INTER_AREA with a whole factor is the mean, several times faster than numpy's.
    pooled = cv2.resize(cropped, (w, h), interpolation=cv2.INTER_AREA)
    return pooled.reshape(h, w, -1).transpose(2, 0, 1)


def smooth(grid: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing of ``(C, h, w)`` over the grid."""
    return np.stack([cv2.GaussianBlur(channel, (0, 0), sigma) for channel in grid]) if sigma else grid


def texture(lab: np.ndarray, mean: np.ndarray, patch_size: int) -> np.ndarray:
    """Standard deviation of Lab within each patch and its neighbours, ``(3, h, w)``."""
    variance = np.maximum(pool(lab**2, patch_size) - mean**2, 0)
    return np.sqrt(smooth(variance, 1.0))


def orientation(lightness: np.ndarray, patch_size: int, bins: int = 6) -> np.ndarray:
    """Gradient magnitude per orientation, over each patch and its neighbours, ``(bins, h, w)``."""
    dx, dy = cv2.Sobel(lightness, cv2.CV_32F, 1, 0), cv2.Sobel(lightness, cv2.CV_32F, 0, 1)
    magnitude, angle = cv2.cartToPolar(dx, dy)
    position = np.mod(angle, np.pi) * (bins / np.pi)
    histogram = []
    for index in range(bins):
        distance = np.abs(position - index)
        share = np.clip(1 - np.minimum(distance, bins - distance), 0, None)  # linear between neighbouring bins
        histogram.append(pool(magnitude * share, patch_size)[0])
    return smooth(np.stack(histogram), 1.0)


def whiten(group: np.ndarray, settings: DescriptorSettings) -> np.ndarray:
    """Subtract the mean of the reference patches and multiply by the inverse root of their covariance.

    Args:
        group: ``(C, h, w)``.
        settings: ``reference`` and ``ridge``; a difference below :data:`NOTICEABLE` is never amplified.
    """
    channels, h, w = group.shape
    patches = group.reshape(channels, -1).astype(np.float64)
    reference = patches
    if settings.reference == "border":
        inside = np.zeros((h, w), bool)
        rows, columns = max(1, round(h * BORDER)), max(1, round(w * BORDER))
        inside[rows : h - rows, columns : w - columns] = True
        reference = patches[:, ~inside.ravel()]
    mean = reference.mean(axis=1, keepdims=True)
    covariance = (reference - mean) @ (reference - mean).T / reference.shape[1]
    floor = settings.ridge * patches.var(axis=1).mean() + NOTICEABLE**2
    values, vectors = np.linalg.eigh(covariance + floor * np.eye(channels))
    return ((vectors / np.sqrt(values)) @ (vectors.T @ (patches - mean))).reshape(group.shape)


def soft_palette(statistics: np.ndarray, size: int) -> np.ndarray:
    """Gaussian similarity of each patch to a palette of patches that cover the image's statistics.

    The palette is chosen by farthest-point sampling from the patch nearest to the origin. Cosines of the result
    approximate a Gaussian kernel between patches, without its quadratic cost and without negative values.

    Args:
        statistics: ``(C, h, w)``, in units of the bandwidth.
        size: number of palette entries.

    Returns:
        ``(size, h, w)`` in [0, 1].
    """
    points = statistics.reshape(len(statistics), -1)
    chosen = int((points**2).sum(axis=0).argmin())
    nearest = np.full(points.shape[1], np.inf)
    rows = []
    for _ in range(size):
        squared = ((points - points[:, chosen, None]) ** 2).sum(axis=0)
        rows.append(squared)
        nearest = np.minimum(nearest, squared)
        chosen = int(nearest.argmax())
    return np.exp(-0.5 * np.stack(rows)).reshape(size, *statistics.shape[1:])


@dataclass(frozen=True)
class DescriptorBackendSettings(Settings):
    """The patches of :class:`Descriptors` and :class:`~unseg_d2.features.palette.Palette`."""

    patch_size: int = setting(
        8, "side of a patch of the resized image; FEATURES.NAME palette shares it", unit="px", low=1
    )


@FEATURE_BACKENDS.register(settings=DescriptorBackendSettings, fits=FITS, ignores=OF_NETWORKS)
class Descriptors:
    """Feature backend around :func:`patch_descriptors`.

    Args:
        patch_size: side of a patch in pixels.
        settings: what goes into a descriptor.
    """

    def __init__(self, patch_size: int, settings: DescriptorSettings | None = None) -> None:
        self.name = "descriptors"
        self.supervision = ("none",)
        self.patch_size = patch_size
        self.settings = settings or DescriptorSettings()
        self.checksum = hashlib.sha256(f"descriptors {VERSION} {self.settings}".encode()).hexdigest()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Descriptors:
        """Return the backend of ``cfg.FEATURES.DESCRIPTORS``."""
        return cls(DescriptorBackendSettings.from_config(cfg).patch_size)

    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        """Describe each image; see :class:`unseg_d2.features.FeatureBackend`."""
        tokens = [torch.from_numpy(patch_descriptors(image, self.patch_size, self.settings)) for image in images]
        return [PatchFeatures(token, self.patch_size) for token in tokens]
