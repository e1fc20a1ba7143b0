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
from fvcore.common.config import CfgNode

from unseg_d2.data.images import ImageFile
from unseg_d2.depth import GridDepth, build_depth
from unseg_d2.errors import UnsegError
from unseg_d2.features import FeatureBackend, build_features, join_members
from unseg_d2.features.registry import Resize
from unseg_d2.masks import ProposalGenerator, build_generator
from unseg_d2.pseudo.geometry import NetworkInput, network_input
from unseg_d2.pseudo.post_process import PostProcess
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.refine import RefineSettings, refiner_from_config
from unseg_d2.structures import PatchFeatures, Proposals


@dataclass(frozen=True)
class MaskPipeline:
    """Everything between an image and its pseudo-masks.

    Attributes:
        features: backend that describes the resized image, or an ensemble of backends.
        generator: finds proposals on the patch grid.
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
        views, features = self.describe(images, files)
        found = []
        for image, view, proposals in zip(images, views, self.generator(features), strict=True):
            chosen = best(proposals, self.max_proposals)
            masks = self.post_process(image, view, chosen)
            masks.left_out = len(proposals) - len(chosen)
            masks.rejected = {**proposals.rejected, **masks.rejected}
            found.append(masks)
        return found

    def describe(
        self, images: Sequence[np.ndarray], files: Sequence[ImageFile] | None = None
    ) -> tuple[list[NetworkInput], list[PatchFeatures]]:
        """Return how the network sees each image, and its features, with depth where there is a source.

        Args:
            images: ``(H, W, 3)`` uint8 RGB each.
            files: where the images come from.
        """
        members = getattr(self.features, "members", None)
        if members is None:
            views, features = self._look(self.features, self.image_size, images)
        else:
            looks = [self._look(backend, size, images) for backend, size in members]
            views, features = looks[0][0], join_members([described for _, described in looks])
        if self.depth is not None:
            files = files or [ImageFile(Path("image"), "image")] * len(images)
            depth = [
                self.depth([image], [file], described.grid, view.shown_share)[0]
                for image, file, described, view in zip(images, files, features, views, strict=True)
            ]
            features = [replace(described, depth=found) for described, found in zip(features, depth)]
        return views, features

    def _look(
        self, backend: FeatureBackend, side: int, images: Sequence[np.ndarray]
    ) -> tuple[list[NetworkInput], list[PatchFeatures]]:
        """Show images to one backend, those of one size together."""
        views = [network_input(image, backend.patch_size, self.resize, side) for image in images]
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, view in enumerate(views):
            groups.setdefault((*view.image.shape, view.image.dtype == np.uint8), []).append(index)
        features: dict[int, PatchFeatures] = {}
        for members in groups.values():
            for index, described in zip(members, backend([views[index].image for index in members]), strict=True):
                _check_grid(described, views[index], backend)
                features[index] = described
        return views, [features[index] for index in range(len(views))]


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
    return MaskPipeline(
        features=build_features(cfg),
        generator=generator,
        post_process=post_process,
        image_size=cfg.FEATURES.IMAGE_SIZE,
        resize=cfg.FEATURES.RESIZE,
        depth=None if source is None else GridDepth(source, Path(cfg.DEPTH.CACHE) if cfg.DEPTH.CACHE else None),
        max_proposals=cfg.MASKS.MAX_PROPOSALS,
    )


def best(proposals: Proposals, count: int) -> Proposals:
    """Return the ``count`` proposals of highest score in the order that they have; all of them for 0."""
    if not 0 < count < len(proposals):
        return proposals
    chosen = proposals.scores.argsort(descending=True, stable=True)[:count].sort().values
    confidence = None if proposals.confidence is None else proposals.confidence[chosen]
    return Proposals(proposals.masks[chosen], proposals.scores[chosen], confidence, proposals.rejected)


def _check_grid(features: PatchFeatures, view: NetworkInput, backend: FeatureBackend) -> None:
    """Raise ValueError unless the features lie on the grid that the input and the patch size make."""
    expected = tuple(length // backend.patch_size for length in view.image.shape[:2])
    if features.grid != expected:
        raise ValueError(
            f"the features of {backend.name} have a grid of {features.grid[0]}x{features.grid[1]} patches, but patches "
            f"of {backend.patch_size} px make {expected[0]}x{expected[1]}"
        )
