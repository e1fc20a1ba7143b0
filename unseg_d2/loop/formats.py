"""The file formats in which a checkpoint can be written."""

from __future__ import annotations

FORMATS = (".pth", ".safetensors")
"""Endings: a dictionary with ``model`` as Detectron2's checkpoints, or tensors alone."""
