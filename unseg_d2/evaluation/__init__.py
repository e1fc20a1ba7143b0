"""Metrics that compare predictions with ground truth."""
