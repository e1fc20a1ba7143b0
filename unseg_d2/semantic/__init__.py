"""Unsupervised semantic segmentation: PriMaPs-EM."""
