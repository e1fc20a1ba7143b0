"""The file formats in which a checkpoint can be written."""

from __future__ import annotations

FORMATS = (".pth", ".safetensors")
"""File endings: a dictionary with ``model``, like Detectron2's checkpoints, or tensors alone."""
