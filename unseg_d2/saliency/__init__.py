"""Unsupervised saliency: Sempart's head, its losses and the two tricks on frozen features."""

from unseg_d2.saliency.crops import crop_and_enlarge, draw_corners
from unseg_d2.saliency.heads import SempartHead, SoftMasks
from unseg_d2.saliency.objective import Objective
from unseg_d2.saliency.predict import SaliencyModel, SempartMasks, build_head, invert_background

__all__ = [
    "Objective",
    "SaliencyModel",
    "SempartHead",
    "SempartMasks",
    "SoftMasks",
    "build_head",
    "crop_and_enlarge",
    "draw_corners",
    "invert_background",
]
