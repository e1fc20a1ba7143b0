"""The golden data of the repository are what its script cuts out of the whole set."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "golden"


def test_the_script_makes_the_files_that_stand_here(whole_golden: Path, tmp_path: Path):
    subprocess.run([sys.executable, FOLDER.parent / "make_golden.py", whole_golden, tmp_path], check=True)
    made, ours = (sorted(p.relative_to(f) for p in f.rglob("*.[nj][ps]*")) for f in (tmp_path, FOLDER))
    assert made == ours and len(made) > 10
    for name in made:
        if name.suffix == ".json":
            assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
            continue
        with np.load(tmp_path / name) as fresh, np.load(FOLDER / name) as kept:
            assert fresh.files == kept.files
            for array in fresh.files:
                np.testing.assert_array_equal(fresh[array], kept[array])
