"""The modules that learn faster: ``SOLVER.BASE_LR_MULTIPLIER`` and ``BASE_LR_MULTIPLIER_NAMES`` (CutLER)."""

from __future__ import annotations

from fvcore.common.config import CfgNode
from torch import nn

from unseg_d2.errors import UnsegError, nearest


def faster_modules(cfg: CfgNode, model: nn.Module) -> set[str]:
    """Return the names of the modules whose learning rate is multiplied.

    Args:
        cfg: configuration of either engine.
        model: its network, in which modules have the same names with either engine.

    Raises:
        UnsegError: the factor is for no module, or for one that the network does not have.
    """
    names, factor = list(cfg.SOLVER.BASE_LR_MULTIPLIER_NAMES), cfg.SOLVER.BASE_LR_MULTIPLIER
    if factor == 1:
        return set()
    if not names:
        raise UnsegError(
            f"SOLVER.BASE_LR_MULTIPLIER is {factor}, but has no effect: SOLVER.BASE_LR_MULTIPLIER_NAMES is empty; name "
            "the modules that learn faster, or set the factor to 1."
        )
    own = {name.rpartition(".")[0] for name, _ in model.named_parameters()}
    for name in names:
        if name not in own:
            raise UnsegError(
                f"SOLVER.BASE_LR_MULTIPLIER_NAMES has {name!r}, but the network has no layer of that name with weights."
                f"{nearest(name, own)}"
            )
    return set(names)
