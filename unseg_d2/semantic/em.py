"""PriMaPs-EM (Hahn et al., TMLR 2024): pseudo-labels from momentum prototypes, an average of those learned.

E-step: the momentum prototypes label each pixel of an image, and each proposal takes the label that most of its pixels
have. M-step: the running prototypes learn these labels on a photometrically changed view of the image. Then the
momentum prototypes move towards the running ones.

Bilinear interpolation and prototypes are both linear, so the K inner products are enlarged and not the C features: the
result is the same, for a fraction of the memory.

Shape legend
    b      images
    C      feature channels
    h, w   rows and columns of the patch grid
    H, W   height and width of the view in pixels
    K      classes
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unseg_d2.losses.class_focal import IGNORE, class_focal_loss
from unseg_d2.semantic.prototypes import Prototypes

MAX_PROPOSALS = 254
"""Proposals of an image have ids from 1 to this; 0 and 255 mean no proposal."""


class PriMaPsEM(nn.Module):
    """Everything that PriMaPs-EM learns.

    Args:
        directions: ``(K, C)``, the prototypes to start from.
        probe: whether to learn a linear probe too, which needs labels and is for evaluation only.
        head: frozen network that turns the backbone's features into those that are clustered (STEGO, HP), or ``None``.

    Attributes:
        running: prototypes that the optimiser changes (theta_R).
        momentum: moving average of them, which gives the labels (theta_M).
        updates: number of updates of the momentum prototypes.
        probe: ``1 x 1`` convolution with bias, or ``None``; nothing else learns from it.
    """

    updates: Tensor

    def __init__(self, directions: Tensor, *, probe: bool, head: nn.Module | None = None) -> None:
        super().__init__()
        self.head = head
        classes, channels = directions.shape
        self.running = Prototypes(directions)
        self.momentum = Prototypes(directions).requires_grad_(False)
        self.probe = nn.Conv2d(channels, classes, 1) if probe else None
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def pseudo_labels(self, features: Tensor, proposals: Tensor) -> Tensor:
        """E-step: one class per proposal.

        Args:
            features: ``(b, C, h, w)`` of the clean view.
            proposals: ``(b, H, W)`` uint8 ids, see :data:`MAX_PROPOSALS`.

        Returns:
            ``(b, H, W)`` int64 in [0, K), 255 outside the proposals.
        """
        # max is many times faster than argmax on a CPU.
        predictions = enlarge(self.momentum(features), proposals.shape[1:]).max(1).indices
        return majority_vote(predictions, proposals, len(self.momentum.directions))

    def loss(self, features: Tensor, labels: Tensor, gamma: float) -> Tensor:
        """M-step: class-focal loss of the running prototypes on features ``(b, C, h, w)`` of the changed view."""
        return class_focal_loss(enlarge(self.running(features), labels.shape[1:]), labels, gamma)

    def probe_loss(self, features: Tensor, truth: Tensor) -> Tensor:
        """Cross entropy of the linear probe with true labels ``(b, H, W)`` int64, 255 where there are none."""
        assert self.probe is not None, "there is no probe"
        logits = enlarge(self.probe(features), truth.shape[1:])
        total = F.cross_entropy(logits, truth, ignore_index=IGNORE, reduction="sum")
        return total / (truth != IGNORE).sum().clamp_min(1)

    @torch.no_grad()
    def update_momentum(self, decay: float) -> None:
        """Move the momentum prototypes towards the running ones, directions and lengths alike; see `momentum_decay`."""
        self.updates += 1
        keep = momentum_decay(int(self.updates), decay)
        for average, value in zip(self.momentum.parameters(), self.running.parameters()):
            average.mul_(keep).add_(value, alpha=1 - keep)


def momentum_decay(update: int, target: float) -> float:
    """Return the share of the average that the n-th update keeps: 0, 0, 2/3, 3/4 ... up to ``target``.

    The first updates make the average a plain mean of the values so far, in which the second value stands in for the
    first too, as in the published code.

    Args:
        update: n, from 1.
        target: largest decay, in [0, 1).

    >>> [round(momentum_decay(n, 0.98), 3) for n in (1, 2, 3, 4, 49, 50, 60)]
    [0.0, 0.0, 0.667, 0.75, 0.98, 0.98, 0.98]
    """
    return min(target, (update - 1) / update) if update > 2 else 0.0


def enlarge(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Interpolate ``(b, K, h, w)`` bilinearly to ``(b, K, H, W)``, pixel centres aligned."""
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def majority_vote(predictions: Tensor, proposals: Tensor, num_classes: int) -> Tensor:
    """Give all pixels of a proposal the class that most of them have; of two equally frequent ones the first.

    Args:
        predictions: ``(b, H, W)`` int64 in [0, K).
        proposals: ``(b, H, W)`` uint8 ids; 0 and 255 are no proposal.
        num_classes: K.

    Returns:
        ``(b, H, W)`` int64 in [0, K), 255 outside the proposals.

    Raises:
        ValueError: the two have different sizes.
    """
    if predictions.shape != proposals.shape:
        raise ValueError(
            f"proposals {tuple(proposals.shape)} do not have the size of the image {tuple(predictions.shape)}"
        )
    ids = proposals.long()
    ids = ids + 256 * torch.arange(len(ids), device=ids.device)[:, None, None]  # unique within the batch
    votes = torch.bincount((ids * num_classes + predictions).flatten(), minlength=256 * len(ids) * num_classes)
    winners = votes.view(-1, num_classes).argmax(1)
    return torch.where((proposals == IGNORE) | (proposals == 0), IGNORE, winners[ids])
