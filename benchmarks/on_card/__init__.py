"""Sections of the benchmark ``gpu.py``."""
