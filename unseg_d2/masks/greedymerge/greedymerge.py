"""Greedy merging: the most similar neighbours first, one pair at a time (UnSAM, NeurIPS 2024).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fvcore.common.config import CfgNode
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.graph.regions import grid_edges
from unseg_d2.masks.batches import check_tokens, map_batches
from unseg_d2.masks.greedymerge.divide import layers_within, united
from unseg_d2.masks.greedymerge.merging import greedy_layers
from unseg_d2.masks.hierarchy import Layer, masks_of_layers
from unseg_d2.masks.registry import MASK_GENERATORS, Guided, ProposalGenerator
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_host


@dataclass(frozen=True)
class GreedyMergeSettings(Settings):
    """Settings of :func:`greedymerge`; both values of ``MASKS.MODE`` mean the same to the merging."""

    taus: Sequence[float] = setting(
        (0.9, 0.8, 0.7, 0.6, 0.5),
        "cosine at which merging stops in each layer, falling; the finest layer first (those of UnSAMv2)",
        symbol="theta",
        low=-1,
        high=1,
    )
    divide: str = setting(
        "",
        "mask generator, with settings of its own, within each of whose masks patches are merged (UnSAM's divide "
        "stage); empty merges those of the whole image",
    )
    min_patches: int = setting(4, "smallest region that is a mask, patches", low=1)
    max_share: float = setting(0.9, "largest share of the grid that a mask covers", above=0, below=1)

    def check(self) -> None:
        """Raise ValueError without thresholds, or where they do not fall."""
        if not self.taus or any(a < b for a, b in zip(self.taus, self.taus[1:])):
            raise ValueError(f"taus must name thresholds that fall from layer to layer, got {tuple(self.taus)}")

    def when_empty(self) -> str:
        """Return what to change where no region is a mask: all are small, or one covers the image."""
        if self.divide:
            return (
                f"change the settings of {self.divide}, which MASKS.GREEDYMERGE.DIVIDE names and which finds nothing."
            )
        return (
            f"lower MASKS.GREEDYMERGE.TAUS (now {', '.join(map(str, self.taus))}) where patches stay alone, or raise "
            "them where one region covers the image."
        )


@MASK_GENERATORS.register(settings=GreedyMergeSettings, uses="MASKS.GREEDYMERGE.DIVIDE")
class GreedyMerge:
    """Mask generator that calls :func:`greedymerge` with fixed settings.

    Args:
        settings: see :class:`GreedyMergeSettings`; ``None`` takes the defaults.
        divide: the generator that ``settings.divide`` names; ``None`` where it names none.

    Attributes:
        has_levels: masks contain one another on purpose.
        needs_depth: the other generator does.
    """

    has_levels = True

    def __init__(self, settings: GreedyMergeSettings | None = None, divide: ProposalGenerator | None = None) -> None:
        self.settings, self.divide = settings or GreedyMergeSettings(), divide
        if bool(self.settings.divide) != (divide is not None):
            raise ValueError("divide must be the generator that the settings name, and None where they name none")
        self.needs_depth = getattr(divide, "needs_depth", False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> GreedyMerge:
        """Return the generator that a configuration describes, with the other one that it names.

        Raises:
            ValueError: it names no generator, one that finds masks within masks itself, or one that a foreground union
                guides.
            UnsegError: see `Registry.build`.
        """
        settings = GreedyMergeSettings.from_config(cfg, "MASKS.GREEDYMERGE")
        if not settings.divide:
            return cls(settings)
        names = [name for name, entry in MASK_GENERATORS if not getattr(entry.make, "has_levels", False)]
        if settings.divide.lower() not in names:
            raise ValueError(
                f"divide must name a generator without levels of detail, one of {', '.join(names)}, "
                f"got '{settings.divide}'"
            )
        divide = MASK_GENERATORS.build(cfg, settings.divide)
        own = getattr(divide, "settings", None)
        if isinstance(own, Guided) and own.asks_for_union():
            raise ValueError(f"divide takes {settings.divide} without a foreground union (MASKS.PRIOR); leave that out")
        return cls(settings, divide)

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image."""
        if self.divide is None:
            return map_batches(lambda tokens: greedymerge(tokens, self.settings), features)
        objects = self.divide(features)
        return map_batches(lambda tokens, own: greedymerge(tokens, self.settings, own), features, objects)


def greedymerge(
    tokens: Tensor, settings: GreedyMergeSettings | None = None, objects: Sequence[Proposals] | None = None
) -> list[Proposals]:
    """Find regions of every level of detail by merging the two most similar neighbours again and again.

    The feature of a region is the mean of its patches' unit features, and similarity the cosine. With ``objects``
    patches are merged within each of them, as UnSAM does in the masks of its detector; without, those of the whole
    image. It runs on the CPU, one image at a time.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        settings: see :class:`GreedyMergeSettings`; ``None`` takes the defaults.
        objects: of each image, masks on its grid or on a finer or coarser one.

    Returns:
        Proposals per image, on the CPU, each mask once, in the finest layer that has it, with ``levels`` (0 is the
        finest) and ``parents``. Scores of regions are contrasts as those of UniAP, within an object to its other
        regions; objects come after all layers, and keep their scores. The best comes first.

    Raises:
        ValueError: if the features are not finite.
    """
    settings = settings or GreedyMergeSettings()
    check_tokens(tokens)
    h, w = tokens.shape[2:]
    (host,) = to_host(tokens)
    results = []
    for number, image in enumerate(host):
        unit = F.normalize(image.flatten(1).T.double(), dim=1).numpy()
        if objects is None:
            results.append(_masks(greedy_layers(unit, grid_edges(h, w), settings.taus), (h, w), settings))
            continue
        within = layers_within(unit, (h, w), objects[number], settings.taus)
        found = [_masks(layers, (h, w), settings) for layers in within]
        results.append(united(found, (h, w), objects[number].rejected))
    return results


def _masks(layers: Sequence[Layer], grid: tuple[int, int], settings: GreedyMergeSettings) -> Proposals:
    return masks_of_layers(
        layers, grid, kinds="instance", min_patches=settings.min_patches, max_share=settings.max_share
    )
