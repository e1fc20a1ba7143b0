"""CutS3D: normalised cuts weighted by depth, and LocalCut, which cuts their masks apart in 3D."""

from __future__ import annotations

from unseg_d2.masks.cuts3d.cuts3d import CutS3D, CutS3DSettings, cuts3d
from unseg_d2.masks.cuts3d.localcut import LocalCutSettings, localcut

__all__ = ["CutS3D", "CutS3DSettings", "LocalCutSettings", "cuts3d", "localcut"]
