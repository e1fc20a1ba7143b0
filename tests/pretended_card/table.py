"""Print the launches and waits of generators, refiners and the detector on the pretended card, as docs/gpu.md has them.

The size of what a ViT-B/8 gives at 480 px is --side 60 --channels 768; it takes minutes.
"""

from __future__ import annotations

import argparse

from cases import GENERATORS, REFINERS, count
from detector_cases import predict, train_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=16, help="patches on each side of the grid")
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--only", nargs="+", choices=GENERATORS + REFINERS, default=GENERATORS + REFINERS)
    parser.add_argument("--lines", action="store_true", help="also print which lines ask")
    args = parser.parse_args()
    print("| | launches, batch 1 | waits, batch 1 | launches, batch 8 | waits, batch 8 |")
    print("|---|---:|---:|---:|---:|")
    for name in args.only:
        found = [count(name, batch, args.side, args.channels) for batch in (1, 8)]
        print(f"| {name} | " + " | ".join(f"{one.launches:.3g} | {one.waits:.3g}" for one in found) + " |", flush=True)
        for batch, one in zip((1, 8), found if args.lines else ()):
            print(one.record.report(batch))
    detector = {"training step of two images": (1, train_step(2)[0])}
    detector |= {f"prediction, batch {images}, per image": (images, predict(images)[0]) for images in (1, 8)}
    print("\n| | launches | waits |\n|---|---:|---:|")
    for name, (images, record) in detector.items():
        print(f"| {name} | {record.num_launches / images:.3g} | {record.num_waits / images:.3g} |")
        if args.lines:
            print(record.report(images))


if __name__ == "__main__":
    main()
