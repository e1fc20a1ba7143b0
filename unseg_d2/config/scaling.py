"""Rescale a recipe written for many GPUs to the number of processes at hand, and show the arithmetic."""

from __future__ import annotations

from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError


def scale_to_world_size(cfg: CfgNode, world_size: int) -> tuple[CfgNode, list[str]]:
    """Apply the linear scaling rule: images per process stay, the learning rate follows the batch.

    Recipes state the number of GPUs that they are written for in ``SOLVER.REFERENCE_WORLD_SIZE``; 0 means that the
    numbers are taken as they are. With a batch ``f`` times as large the learning rate is multiplied by ``f`` and all
    iteration counts are divided by it, so that the number of images seen stays the same (Goyal et al., 2017).

    Args:
        cfg: frozen recipe; it is not changed.
        world_size: training processes, at least 1.

    Returns:
        The rescaled frozen recipe with ``REFERENCE_WORLD_SIZE`` 0, and the lines of arithmetic (empty when nothing
        changes).

    Raises:
        UnsegError: the batch cannot be divided among the processes.
    """
    reference = cfg.SOLVER.REFERENCE_WORLD_SIZE
    scaled = cfg.clone()
    scaled.defrost()
    scaled.SOLVER.REFERENCE_WORLD_SIZE = 0
    lines: list[str] = []
    if reference and reference != world_size:
        if cfg.SOLVER.IMS_PER_BATCH % reference:
            raise UnsegError(
                f"SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} is not a multiple of "
                f"SOLVER.REFERENCE_WORLD_SIZE {reference}."
            )
        lines = _rescale(scaled.SOLVER, reference, world_size)
    if scaled.SOLVER.IMS_PER_BATCH % world_size:
        raise UnsegError(
            f"SOLVER.IMS_PER_BATCH {scaled.SOLVER.IMS_PER_BATCH} cannot be divided among {world_size} processes."
        )
    scaled.freeze()
    return scaled, lines


def _rescale(solver: CfgNode, reference: int, world_size: int) -> list[str]:
    """Change the solver in place and return one line per quantity."""
    factor = world_size / reference
    lines = [f"recipe for {reference} GPUs on {world_size}: factor {world_size}/{reference} = {factor:g}"]

    def change(key: str, value: object, how: str) -> None:
        lines.append(f"  {key}: {solver[key]} {how} = {value}")
        solver[key] = value

    def longer(iterations: int) -> int:
        return round(iterations / factor)

    change("IMS_PER_BATCH", round(solver.IMS_PER_BATCH * factor), f"x {factor:g}")
    change("BASE_LR", solver.BASE_LR * factor, f"x {factor:g}")
    for key in ("MAX_ITER", "WARMUP_ITERS", "CHECKPOINT_PERIOD"):
        change(key, longer(solver[key]), f"/ {factor:g}")
    change("STEPS", tuple(longer(step) for step in solver.STEPS), f"/ {factor:g}")
    return lines
