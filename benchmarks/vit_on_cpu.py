"""The vision transformer on a CPU: float32 against float16 and bfloat16, also through `torch.compile`.

    OMP_NUM_THREADS=1 python benchmarks/vit_on_cpu.py [--arch dino_vits16 dino_vitb8] [--size 480] [--rounds 3]
        [--without-compile]

Weights are random and the image is noise. The variants take turns, so that other load on the machine affects all of
them; the median of the processor seconds for an image is printed, the ratio to float32, and the relative
difference of the tokens (Frobenius norm). A process that makes masks computes with one thread, and so does this one.
Whether 16 bits are quicker depends on the processor: with amx_bf16 or avx512_fp16 among its flags it multiplies such
numbers itself.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from unseg_d2.features.vit import ViT  # noqa: E402
from unseg_d2.features.weights import create_vit  # noqa: E402

FLAGS = ("avx2", "avx512f", "avx512_fp16", "avx512_bf16", "amx_bf16")
VARIANTS = {
    "float32": (torch.float32, False),
    "float16": (torch.float16, False),
    "bfloat16": (torch.bfloat16, False),
    "float32, compiled": (torch.float32, True),
    "bfloat16, compiled": (torch.bfloat16, True),
}


def backend(arch: str, dtype: torch.dtype, compiled: bool) -> ViT:
    """Return a backend with random weights, the same for every variant."""
    torch.manual_seed(0)
    made = ViT(create_vit(arch), name=arch, dtype=dtype)
    for block in made.model.blocks if compiled else ():
        block.compile()
    return made


def compare(arch: str, names: list[str], image: np.ndarray, rounds: int) -> list[str]:
    """Time variants of a network, and return a row for each."""
    backends = {name: backend(arch, *VARIANTS[name]) for name in names}
    tokens = {name: one([image])[0].tokens for name, one in backends.items()}  # compiles too
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, one in backends.items():
            started = time.process_time()
            one([image])
            seconds[name].append(time.process_time() - started)
    exact, first = tokens[names[0]], statistics.median(seconds[names[0]])
    rows = []
    for name in names:
        median, off = statistics.median(seconds[name]), float((tokens[name] - exact).norm() / exact.norm())
        rows.append(f"| {arch} | {name} | {median:.3f} | {median / first:.2f} | {off:.1e} |")
    return rows


def flags() -> str:
    """Return those of a processor's flags that matter here, where the system names them."""
    info = Path("/proc/cpuinfo")
    found = info.read_text().split() if info.is_file() else []
    return ", ".join(flag for flag in FLAGS if flag in found) or "not known"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["dino_vits16", "dino_vitb8"])
    parser.add_argument("--size", type=int, default=480, help="side of the image in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-compile", action="store_true", help="which takes a minute for each network")
    args = parser.parse_args()
    torch.set_num_threads(1)
    image = np.random.default_rng(0).integers(0, 256, (args.size, args.size, 3), np.uint8)
    names = [name for name, (_, compiled) in VARIANTS.items() if not (compiled and args.without_compile)]
    print(f"torch {torch.__version__}, flags of the processor: {flags()}")
    print("| network | variant | processor seconds | ratio | difference |\n|---|---|---:|---:|---:|")
    for arch in args.arch:
        print("\n".join(compare(arch, names, image, args.rounds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
