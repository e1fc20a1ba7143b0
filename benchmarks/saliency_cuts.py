"""Normalised cut and size of the true masks, TokenCut's and those of a trained head, on the graph that both cut.

    python benchmarks/saliency_cuts.py --weights output/saliency/descriptors/model_final.pth --data ecssd_dev

Shows whether a head that scores low fails to minimise its loss, or whether the minimum is not the object.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch

from unseg_d2.losses import binary_graph, ncut_loss
from unseg_d2.masks import TokenCutSettings
from unseg_d2.masks.tokencut import tokencut
from unseg_d2.pixels import resize
from unseg_d2.saliency.datasets import load_saliency, read_salient
from unseg_d2.saliency.load import load_saliency_model
from unseg_d2.saliency.views import centre_view, normalised
from unseg_d2.structures import Proposals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help="checkpoint of train-saliency")
    parser.add_argument("--data", required=True, help="data set with masks, as for evaluate saliency")
    parser.add_argument("--every", type=int, default=1, help="every n-th image")
    args = parser.parse_args()
    rows = {}
    for name, cut, area, iou in measured(args):
        rows.setdefault(name, []).append((cut, area, iou))
    count = len(next(iter(rows.values())))
    print(f"{'mean of ' + str(count) + ' images':<30} {'normalised cut':>14} {'% of patches':>13} {'IoU':>6}")
    for name, values in rows.items():
        cut, area, iou = np.mean(values, axis=0)
        print(f"{name:<30} {cut:14.2f} {100 * area:13.1f} {100 * iou:6.1f}")


@torch.no_grad()
def measured(args: argparse.Namespace) -> Iterator[tuple[str, float, float, float]]:
    """Return name, normalised cut, share of the patches and IoU with the true mask, of each mask of each image."""
    model, cfg = load_saliency_model(args.weights)
    node = cfg.SALIENCY
    for image in load_saliency(args.data)[:: args.every]:
        pixels, truth = (centre_view(one, node.IMAGE_SIZE, node.SHORTER_SIDE) for one in read_salient(image))
        tokens = model.mask.features([pixels])[0].tokens[None]
        graph = binary_graph(tokens, node.TAU, node.EPS)
        soft = model.mask.head(tokens, normalised(pixels[None])).coarse[0, 0]
        soft = 1 - soft if soft.mean() > 0.5 else soft
        right = torch.from_numpy(resize(truth, tuple(soft.shape))) > 0.5
        masks = {
            "truth": right,
            "TokenCut": only_mask(tokencut(tokens), right),
            "TokenCut on the head's graph": only_mask(
                tokencut(tokens, TokenCutSettings(tau=node.TAU, eps=node.EPS)), right
            ),
            "head, soft": soft,
            "head, cut at one half": soft > 0.5,
        }
        for name, mask in masks.items():
            hard = mask > 0.5
            iou = (hard & right).sum() / (hard | right).sum().clamp(min=1)
            yield name, float(ncut_loss(mask[None, None].float(), graph)), float(hard.float().mean()), float(iou)


def only_mask(proposals: list[Proposals], like: torch.Tensor) -> torch.Tensor:
    """Return the only mask of the only image, or an empty one if there is none."""
    (found,) = proposals
    return found.masks[0] if len(found) else torch.zeros_like(like)


if __name__ == "__main__":
    main()
