"""Cut the golden data in the repository out of the whole set: ``python tests/data/make_golden.py SOURCE [OUTPUT]``.

SOURCE is a folder with the outputs of published code that ``golden/README.md`` describes. Of what was made per image,
one of eight images is kept; of everything else, what tests read. Names and layout stay those of the whole set, so that
the same tests read both.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]

IMAGE = 1
"""The image that is kept: two objects, then a cut whose peak lies on the painted block; no tie decides what is kept."""

PROMERGE = ["n_*", "background60", "accepted*", "merged60", "merged_image_index"]
PER_IMAGE = {
    "features.npz": ["features"],
    "maskcut.npz": ["raw_image_index", "raw_eigvec", "raw_*60", "raw_seed", "raw_seed_tie_count", "raw_out480"],
    "tokencut.npz": ["eigvec_raw", "bipartition60", "seed", "seed_tie_count", "component60", "box_xyxy"],
    "promerge.npz": PROMERGE,
    "promerge_alt.npz": PROMERGE,
    "votecut.npz": ["eigvec_*", "labels_*", "proposal*", "out_*", "*_same_with_stable_sort"],
    "primaps.npz": ["canon_K", "canon_labels60"],
}
"""Patterns of the arrays that tests read."""

NEVER = ["out_rle", "out_size", "out_crf_success"]
SINGLE_PRECISION = ["raw_eigvec", "eigvec_raw"]
"""Eigenvectors whose cosine is all that tests compare; those of VoteCut go through k-means and stay in double."""

COMPLETE = ["droploss.npz", "soft_targets.npz", "primaps_em.npz", "selftrain"]
COPY_PASTE = ["b2_empty_target"]
TRICKS = ["gf_*", "sp_features", "sp_coarse", "sp_fine", "loss_*", "grad_*"]
TRICKS_NEVER = ["gf_image_normalised", "gf_small_radius2", "*_gtv_fine*"]
"""What needs the large input of the fine total variation is left out."""


def matching(arrays: Arrays, patterns: Sequence[str], never: Sequence[str] = ()) -> Arrays:
    """Those of the arrays whose name matches one of the patterns and none of ``never``."""
    wanted = {name for name in arrays if any(fnmatch(name, pattern) for pattern in patterns)}
    return {name: arrays[name] for name in arrays if name in wanted and not any(fnmatch(name, p) for p in never)}


def one_image(arrays: Arrays) -> Arrays:
    """Keep the rows of one image, which becomes the only one.

    A table with an image per row has a row for each of them; a table of masks has an array ``PREFIX_image_index`` that
    says whose mask each row is. VoteCut's tables of the second kind are called ``proposals60`` and ``proposal_*``.
    """
    kept = {}
    for name, array in arrays.items():
        owner = next((n for n in arrays if n.endswith("_image_index") and belongs(name, n)), None)
        rows = arrays[owner] == IMAGE if owner else np.arange(len(array)) == IMAGE
        kept[name] = np.zeros_like(array[rows]) if name == owner else array[rows]
        if name in SINGLE_PRECISION:
            kept[name] = kept[name].astype(np.float32)
    return kept


def belongs(name: str, index: str) -> bool:
    """Whether a table has the owners of its rows in the array ``index``."""
    prefix = index.removesuffix("_image_index")
    return name.removeprefix(prefix).startswith(("_", "60", "s60")) and name.startswith(prefix)


def clusters(arrays: Arrays) -> Arrays:
    """VoteCut's clusters of one image. Members of all clusters stand in one row, with an offset for each cluster."""
    rows = np.flatnonzero(arrays["cluster_image_index"] == IMAGE)
    bounds = arrays["cluster_member_offset"][rows[0] : rows[-1] + 2]
    return {
        "cluster_image_index": np.zeros_like(arrays["cluster_image_index"][rows]),
        "cluster_members": arrays["cluster_members"][bounds[0] : bounds[-1]],
        "cluster_member_offset": bounds - bounds[0],
    }


def save(path: Path, arrays: Arrays) -> None:
    """Write arrays, compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def per_image(source: Path, output: Path) -> None:
    """Cut what was made per image."""
    for file, patterns in PER_IMAGE.items():
        arrays = dict(np.load(source / file))
        kept = one_image(matching(arrays, patterns, NEVER))
        if file == "votecut.npz":
            kept |= clusters(arrays)
        if file == "maskcut.npz":  # no image whose peak is negative is kept, and the others are of one orientation
            kept["pos_image_index"] = np.zeros(0, np.int32)
        save(output / file, kept)


def functions(source: Path, output: Path) -> None:
    """Cut what was made by single functions on seeded inputs."""
    for name in COMPLETE:
        if (source / "detector" / name).is_dir():
            shutil.copytree(source / "detector" / name, output / "detector" / name, dirs_exist_ok=True)
        else:
            save(output / "detector" / name, dict(np.load(source / "detector" / name)))
    pasted = dict(np.load(source / "detector" / "copy_paste.npz"))
    save(output / "detector" / "copy_paste.npz", matching(pasted, [f"{case}_*" for case in COPY_PASTE]))
    cases = json.loads((source / "detector" / "copy_paste_cases.json").read_text())
    cases = [case for case in cases if case["tag"] in COPY_PASTE]
    (output / "detector" / "copy_paste_cases.json").write_text(json.dumps(cases, indent=1) + "\n")

    tricks = matching(dict(np.load(source / "losses" / "tricks.npz")), TRICKS, TRICKS_NEVER)
    first = {name: array[:1] for name, array in tricks.items() if name.startswith("gf_") and array.ndim}
    save(output / "losses" / "tricks.npz", tricks | first)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path, nargs="?", default=Path(__file__).parent / "golden")
    arguments = parser.parse_args()
    per_image(arguments.source, arguments.output)
    functions(arguments.source, arguments.output)
