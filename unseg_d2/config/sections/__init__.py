"""The sections of the configuration that belong to no method: the run, the network and its training.

Keys under ``MODEL`` and ``SOLVER``, and elsewhere ``INPUT``, ``DATALOADER`` and ``TEST``, have Detectron2's names,
defaults and meaning, and those that CutLER added have CutLER's, so that a published YAML file loads unchanged. A key
that accepts only some values has ``choices`` (with either engine) or ``builtin`` (with the built-in one): others are
refused, not ignored.
"""

from unseg_d2.config.sections import heads, model, run, solver, timm

__all__ = ["heads", "model", "run", "solver", "timm"]
