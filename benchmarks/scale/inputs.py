"""Time and memory of listing images in folders, tars, a tar of tars and parquet files, and of reading one of them.

    python benchmarks/scale/inputs.py [CASE ...] [--images 128000] [--per-archive 1000] [--folder /tmp/inputs]

Pictures are tiny JPEG files. Each case runs in a process of its own, twice: the second finds the listings of archives
where the first kept them. Printed are processor seconds and the largest memory beyond what
imports take, for the list of all images; and microseconds to find and read the bytes of an image, in random order.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from unseg_d2.data.scan import scan_images  # noqa: E402
from unseg_d2.storage import archives  # noqa: E402
from unseg_d2.storage.access import read_bytes  # noqa: E402

READS = 2_000


def jpeg() -> bytes:
    """Return a picture of 32x32 pixels as a file."""
    target = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(target, "JPEG")
    return target.getvalue()


def groups(images: int, size: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each class and of its images."""
    for number in range(-(-images // size)):
        name = f"n{number:08d}"
        yield name, [f"{name}_{k}.JPEG" for k in range(min(size, images - number * size))]


def make_folder(path: Path, images: int, size: int) -> None:
    """Class folders, whose files are hard links to the first of each."""
    picture = jpeg()
    for name, files in groups(images, size):
        (path / name).mkdir(parents=True)
        (path / name / files[0]).write_bytes(picture)
        for file in files[1:]:
            os.link(path / name / files[0], path / name / file)


def make_tars(path: Path, images: int, size: int) -> None:
    """A tar of each class."""
    path.mkdir(parents=True)
    picture = jpeg()
    for name, files in groups(images, size):
        with tarfile.open(path / f"{name}.tar", "w") as archive:
            for file in files:
                member = tarfile.TarInfo(file)
                member.size = len(picture)
                archive.addfile(member, io.BytesIO(picture))


def make_nested(path: Path, images: int, size: int) -> None:
    """A tar of the tars of the classes, as ImageNet comes."""
    make_tars(path / "classes", images, size)
    with tarfile.open(path / "train.tar", "w") as archive:
        for tar in sorted((path / "classes").iterdir()):
            archive.add(tar, tar.name)
            tar.unlink()
    (path / "classes").rmdir()


def make_tables(path: Path, images: int, size: int) -> None:
    """A parquet file of each class, in groups of 100 rows."""
    import pyarrow
    from pyarrow import parquet

    path.mkdir(parents=True)
    picture = jpeg()
    for name, files in groups(images, size):
        column = pyarrow.array([{"bytes": picture, "path": file} for file in files])
        parquet.write_table(pyarrow.table({"image": column}), path / f"{name}.parquet", row_group_size=100)


CASES: dict[str, Callable[[Path, int, int], None]] = {
    "folders": make_folder,
    "tars": make_tars,
    "tar_of_tars": make_nested,
    "parquet": make_tables,
}


def peak() -> float:
    """Return the largest memory of this process so far, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def measure(folder: Path) -> None:
    """List the images of a folder, and read some of them; print a line."""
    before, started, wall = peak(), time.process_time(), time.perf_counter()
    images = scan_images(folder)[1].images
    seconds, elapsed = time.process_time() - started, time.perf_counter() - wall
    memory = peak() - before
    held = sum(len(listed.names) + 24 * len(listed) for _, listed in archives._held.values())
    chosen = random.Random(0).choices(images, k=READS)
    started = time.perf_counter()
    size = sum(len(read_bytes(image.path)) for image in chosen)
    each = 1e6 * (time.perf_counter() - started) / READS
    print(
        f"{len(images):,} images: {seconds:.2f} s of a processor ({elapsed:.2f} s), {memory:.0f} MB of which the index "
        f"{held / 1e6:.0f} MB; {each:.0f} us to read one of {size // READS} bytes"
    )


def main() -> None:
    """Make what is missing, and measure each case in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--images", type=int, default=128_000, help="number of images")
    parser.add_argument("--per-archive", type=int, default=1_000, help="images of a class, and so of an archive")
    parser.add_argument("--folder", type=Path, help="where files are made and kept (default: a temporary folder)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure)
        return
    with tempfile.TemporaryDirectory() as temporary:
        base = args.folder or Path(temporary)
        environment = {**os.environ, archives.FOLDER: str(base / "listings")}
        for case in args.cases:
            folder = base / f"{case}_{args.images}_{args.per_archive}" / "data"
            if not folder.is_dir():
                CASES[case](folder, args.images, args.per_archive)
            for _ in range(2):
                print(f"{case:12} ", end="", flush=True)
                subprocess.run([sys.executable, __file__, "--measure", folder], env=environment, check=True)


if __name__ == "__main__":
    main()
