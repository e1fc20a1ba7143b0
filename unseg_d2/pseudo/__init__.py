"""Pseudo-label sets: made over a folder of images, stored, exported and merged."""
