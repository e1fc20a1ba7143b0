"""The object is where the last map of a network responds most: the length of a feature, and a threshold.

Selective convolutional descriptor aggregation (Wei, Luo, Wu and Zhou, TIP 2017, section III) adds the activations of a
network's last map over its channels, takes what lies above their mean, and keeps the largest connected part. Here it is
the length of the feature, which suits maps with negative entries too, and Otsu's threshold, which follows the image.

Shape legend
    b      images
    h, w   rows and columns of the patch grid
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from torch import Tensor

from unseg_d2.masks.batches import check_tokens, map_batches, to_proposals
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_host

EQUAL = 1e-3  # relative difference between lengths up to which they count as equal: that of float16
SAME_LENGTHS = "the features of all patches have the same length"


@dataclass(frozen=True)
class ActivationSettings(Settings):
    """Settings of :func:`activation`; both values of ``MASKS.MODE`` mean the same here."""

    min_response: float = setting(
        0.0,
        "response, from 0 for the least of an image to 1 for the most, above which patches are an object's; 0: Otsu's",
        low=0,
        below=1,
    )
    num_masks: int = setting(1, "most objects per image: connected parts, those that respond most first", low=1)
    min_area: float = setting(0.01, "share of the grid that an object must exceed", low=0, below=1)

    def when_empty(self) -> str:
        """Return what to change where nothing responds more than the rest."""
        return (
            "set FEATURES.CNN.LENGTHS True, without which all features of FEATURES.NAME cnn have one length, or "
            f"lower MASKS.ACTIVATION.MIN_AREA (now {self.min_area:g})."
        )


@MASK_GENERATORS.register(settings=ActivationSettings)
class Activation:
    """Mask generator that calls :func:`activation` with fixed settings.

    Args:
        settings: see :class:`ActivationSettings`; ``None`` takes the defaults.
    """

    def __init__(self, settings: ActivationSettings | None = None) -> None:
        self.settings = settings or ActivationSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image."""
        return map_batches(lambda tokens: activation(tokens, self.settings), features)


def activation(tokens: Tensor, settings: ActivationSettings | None = None) -> list[Proposals]:
    """Find what a network responds to in each image: the connected parts of the patches with the longest features.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type, of which only the lengths count.
        settings: see :class:`ActivationSettings`; ``None`` takes the defaults.

    Returns:
        Proposals per image, on the CPU. The score is the mean response of the mask, in [0, 1].

    Raises:
        ValueError: if the features are not finite.
    """
    settings = settings or ActivationSettings()
    check_tokens(tokens)
    (lengths,) = to_host(tokens.double().norm(dim=1))
    return [_proposals(image.numpy(), settings) for image in lengths]


def responses(lengths: np.ndarray) -> np.ndarray:
    """Return lengths ``(h, w)`` stretched to [0, 1] over the image; 0 where all are the same up to rounding."""
    least, most = float(lengths.min()), float(lengths.max())
    if most - least <= EQUAL * most:
        return np.zeros_like(lengths)
    return np.asarray((lengths - least) / (most - least))


def otsu_threshold(values: np.ndarray) -> float:
    """Return the threshold that splits values in [0, 1] into the two groups of least variance, in steps of 1/255.

    Otsu, A Threshold Selection Method from Gray-Level Histograms, 1979; by OpenCV.
    """
    levels = np.rint(255 * values).astype(np.uint8)
    return float(cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0]) / 255


def _proposals(lengths: np.ndarray, settings: ActivationSettings) -> Proposals:
    """Return the connected parts of what responds, those with the largest sum of responses first."""
    response = responses(lengths)
    if not response.any():
        return to_proposals([], lengths.shape, when_none=SAME_LENGTHS)
    above = np.rint(255 * response) > 255 * (settings.min_response or otsu_threshold(response))
    labels, count = ndimage.label(above)
    parts = [labels == number for number in range(1, count + 1)]
    large = [part for part in parts if part.mean() > settings.min_area]
    large.sort(key=lambda part: -response[part].sum())
    found = [(part, float(response[part].mean())) for part in large[: settings.num_masks]]
    return to_proposals(
        found, lengths.shape, {"min_area": len(parts) - len(large), "num_masks": len(large) - len(found)}
    )
