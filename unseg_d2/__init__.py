"""Segment objects without a single label: pseudo-masks, a class-agnostic detector, self-training, evaluation."""

__version__ = "0.1.0"
