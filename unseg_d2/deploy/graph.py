"""The built-in detector as one function of tensors, which exporters can follow: no lists, no Python numbers of data.

It computes what `GeneralizedRCNN` does in evaluation mode, with the same parts, for one image of any size.

Shape legend
    H, W   height and width of the image that the network sees
    A      anchors of one level
    R      proposals
    n      detections
    M      side of a predicted mask
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unseg_d2.detectors.builtin.batch import SIZE_DIVISIBILITY
from unseg_d2.detectors.builtin.box_coder import clip_boxes, is_nonempty
from unseg_d2.detectors.builtin.mask_head import select_masks
from unseg_d2.detectors.builtin.model import GeneralizedRCNN
from unseg_d2.detectors.builtin.roi_pool import PyramidRoIAlign, assign_levels

OUTPUTS = ("boxes", "scores", "classes", "masks")


class DetectorGraph(nn.Module):
    """A detector for export: an image to detections in pixels of the original image.

    Args:
        model: in evaluation mode; its weights are shared.
        half: compute backbone, pyramid and heads in half precision; boxes, pooling and selection stay float32.
        always_two: for `torch.export`, see :func:`nms_within_groups`.
    """

    def __init__(self, model: GeneralizedRCNN, *, half: bool = False, always_two: bool = False) -> None:
        super().__init__()
        self._nms = partial(nms_within_groups, always_two=always_two)
        self.model = model.eval().requires_grad_(False)
        self.dtype = torch.float16 if half else torch.float32
        if half:
            for part in (model.backbone, model.rpn.head, *_heads(model)):
                part.half()

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """Detect the objects of one image.

        Args:
            image: ``(H, W, 3)`` uint8 RGB, resized as the recipe says.
            size: ``(2,)`` int64, height and width of the original image, which the boxes refer to.

        Returns:
            ``boxes`` ``(n, 4)`` float32 xyxy, ``scores`` ``(n,)`` float32 best first, ``classes`` ``(n,)`` int64 and,
            with a mask branch, ``masks`` ``(n, M, M)`` float32 probabilities within the box.
        """
        model = self.model
        limits = torch.tensor([image.shape[1], image.shape[0]] * 2, dtype=torch.float32, device=image.device)
        maps = model.backbone(self._input(image))
        proposals = self._propose([maps[name] for name in model.rpn_levels], limits)
        features = [maps[name].float() for name in model.roi_levels]
        boxes, scores, classes = self._classify(features, proposals, limits)
        scale = size.flip(0).float().repeat(2) / limits
        original = clip_boxes(boxes * scale, size.flip(0).float().repeat(2))
        kept = is_nonempty(original).nonzero()[:, 0]
        found = original[kept], scores[kept], classes[kept]
        if model.roi_heads.mask_head is None:
            return found
        return *found, self._masks(features, boxes[kept], classes[kept])

    def _input(self, image: Tensor) -> Tensor:
        """Return the image normalised and padded, ``(1, 3, H', W')``."""
        model = self.model
        pixels = image.permute(2, 0, 1).float()
        pixels = pixels.flip(0) if model.flip_channels else pixels
        pixels = (pixels - model.pixel_mean) / model.pixel_std
        height, width = image.shape[0], image.shape[1]
        below, right = -height % SIZE_DIVISIBILITY, -width % SIZE_DIVISIBILITY
        return F.pad(pixels[None], (0, right, 0, below)).to(self.dtype)

    def _propose(self, features: Sequence[Tensor], limits: Tensor) -> Tensor:
        """Return the proposals ``(R, 4)``, best first; see `RegionProposalNetwork`."""
        rpn, chosen = self.model.rpn, self.model.rpn.test_selection
        boxes, scores, levels = [], [], []
        logits, deltas = rpn.head(list(features))
        for level, anchors in enumerate(rpn.anchors(features)):
            objectness = logits[level].float().permute(0, 2, 3, 1).reshape(-1)
            offsets = deltas[level].float().unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).reshape(-1, 4)
            score, index = objectness.topk(torch.sym_min(objectness.shape[0], chosen.pre_nms_topk))
            boxes.append(rpn.coder.decode(offsets[index], anchors[index]))
            scores.append(score)
            levels.append(torch.full_like(index, level))
        together, objectness, groups = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
        finite = torch.isfinite(together).all(dim=1) & torch.isfinite(objectness)
        together = clip_boxes(together, limits)
        keep = (finite & is_nonempty(together, chosen.min_size)).nonzero()[:, 0]
        together, objectness, groups = together[keep], objectness[keep], groups[keep]
        return together[self._nms(together, objectness, groups, chosen.nms_thresh)[: chosen.post_nms_topk]]

    def _classify(self, features: Sequence[Tensor], boxes: Tensor, limits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes ``(n, 4)``, scores and classes; see `RoIHeads.predict` and `select_detections`."""
        heads = self.model.roi_heads
        stages, total = len(heads.box_head), torch.zeros((), device=boxes.device)
        for stage in range(stages):
            boxes = clip_boxes(boxes, limits) if stage else boxes
            pooled = pool(heads.box_pool, features, boxes).to(self.dtype)
            logits, deltas = heads.box_predictor[stage](heads.box_head[stage](pooled))
            boxes = heads.coders[stage].decode(deltas, boxes)
            total = total + logits.float().softmax(dim=1)
        scores = total * (1.0 / stages)
        finite = (torch.isfinite(boxes).all(dim=1) & torch.isfinite(scores).all(dim=1)).nonzero()[:, 0]
        boxes, scores = clip_boxes(boxes[finite].unflatten(1, (-1, 4)), limits), scores[finite, :-1]
        good = (scores > heads.selection["score_thresh"]).nonzero()
        roi, label = good[:, 0], good[:, 1]
        boxes = boxes[roi, label] if boxes.shape[1] > 1 else boxes[roi, 0]
        scores = scores[roi, label]
        keep = self._nms(boxes, scores, label, heads.selection["nms_thresh"])
        topk = heads.selection["topk"]
        keep = keep[:topk] if topk >= 0 else keep
        return boxes[keep], scores[keep], label[keep]

    def _masks(self, features: Sequence[Tensor], boxes: Tensor, classes: Tensor) -> Tensor:
        heads = self.model.roi_heads
        assert heads.mask_pool is not None and heads.mask_head is not None
        logits = heads.mask_head(pool(heads.mask_pool, features, boxes).to(self.dtype))
        return select_masks(logits, classes).float().sigmoid()


def pool(pooling: PyramidRoIAlign, features: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """Return ``(R, C, S, S)``, the features of boxes of one image; see `PyramidRoIAlign`."""
    rois = F.pad(boxes, (1, 0))  # all of image 0
    if len(features) == 1:
        return pooling._pool(features[0], rois, pooling.strides[0])
    levels = assign_levels(boxes, pooling.strides)
    indices = [(levels == level).nonzero()[:, 0] for level in range(len(features))]
    parts = [pooling._pool(*each) for each in zip(features, (rois[index] for index in indices), pooling.strides)]
    return torch.cat(parts)[torch.cat(indices).argsort()]


def nms_within_groups(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float, *, always_two: bool = False) -> Tensor:
    """Return the indices that non-maximum suppression keeps, best first; boxes of other groups do not compete.

    The groups are moved apart, as torchvision does for few boxes.

    Args:
        boxes: ``(m, 4)`` xyxy.
        scores: ``(m,)``.
        groups: ``(m,)`` int64.
        iou: above which the lower-scoring box of two is dropped.
        always_two: let two boxes take part that overlap no other, and leave them out of what is returned: torchvision
            tells `torch.export` that at least two boxes are kept, which then is checked in every call.
    """
    furthest = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max()
    apart = boxes + (groups.to(boxes) * (furthest + 1))[:, None]
    if always_two:
        outside = boxes.new_tensor([[-3.0, -3.0, -2.0, -2.0], [-6.0, -6.0, -5.0, -5.0]])
        apart = torch.cat([outside, apart])
        scores = torch.cat([scores.new_full((2,), torch.finfo(scores.dtype).min), scores])
    kept: Tensor = torch.ops.torchvision.nms(apart, scores, iou)
    return kept[(kept > 1).nonzero()[:, 0]] - 2 if always_two else kept


def _heads(model: GeneralizedRCNN) -> list[nn.Module]:
    heads = model.roi_heads
    parts = [*heads.box_head, *heads.box_predictor]
    return parts if heads.mask_head is None else [*parts, heads.mask_head]
