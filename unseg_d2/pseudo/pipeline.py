"""One image in, its pseudo-masks out: resize, features, generator, refinement, back to the image's own size.

Shape legend
    H, W   height and width of the image in pixels
    h, w   rows and columns of the patch grid
    n      number of proposals
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.images import ImageFile
from unseg_d2.depth import GridDepth, build_depth
from unseg_d2.errors import UnsegError
from unseg_d2.features import FeatureBackend, build_features, join_members
from unseg_d2.features.linear_head import with_foreground
from unseg_d2.features.registry import Resize
from unseg_d2.levels import surviving_parents
from unseg_d2.masks import ProposalGenerator, build_generator
from unseg_d2.masks.registry import Guided
from unseg_d2.pseudo.geometry import NetworkInput
from unseg_d2.pseudo.looks import Look, Looking
from unseg_d2.pseudo.post_process import PostProcess, Refined
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.pseudo.refine_together import refine_together
from unseg_d2.pseudo.stage_times import Clock
from unseg_d2.refine import RefineSettings, refiner_from_config
from unseg_d2.structures import PatchFeatures, Proposals


@dataclass(frozen=True)
class MaskPipeline:
    """Everything between an image and its pseudo-masks.

    Attributes:
        features: backend that describes the resized image, or an ensemble of backends.
        generator: finds proposals, on the patch grid or a finer one.
        post_process: turns them into masks at the size of the image.
        image_size: wanted side of the square that images are stretched to; see `network_input`.
        resize: how images are brought to multiples of the patch; see `network_input`.
        max_proposals: of an image with more proposals the best are taken; 0 takes all.
        depth: tells the generator how far away the patches are; ``None`` where it does not need it.
    """

    features: FeatureBackend
    generator: ProposalGenerator
    post_process: PostProcess
    image_size: int
    resize: Resize
    max_proposals: int
    depth: GridDepth | None = None

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile] | None = None) -> list[PseudoMasks]:
        """Find the objects of a batch of images.

        Args:
            images: ``(H, W, 3)`` uint8 RGB each, of any size.
            files: where the images come from; depth that lies in files is found by it.

        Returns:
            Per image its masks at image size, best first; none of them is empty.

        Raises:
            ImageProblem: an image has no usable depth.
            ValueError: the features cannot be used.
        """
        looks = self._looks(images, files)
        return [self.finishing(look, found) for look, found in zip(looks, self.propose(looks), strict=True)]

    def describe(
        self, images: Sequence[np.ndarray], files: Sequence[ImageFile] | None = None
    ) -> tuple[list[NetworkInput], list[PatchFeatures]]:
        """Return how the network sees each image, and its features, with depth where there is a source.

        Args:
            images: ``(H, W, 3)`` uint8 RGB each.
            files: where the images come from.
        """
        looks = self._looks(images, files)
        return [look.views[0] for look in looks], self._described(looks)

    @property
    def looking(self) -> Looking:
        """The first step, of one image: what it needs besides the pixels."""
        in_files = self.depth is not None and self.depth.reads_files
        return Looking(
            frames=tuple((backend.patch_size, side) for backend, side in self._members),
            resize=self.resize,
            keeps_image=self.post_process.needs_image or (self.depth is not None and not in_files),
            depth=self.depth if in_files else None,
        )

    @property
    def refines_on_card(self) -> bool:
        """Whether the refiner computes on a GPU, and so in the second step."""
        return self.post_process.is_on_card

    def propose(self, looks: Sequence[Look], clock: Clock | None = None) -> list[Cut]:
        """The second step, of a batch: features, proposals, and their refinement where that is the device's.

        Args:
            looks: what `looking` made of the images.
            clock: measures the parts.

        Raises:
            ImageProblem: an image has no usable depth.
            ValueError: the features cannot be used.
        """
        clock = clock or Clock()
        with clock.measure("features"):
            features = self._described(looks)
            _wait_for(features)
        with clock.measure("cut"):
            cuts = [Cut.of(proposals, self.max_proposals) for proposals in self.generator(features)]
        if self.refines_on_card:
            with clock.measure("refinement"):
                refined = refine_together(self.post_process, looks, [cut.proposals for cut in cuts])
                cuts = [replace(cut, refined=one) for cut, one in zip(cuts, refined, strict=True)]
        return cuts

    @property
    def finishing(self) -> Finishing:
        """The third step, of one image: from proposals to masks at its size."""
        return Finishing(self.post_process)

    @property
    def _members(self) -> Sequence[tuple[FeatureBackend, int]]:
        members: Sequence[tuple[FeatureBackend, int]] | None = getattr(self.features, "members", None)
        return [(self.features, self.image_size)] if members is None else members

    def _looks(self, images: Sequence[np.ndarray], files: Sequence[ImageFile] | None) -> list[Look]:
        files = files or [ImageFile(Path("image"), "image")] * len(images)
        looking = self.looking
        return [looking(image, file) for image, file in zip(images, files, strict=True)]

    def _described(self, looks: Sequence[Look]) -> list[PatchFeatures]:
        described = [
            features_of_views(backend, [look.views[k] for look in looks])
            for k, (backend, _) in enumerate(self._members)
        ]
        features = described[0] if getattr(self.features, "members", None) is None else join_members(described)
        seen = (replace(one, pixels=look.views[0].rounded) for look, one in zip(looks, features, strict=True))
        return [self._with_depth(look, one) for look, one in zip(looks, seen, strict=True)]

    def _with_depth(self, look: Look, features: PatchFeatures) -> PatchFeatures:
        if self.depth is None or look.depth is not None:
            return features if look.depth is None else replace(features, depth=look.depth)
        assert look.image is not None
        (depth,) = self.depth([look.image], [look.file], features.grid, look.views[0].shown_share)
        return replace(features, depth=depth)


@dataclass(frozen=True)
class Cut:
    """What is found in one image, on the host.

    Attributes:
        proposals: on the generator's grid, the best of them.
        left_out: how many there were beyond.
        refined: the same after the refiner, where it ran already.
    """

    proposals: Proposals
    left_out: int
    refined: Refined | None = None

    @classmethod
    def of(cls, proposals: Proposals, most: int) -> Cut:
        """Return the best proposals, ``most`` or, for 0, all of them."""
        chosen = best(proposals, most)
        confidence = None if chosen.confidence is None else chosen.confidence.cpu()
        on_host = replace(
            chosen,
            masks=chosen.masks.cpu(),
            scores=chosen.scores.cpu(),
            confidence=confidence,
            rejected=dict(chosen.rejected),
        )
        return cls(on_host, len(proposals) - len(chosen))


@dataclass(frozen=True)
class Finishing:
    """Makes the masks of an image of what was found in it; picklable where the refiner is."""

    post_process: PostProcess

    def __call__(self, look: Look, cut: Cut) -> PseudoMasks:
        """Return the masks at the size of the image."""
        refined = cut.refined or self.post_process.refine(look.image, look.views[0], cut.proposals)
        masks = self.post_process.finish(refined, look.size)
        masks.left_out = cut.left_out
        masks.rejected = {**cut.proposals.rejected, **masks.rejected}
        return masks


def features_of_views(backend: FeatureBackend, views: Sequence[NetworkInput]) -> list[PatchFeatures]:
    """Show images to one backend, those of one size together; raises ValueError where its grid is another one."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, view in enumerate(views):
        groups.setdefault((*view.image.shape, view.image.dtype == np.uint8), []).append(index)
    features: dict[int, PatchFeatures] = {}
    for members in groups.values():
        for index, described in zip(members, backend([views[index].image for index in members]), strict=True):
            _check_grid(described, views[index], backend)
            features[index] = described
    return [features[index] for index in range(len(views))]


def _wait_for(features: Sequence[PatchFeatures]) -> None:
    """Wait for a card, so that its time is counted where it belongs; what comes next needs the features anyway."""
    if features and features[0].tokens.device.type == "cuda":
        torch.cuda.current_stream(features[0].tokens.device).synchronize()


def build_pipeline(cfg: CfgNode) -> MaskPipeline:
    """Return the pipeline that ``cfg.FEATURES``, ``cfg.DEPTH``, ``cfg.MASKS`` and ``cfg.REFINE`` describe.

    Raises:
        UnsegError: a name is unknown, a weight file or an extra is missing.
    """
    post_process = PostProcess(refiner_from_config(cfg), RefineSettings.from_config(cfg), cfg.MASKS.MODE)
    source, generator = build_depth(cfg), build_generator(cfg)
    if source is None and getattr(generator, "needs_depth", False):
        raise UnsegError(
            f"MASKS.GENERATOR {cfg.MASKS.GENERATOR} needs depth: set DEPTH.SOURCE to files, synthetic, hub or marigold."
        )
    if cfg.REFINE.NAME == "crf_labels" and getattr(generator, "has_levels", False):
        raise UnsegError(
            f"The masks of MASKS.GENERATOR {cfg.MASKS.GENERATOR} contain one another, and REFINE.NAME crf_labels makes "
            "them compete for each pixel; set REFINE.NAME to crf, guided or none."
        )
    return MaskPipeline(
        features=_features_for(generator, cfg),
        generator=generator,
        post_process=post_process,
        image_size=cfg.FEATURES.IMAGE_SIZE,
        resize=cfg.FEATURES.RESIZE,
        depth=None if source is None else GridDepth(source, Path(cfg.DEPTH.CACHE) if cfg.DEPTH.CACHE else None),
        max_proposals=cfg.MASKS.MAX_PROPOSALS,
    )


def _features_for(generator: ProposalGenerator, cfg: CfgNode) -> FeatureBackend:
    """Return the features of a recipe, with the foreground of a head where the generator asks for it."""
    features, own = build_features(cfg), getattr(generator, "settings", None)
    if isinstance(own, Guided) and own.asks_for_union() and cfg.MASKS.PRIOR.SOURCE == "head":
        return with_foreground(features, cfg.MASKS.PRIOR.HEAD, trust=cfg.MODEL.TRUST_CHECKPOINT)
    return features


def best(proposals: Proposals, count: int) -> Proposals:
    """Return the ``count`` proposals of highest score in the order that they have; all of them for 0."""
    if not 0 < count < len(proposals):
        return proposals
    chosen = proposals.scores.argsort(descending=True, stable=True)[:count].sort().values
    confidence = None if proposals.confidence is None else proposals.confidence[chosen]
    kept = replace(proposals, masks=proposals.masks[chosen], scores=proposals.scores[chosen], confidence=confidence)
    if proposals.levels is None or proposals.parents is None:
        return kept
    is_kept = torch.zeros(len(proposals), dtype=torch.bool).index_fill(0, chosen.cpu(), True)
    parents = surviving_parents(proposals.parents.tolist(), is_kept.tolist())
    return replace(kept, levels=proposals.levels[chosen], parents=torch.tensor(parents))


def _check_grid(features: PatchFeatures, view: NetworkInput, backend: FeatureBackend) -> None:
    """Raise ValueError unless the features lie on the grid that the input and the patch size make."""
    expected = tuple(length // backend.patch_size for length in view.image.shape[:2])
    if features.grid != expected:
        raise ValueError(
            f"the features of {backend.name} have a grid of {features.grid[0]}x{features.grid[1]} patches, but patches "
            f"of {backend.patch_size} px make {expected[0]}x{expected[1]}"
        )
