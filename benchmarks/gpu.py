"""What one card does with this package: speed, launches, waits, busy share, precision, determinism.

    python benchmarks/gpu.py --out FOLDER [--minutes 8] [--only vit cuts ...] [--device cpu --tiny]

Networks have random weights and images are made, so that nothing is downloaded. Sections run in the order of
``SECTIONS``; one that fails is recorded and the next one starts, one for which no time is left is recorded as left
out. Every figure is a line of ``FOLDER/figures.jsonl`` and of the output; tracebacks go to ``FOLDER/errors.log``, the
output of the tests to ``FOLDER/tests.log``. ``--device cpu --tiny`` tries all sections at toy size without a card.

docs/gpu.md has the figures, with card and date.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from on_card import detector, generation, software
from on_card.bench import Bench, Figures

SECTIONS: dict[str, Callable[[Bench], None]] = {
    "environment": software.environment,
    "tests": software.tests,
    "vit": generation.vit,
    "cuts": generation.cuts,
    "refine": generation.refine,
    "labels": generation.labels,
    "training": detector.training,
    "loader": detector.loader,
    "predict": detector.predict,
    "determinism": detector.determinism,
}
SECONDS_TO_BEGIN = 20  # a section is left out where less time is left


def main() -> int:
    args = parse_args()
    started = time.perf_counter()
    args.out.mkdir(parents=True, exist_ok=True)
    in_memory = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(dir=in_memory if in_memory.is_dir() else None))
    bench = Bench(args.device, args.tiny, scratch, args.out, Figures(args.out / "figures.jsonl"))
    failed = 0
    try:
        for name in args.only or SECTIONS:
            if time.perf_counter() - started > 60 * args.minutes - SECONDS_TO_BEGIN:
                bench.figures.add(name, left_out="no time is left")
                continue
            failed += not run(name, bench)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if failed else 0


def run(name: str, bench: Bench) -> bool:
    """Run a section and record its time; return whether it came to its end."""
    began = time.perf_counter()
    try:
        SECTIONS[name](bench)
    except Exception as error:  # the next section is worth as much
        bench.figures.add(name, error=f"{type(error).__name__}: {error}"[:300])
        with (bench.out / "errors.log").open("a") as log:
            log.write(f"--- {name}\n{traceback.format_exc()}\n")
        return False
    finally:
        bench.figures.add("time", section_of=name, seconds=time.perf_counter() - began)
    return True


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for figures and logs")
    parser.add_argument("--minutes", type=float, default=8, help="sections that would start later are left out")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="sections to run (default: all)")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu for a trial")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, for a trial without a card")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
