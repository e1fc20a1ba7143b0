"""Compare the linear saliency heads with the authors' code and weights, from clones of their repositories.

    python benchmarks/official_heads.py --dino CLONE --found CLONE --unionseg CLONE --data FOLDER

The clones are of facebookresearch/dino, valeoai/FOUND and YFaris/UnionCut; the weights of the heads are in the latter
two. The transformer gets the same weights on both sides: those of --vit, or random ones, whose masks mean nothing, but
must agree all the same. Printed are the largest difference of the soft masks, and the share of pixels on which the
masks, cut at one half, differ; for FOUND also after the bilateral solver. No code of the clones is part of this
project; it runs from where they lie, without a GPU and without its downloads.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

sys.path.insert(0, str(Path(__file__).parents[1]))
from unseg_d2.data.images import list_images, read_image
from unseg_d2.features.weights import create_vit
from unseg_d2.pixels import normalise
from unseg_d2.saliency.load import load_saliency_model

HEADS = {"found": "data/weights/decoder_weights.pt", "unionseg": "UnionSeg/module/decoder_weights_niter600.pt"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dino", type=Path, required=True, help="clone of facebookresearch/dino")
    parser.add_argument("--found", type=Path, help="clone of valeoai/FOUND")
    parser.add_argument("--unionseg", type=Path, help="clone of YFaris/UnionCut")
    parser.add_argument("--data", type=Path, required=True, help="folder of images")
    parser.add_argument("--limit", type=int, default=10, help="number of images")
    parser.add_argument("--vit", type=Path, help="weights of DINO's ViT-S/8 (default: random ones)")
    args = parser.parse_args()
    if args.vit is None:
        with tempfile.TemporaryDirectory() as folder:
            compare(args, random_vit(Path(folder) / "random.pth"))
    else:
        compare(args, args.vit)


def compare(args: argparse.Namespace, vit: Path) -> None:
    """Compare each head that there is a clone of."""
    images = [read_image(file.path) for file in list_images(args.data)[: args.limit]]
    for name, folder in (("found", args.found), ("unionseg", args.unionseg)):
        if folder:
            with the_clone(folder, args.dino, vit):
                published = {"found": found_masks, "unionseg": unionseg_masks}[name](folder, images)
            report(name, folder / HEADS[name], vit, images, published)


def report(name: str, head: Path, vit: Path, images: list[np.ndarray], published: dict[str, list[np.ndarray]]) -> None:
    """Print a line per kind of mask."""
    for kind, theirs in published.items():
        extra = ["SALIENCY.LINEAR.BILATERAL", kind == "solved", "FEATURES.WEIGHTS", str(vit)]
        model, _ = load_saliency_model(head, [*extra, "FEATURES.DEVICE", "cpu"])
        ours = model(images)
        soft = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs))
        cut = np.mean([np.mean((a > 0.5) != (b > 0.5)) for a, b in zip(ours, theirs)])
        share = np.mean([np.mean(b > 0.5) for b in theirs])
        difference = f"largest difference {soft:.1e}, " if kind == "soft" else ""
        print(f"{name}, {kind}: {difference}{100 * cut:.4f} % of the pixels differ once cut ({len(images)} images, "
              f"{100 * share:.1f} % foreground)")  # fmt: skip


def found_masks(folder: Path, images: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Return FOUND's soft masks, and those after its bilateral solver."""
    model = importlib.import_module("model").FoundModel()
    model.decoder_load_weights(str(folder / HEADS["found"]))
    solve = importlib.import_module("misc").batch_apply_bilateral_solver
    masks: dict[str, list[np.ndarray]] = {"soft": [], "solved": []}
    for image in images:
        pixels, (height, width) = (
            transforms.to_dtype(torch.from_numpy(image).permute(2, 0, 1), scale=True),
            image.shape[:2],
        )
        with torch.no_grad():
            logits = model.forward_step(normalise(pixels)[None], for_eval=True)[0]
        grown = nn.functional.interpolate(logits, scale_factor=8, mode="bilinear", align_corners=False)
        soft = grown[..., :height, :width].sigmoid()
        batch = (pixels[None], pixels[None], torch.zeros(1, height, width), [""])
        solved, _ = solve(batch, (soft > 0.5).squeeze(0).float(), get_all_cc=True)
        masks["soft"].append(soft[0, 0].numpy())
        masks["solved"].append(solved.float().numpy())
    return masks


def unionseg_masks(folder: Path, images: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Return UnionSeg's foreground at the size of the images."""
    inference = importlib.import_module("inference")
    with patch.object(inference.configs, "UnionSegCheckPoint", str(folder / HEADS["unionseg"])):
        model = inference.UnionSegMaster.load_pretrained_UnionSeg()
    unions = []
    for image in images:
        bgr = np.ascontiguousarray(image[..., ::-1])
        master = inference.UnionSegMaster(bgr, pretrained_UnionSeg=model, pretrained_dino=nn.Identity(), use_cupy=False)
        unions.append(master.returnUnion(resize=True).astype(np.float32))
    return {"cut": unions}


def random_vit(path: Path) -> Path:
    """Write random weights of a ViT-S/8 in DINO's names, which are timm's."""
    torch.manual_seed(0)
    state = create_vit("dino_vits8").state_dict()
    torch.save({name: tensor + 0.02 * torch.randn_like(tensor) for name, tensor in state.items()}, path)
    return path


@contextmanager
def the_clone(folder: Path, dino: Path, vit: Path) -> Iterator[None]:
    """Make the modules of a clone importable, on the CPU, and with the given weights in place of a download."""
    before, paths = set(sys.modules), list(sys.path)
    package = ModuleType("dino")
    package.__path__ = [str(dino)]
    stubs: dict[str, Any] = {name: MagicMock() for name in ("cupy", "CRF", "CRF.crf")} | {"dino": package}
    solver = scipy.sparse.linalg.cg
    state = torch.load(vit, map_location="cpu", weights_only=True)

    def cg(*args: Any, tol: float = 1e-5, **more: Any) -> Any:  # the name that SciPy dropped
        return solver(*args, rtol=tol, **more)

    def stay(self: Any, *args: Any, **more: Any) -> Any:
        return self

    sys.path[:0] = [str(folder), str(folder / "UnionSeg"), str(folder / "UnionCut"), str(dino)]
    try:
        with (
            patch.dict(sys.modules, stubs),
            patch.object(torch, "load", functools.partial(torch.load, map_location="cpu")),
            patch.object(torch.hub, "load_state_dict_from_url", lambda **_: state),
            patch.object(scipy.sparse.linalg, "cg", cg),
            patch.object(Tensor, "cuda", stay),
            patch.object(nn.Module, "cuda", stay),
            patch.object(nn.Module, "to", stay),
        ):
            yield
    finally:
        sys.path[:] = paths
        for name in set(sys.modules) - before:
            if str(folder) in str(getattr(sys.modules[name], "__file__", "")) or str(dino) in str(
                getattr(sys.modules[name], "__file__", "")
            ):
                del sys.modules[name]


if __name__ == "__main__":
    main()
