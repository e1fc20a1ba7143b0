"""Proposals of a batch of images refined on a card: enlarged, refined and resized there, and copied down once.

Shape legend
    h, w   rows and columns of the patch grid
    k, l   height and width of the pixels that masks are refined on
    H, W   height and width of the image
    n      proposals of one image
    N      proposals of all images of a group, one image after another
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unseg_d2.pseudo.geometry import NetworkInput
from unseg_d2.pseudo.looks import Look
from unseg_d2.pseudo.post_process import PostProcess, Refined, layers_of, shown_part, shown_pixels
from unseg_d2.pseudo.resize_together import resize_together
from unseg_d2.refine import CardRefiner
from unseg_d2.refine.registry import FOREGROUND
from unseg_d2.structures import Proposals
from unseg_d2.transfer import to_card, to_host

MOST_PIXELS = 2**24  # of an image's masks that are resized on the card; larger ones are left to the host, one at a time


def refine_together(post_process: PostProcess, looks: Sequence[Look], found: Sequence[Proposals]) -> list[Refined]:
    """Return what :meth:`PostProcess.refine` returns for each image, masks at the size of the image where they fit.

    Images whose masks are refined on equally many pixels share the refiner's steps. A card is waited for to learn
    that the holes of a group are filled, and for the copy of all that was found; a CRF waits for its lattice as well.
    Crops differ in size, and a refiner of a plug-in takes one image: these go one after another.

    Args:
        post_process: whose refiner runs on a card.
        looks: the images.
        found: the proposals of each, on the host.
    """
    refiner = post_process.refiner
    if post_process.settings.where == "crops" or not isinstance(refiner, CardRefiner):
        return [post_process.refine(look.image, look.views[0], one) for look, one in zip(looks, found, strict=True)]
    jobs = [_Job(i, *_seen(post_process, look), one) for i, (look, one) in enumerate(zip(looks, found)) if len(one)]
    groups: dict[tuple[int, ...], list[_Job]] = {}
    for job in jobs:
        groups.setdefault((*job.pixels.shape, *job.view.image.shape, *job.proposals.masks.shape[1:]), []).append(job)
    with torch.inference_mode():
        on_card = [part for group in groups.values() for part in _refined(post_process, refiner, group)]
        on_host = iter(to_host(*(tensor for part in on_card for tensor in part)))
    refined: dict[int, Refined] = {}
    for job in (job for group in groups.values() for job in group):
        masks, shared, covered = (next(on_host).numpy() for _ in range(3))
        kept = np.asarray(shared / np.maximum(covered, 1) >= post_process.settings.min_iou)
        confidence = job.proposals.confidence
        shown = None if confidence is None else shown_part(confidence.numpy(), job.view)
        refined[job.index] = Refined(masks, kept, job.proposals.scores.numpy(), shown, *layers_of(job.proposals))
    without = (post_process.refine(look.image, look.views[0], one) for look, one in zip(looks, found) if not len(one))
    return [refined[i] if i in refined else next(without) for i in range(len(looks))]


@dataclass(frozen=True)
class _Job:
    """An image whose proposals are refined: its place in the batch, and the pixels ``(k, l, 3)`` that are looked at."""

    index: int
    pixels: np.ndarray
    view: NetworkInput
    proposals: Proposals


def _seen(post_process: PostProcess, look: Look) -> tuple[np.ndarray, NetworkInput]:
    view = look.views[0]
    if not post_process.needs_image:
        return shown_pixels(view), view
    assert look.image is not None
    return look.image, view


def _refined(post_process: PostProcess, refiner: CardRefiner, group: list[_Job]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Refine a group of images whose pixels, inputs and grids have one size.

    Returns:
        For each image, on the card: masks ``(n, H, W)`` or ``(n, k, l)`` bool; and of each mask before and after
        refinement, ``(n,)`` int64, how many pixels are in both, and how many in either.
    """
    counts = [len(job.proposals) for job in group]
    images = torch.from_numpy(np.stack([job.pixels.transpose(2, 0, 1) for job in group]))
    patches = to_card(torch.cat([job.proposals.masks for job in group]), refiner.device)
    raw = _enlarged(post_process, group[0].view, patches)
    refined = refiner.refine(images, raw, counts)
    foreground = raw if raw.dtype == torch.bool else raw > FOREGROUND
    shared, covered = (part.flatten(1).sum(1) for part in (foreground & refined, foreground | refined))
    sized = [_sized(post_process, job, masks) for job, masks in zip(group, refined.split(counts))]
    return list(zip(sized, shared.split(counts), covered.split(counts)))


def _sized(post_process: PostProcess, job: _Job, masks: Tensor) -> Tensor:
    """Masks ``(n, k, l)`` at the size of their image, unless that is too large."""
    height, width = job.view.size
    if masks.shape[1:] == (height, width) or len(masks) * height * width > MOST_PIXELS:
        return masks
    return resize_together(masks, height, width, post_process.mode)


def _enlarged(post_process: PostProcess, view: NetworkInput, patches: Tensor) -> Tensor:
    """Patches ``(N, h, w)`` bool as masks ``(N, k, l)``, bool or, where they are interpolated, float32 in [0, 1]."""
    size, settings = view.image.shape[:2], post_process.settings
    if settings.upsample == "bilinear":
        patches = _interpolated(_interpolated(patches.float(), 2, size[1]), 1, size[0])
        if not post_process.needs_image:
            return patches[:, : view.shown[0], : view.shown[1]]
    if post_process.needs_image:
        rows, columns = view.sources(patches.shape[1:])
    else:
        rows, columns = (
            np.arange(shown) * cells // side for shown, cells, side in zip(view.shown, patches.shape[1:], size)
        )
    for axis, places in ((1, rows), (2, columns)):
        patches = patches.index_select(axis, to_card(torch.from_numpy(places), patches.device))
    return patches


def _interpolated(maps: Tensor, axis: int, length: int) -> Tensor:
    """Enlarge maps ``(N, h, w)`` float32 along an axis, linearly between the centres of their cells."""
    cells = maps.shape[axis]
    places = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)
    first = np.minimum(places.astype(np.int64), max(0, cells - 2))
    share = (places - first).astype(np.float32).reshape(-1, *[1] * (2 - axis))
    below, above, weight = (
        to_card(torch.from_numpy(part), maps.device) for part in (first, np.minimum(first + 1, cells - 1), share)
    )
    return torch.lerp(maps.index_select(axis, below), maps.index_select(axis, above), weight)
