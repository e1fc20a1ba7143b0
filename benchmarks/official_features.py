"""Features of the official DINO, DINOv2 or DINOv3 code and ours, on the same weights and image.

    git clone https://github.com/facebookresearch/dino
    python benchmarks/official_features.py --repo dino [--arch dino_vits8] [--weights FILE] [--grid 12 20]

Without --weights the official network gets random ones, every parameter of it, and ours loads them from a file of the
official layout. Compared are the query, key and value of the last block, its output after the final normalisation, and
the [CLS] attention of the patches, averaged over heads. Exits with status 1 if a bar is missed. Their code is imported
and run: name only a folder that you trust.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import Tensor, nn

MAX_DEVIATION = 1e-4
"""Largest difference of a feature, relative to the largest value of its kind."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FAMILIES = {
    # family: (a file that only this repository has, the module with its networks, the default architecture)
    "dinov3": ("dinov3/hub/backbones.py", "dinov3.hub.backbones", "dinov3_vits16"),
    "dinov2": ("dinov2/hub/backbones.py", "dinov2.hub.backbones", "dinov2_vits14"),
    "dino": ("vision_transformer.py", "hubconf", "dino_vits8"),
}


def main() -> int:
    args = parse_args()
    family = find_family(args.repo)
    arch = args.arch or FAMILIES[family][2]
    network = official_network(args.repo, family, arch)
    if args.weights is None:
        randomise(network, args.seed)
    height, width = (count * patch_side(network) for count in args.grid)
    image = np.random.default_rng(args.seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = args.weights or Path(folder) / "official.pth"
        if args.weights is None:
            torch.save(network.state_dict(), path)
        else:
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        theirs, ours = official_features(network, family, image), our_features(arch, path, image)
    weights = args.weights or f"random weights, seed {args.seed}"
    print(f"{arch}, {weights}, image of {height}x{width} px, torch {torch.__version__}")
    return report(theirs, ours)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", type=Path, required=True, help="clone of the official dino, dinov2 or dinov3")
    parser.add_argument("--arch", help="architecture, as FEATURES.VIT.ARCH names it (default: the small network)")
    parser.add_argument("--weights", type=Path, help="file of published weights (default: random ones)")
    parser.add_argument("--grid", type=int, nargs=2, default=(12, 20), help="rows and columns of patches of the image")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the image")
    return parser.parse_args()


def find_family(repo: Path) -> str:
    """Return which of the three repositories a folder is."""
    for family, (file, _, _) in FAMILIES.items():
        if (repo / file).is_file():
            return family
    files = ", ".join(file for file, _, _ in FAMILIES.values())
    raise SystemExit(f"{repo} is no clone of dino, dinov2 or dinov3: it has none of {files}.")


def official_network(repo: Path, family: str, arch: str) -> nn.Module:
    """Return their network with its initial weights."""
    sys.path.insert(0, str(repo.resolve()))
    try:
        module = importlib.import_module(FAMILIES[family][1])
    except ImportError as error:
        raise SystemExit(f"The code in {repo} needs something that is not installed: {error}") from None
    build: Callable[..., nn.Module] | None = getattr(module, arch, None)
    if build is None:
        raise SystemExit(f"{repo} has no network {arch}; name another --arch.")
    return build(pretrained=False).eval()


def randomise(network: nn.Module, seed: int) -> None:
    """Give every parameter a value that shows: initial ones are often zero, or so small that a block does nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.1 * noise)
            elif "gamma" in name:  # the scale of a layer
                parameter.copy_(0.5 + 0.1 * noise)
            else:
                parameter.copy_(0.05 * noise)


@torch.no_grad()
def official_features(network: Any, family: str, image: np.ndarray) -> dict[str, Tensor]:
    """Return their features of the patches, ``(h * w, C)`` each, and the attention ``(h * w,)``."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    last = network.blocks[-1].attn
    seen: dict[str, Tensor] = {}
    hook = last.qkv.register_forward_hook(lambda module, inputs, output: seen.update(qkv=output.detach()))
    attended, original = [], nn.functional.scaled_dot_product_attention

    def watched(query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any) -> Tensor:
        attended.append((query, key))
        return original(query, key, value, *args, **options)

    nn.functional.scaled_dot_product_attention = watched
    try:
        tokens = network.get_intermediate_layers(pixels, n=1)[0][0]  # of DINO with [CLS], of the others without
    finally:
        nn.functional.scaled_dot_product_attention = original
        hook.remove()
    query, key, value = seen["qkv"].flatten(0, -2).chunk(3, dim=-1)
    if family == "dino":
        attention = network.get_last_selfattention(pixels)[0, :, 0]
    else:  # from the queries and keys that their attention got, rotated by DINOv3
        rotated_query, rotated_key = (item[0] for item in attended[-1])
        attention = (rotated_query[:, :1] @ rotated_key.transpose(-2, -1) * last.scale).softmax(-1)[:, 0]
    patches = image.shape[0] // patch_side(network) * (image.shape[1] // patch_side(network))
    found = {"query": query, "key": key, "value": value, "token": tokens, "attention": attention.mean(0)}
    return {name: item[-patches:] for name, item in found.items()}


def patch_side(network: Any) -> int:
    side = network.patch_embed.patch_size
    return int(side if isinstance(side, int) else side[0])


def our_features(arch: str, path: Path, image: np.ndarray) -> dict[str, Tensor]:
    """Return the same of this package, from the file."""
    from unseg_d2.features.vit import ViT, ViTSettings
    from unseg_d2.features.weights import load_vit

    network = load_vit(arch, str(path))
    found = {}
    for facet in ("query", "key", "value", "token"):
        (features,) = ViT(network, ViTSettings(arch=arch, facet=facet))([image])
        found[facet] = features.tokens.flatten(1).T
    return found | {"attention": features.attention.flatten()}


def report(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> int:
    """Print the table, and return 1 if a bar is missed."""
    print(f"{'feature':<10} {'shape':<12} {'largest':>9} {'largest difference':>19} {'relative':>9}")
    worst = 0.0
    for name, wanted in theirs.items():
        largest, difference = float(wanted.abs().max()), float((wanted - ours[name]).abs().max())
        worst = max(worst, difference / largest) if difference == difference else float("inf")
        shape = "x".join(str(side) for side in wanted.shape)
        print(f"{name:<10} {shape:<12} {largest:>9.3g} {difference:>19.1e} {difference / largest:>9.1e}")
    print("PASSED" if worst <= MAX_DEVIATION else "FAILED")
    return int(worst > MAX_DEVIATION)


if __name__ == "__main__":
    sys.exit(main())
