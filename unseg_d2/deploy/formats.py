"""The formats that detectors are written in, by name; importing this loads none of their libraries."""

from __future__ import annotations

DETECTOR_FORMATS = {
    "onnx": "a detector for ONNX Runtime",
    "torch-export": "a detector for torch.export.load (.pt2)",
}
"""Name of each format, as a command line has it, and what is written."""
