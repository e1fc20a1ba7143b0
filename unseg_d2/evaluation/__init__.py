"""Figures that compare predictions with ground truth."""
