"""From proposals on the patch grid to masks at the size of the image: enlarge, refine, check, resize.

Shape legend
    H, W     height and width of the image in pixels
    H', W'   height and width of the part of the network's input that shows the image
    h, w     rows and columns of the patch grid
    n        number of proposals
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from unseg_d2.levels import granularities, surviving_parents
from unseg_d2.masks.registry import Mode
from unseg_d2.pseudo.crop_refine import refine_crops
from unseg_d2.pseudo.geometry import NetworkInput
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.refine import Refiner, RefineSettings
from unseg_d2.refine.registry import Upsample
from unseg_d2.structures import Place, Proposals, PseudoMask

VANISHED = "masks too small for a pixel of the image"


@dataclass(frozen=True)
class Refined:
    """Masks after the refiner, before those of another size are brought to the size of the image; on the host.

    Attributes:
        masks: ``(n, k, l)`` bool.
        kept: ``(n,)`` bool, those that the refinement has not turned down.
        scores: ``(n,)`` float32.
        confidence: ``(n, h, w)`` float32 on the patches that show the image, or ``None``.
        levels: ``(n,)`` int64, see `Proposals`; ``None`` without.
        parents: ``(n,)`` int64 positions, -1 for none.
    """

    masks: np.ndarray
    kept: np.ndarray
    scores: np.ndarray
    confidence: np.ndarray | None = None
    levels: np.ndarray | None = None
    parents: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process is sent: masks as bits."""
        return self.__dict__ | {"masks": (np.packbits(self.masks, axis=-1), self.masks.shape[-1])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        bits, columns = state["masks"]
        self.__dict__.update(state, masks=np.unpackbits(bits, axis=-1, count=columns).view(bool))


@dataclass(frozen=True)
class PostProcess:
    """What happens to proposals after the generator.

    Attributes:
        refiner: image ``(k, l, 3)`` uint8 and masks ``(n, k, l)``, bool or soft, to masks ``(n, k, l)`` bool.
        settings: where masks are refined: ``input`` at the network's input size (MaskCut, ProMerge, PriMaPs), ``image``
            at the image's own (TokenCut), ``crops`` on a crop of the image around each mask (VoteCut). A mask whose
            IoU with its refined self is below ``min_iou`` is dropped; with ``crops``, one whose *box* has a lower IoU
            stays unrefined. ``upsample`` turns patches into pixels: ``nearest`` repeats them, ``bilinear`` gives soft
            masks (PriMaPs).
        mode: see `resize_mask`.
    """

    refiner: Refiner
    settings: RefineSettings
    mode: Mode

    def __call__(self, image: np.ndarray | None, view: NetworkInput, proposals: Proposals) -> PseudoMasks:
        """Return the masks of an image at its own size, in the order of the proposals, without empty ones.

        Args:
            image: ``(H, W, 3)`` uint8; may be ``None`` unless `needs_image`.
            view: how the network saw it.
            proposals: on the patch grid of the whole input, padding included.
        """
        return self.finish(self.refine(image, view, proposals), view.size)

    @property
    def needs_image(self) -> bool:
        """Whether masks are refined on the image at its own size."""
        return self.settings.where != "input"

    @property
    def is_on_card(self) -> bool:
        """Whether the refiner computes on a GPU."""
        device = getattr(self.refiner, "device", getattr(self.refiner, "keywords", {}).get("device"))
        return getattr(device, "type", "cpu") != "cpu"

    def refine(self, image: np.ndarray | None, view: NetworkInput, proposals: Proposals) -> Refined:
        """Enlarge and refine proposals; for arguments see `__call__`."""
        scores = proposals.scores.cpu().numpy()
        if not len(proposals):
            return Refined(np.zeros((0, *view.size), bool), np.zeros(0, bool), scores)
        patches = proposals.masks.cpu().numpy()
        masks, kept = getattr(self, f"_at_{self.settings.where}")(image, view, patches)
        confidence = None if proposals.confidence is None else shown_part(proposals.confidence.cpu().numpy(), view)
        return Refined(masks, kept, scores, confidence, *layers_of(proposals))

    def finish(self, refined: Refined, size: tuple[int, int]) -> PseudoMasks:
        """Bring refined masks to the size ``(H, W)`` of their image, and leave out empty ones."""
        found, vanished, left = PseudoMasks(), 0, np.zeros(len(refined.kept), bool)
        for index in np.flatnonzero(refined.kept):
            mask = refined.masks[index]
            if mask.shape != size:
                mask = resize_mask(mask, *size, self.mode)
            if mask.any():
                cells = None if refined.confidence is None else refined.confidence[index]
                found.append(PseudoMask(mask, float(refined.scores[index]), cells))
                left[index] = True
            else:
                vanished += 1
        if not len(refined.kept):
            return found
        if refined.levels is not None and refined.parents is not None:
            found[:] = placed(found, refined.levels[left], surviving_parents(refined.parents.tolist(), left.tolist()))
        refused = int((~refined.kept).sum())  # on crops, masks that fail stay unrefined
        counts = Counter({VANISHED: vanished})
        counts[VANISHED if self.settings.where == "crops" else "REFINE.MIN_IOU"] += refused
        found.rejected = dict(+counts)
        return found

    def _at_input(self, image: object, view: NetworkInput, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = view.shown
        raw = enlarge(patches, view.image.shape[:2], self.settings.upsample)[:, :height, :width]
        return self._refined(shown_pixels(view), raw)

    def _at_image(self, image: np.ndarray, view: NetworkInput, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._refined(image, self._on_image(view, patches))

    def _at_crops(self, image: np.ndarray, view: NetworkInput, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raw = view.to_image(patches)
        masks, _ = refine_crops(image, raw, self.refiner, min_box_iou=self.settings.min_iou)
        return masks, np.any(masks, axis=(1, 2))

    def _on_image(self, view: NetworkInput, patches: np.ndarray) -> np.ndarray:
        if self.settings.upsample == "nearest":
            return view.to_image(patches)
        return view.to_image(enlarge(patches, view.image.shape[:2], "bilinear"))

    def _refined(self, pixels: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        refined = self.refiner(pixels, raw)
        return refined, np.asarray(mask_iou(raw > 0.5, refined) >= self.settings.min_iou)


def shown_pixels(view: NetworkInput) -> np.ndarray:
    """Return the pixels of a network's input that show the image, ``(H', W', 3)`` uint8."""
    return view.rounded[: view.shown[0], : view.shown[1]]


def layers_of(proposals: Proposals) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the levels and the parents of proposals, on the host; ``None`` where they have none."""
    levels, parents = (None if one is None else one.cpu().numpy() for one in (proposals.levels, proposals.parents))
    return levels, parents


def placed(masks: Sequence[PseudoMask], levels: np.ndarray, parents: Sequence[int]) -> list[PseudoMask]:
    """Return masks with their places: how coarse each is follows from the areas that are left.

    Args:
        masks: of an image, none of them empty.
        levels: ``(n,)`` layer of each.
        parents: ``(n,)`` position of the smallest mask that contains each one, -1 for none.
    """
    coarse = granularities([int(found.mask.sum()) for found in masks], parents)
    places = (
        Place(int(level), float(share), node, None if parent < 0 else parent)
        for node, (level, share, parent) in enumerate(zip(levels, coarse, parents))
    )
    return [replace(found, place=place) for found, place in zip(masks, places)]


def enlarge(masks: np.ndarray, size: tuple[int, int], how: Upsample) -> np.ndarray:
    """Enlarge masks ``(n, h, w)`` bool from patches to pixels.

    Args:
        masks: ``(n, h, w)``.
        size: height and width.
        how: ``nearest`` gives bool, ``bilinear`` float32 in [0, 1], pixel centres aligned.

    Returns:
        ``(n, *size)``.
    """
    if how == "bilinear":
        soft = [cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) for mask in masks]
        return np.stack(soft)
    rows, columns = (np.arange(side) * length // side for side, length in zip(size, masks.shape[1:]))
    return masks[:, rows[:, None], columns]


def mask_iou(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of each of ``(n, k, l)`` bool masks with its partner, ``(n,)``; 0 where both are empty."""
    intersection = (masks & others).sum((1, 2))
    return intersection / np.maximum((masks | others).sum((1, 2)), 1)


def resize_mask(mask: np.ndarray, height: int, width: int, mode: Mode) -> np.ndarray:
    """Stretch a mask from the network's input to the size of its image.

    ``default`` interpolates linearly and keeps pixels covered by half or more. ``parity`` interpolates cubically and
    keeps pixels above half of the largest value, as the published code does with Pillow 7 and later.

    Args:
        mask: ``(k, l)`` bool.
        height: H.
        width: W.
        mode: ``default`` or ``parity``.

    Returns:
        ``(H, W)`` bool, possibly empty: a small object can vanish when the image is smaller than the input.
    """
    method = Image.Resampling.BICUBIC if mode == "parity" else Image.Resampling.BILINEAR
    resized = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), method))
    return resized > resized.max() / 2 if mode == "parity" else resized >= 128


def shown_part(confidence: np.ndarray, view: NetworkInput) -> np.ndarray:
    """The patches ``(n, h, w)`` that show the image, without those of padding alone."""
    rows, columns = (
        -(-shown * length // total) for shown, length, total in zip(view.shown, confidence.shape[1:], view.image.shape)
    )
    return confidence[:, :rows, :columns]
