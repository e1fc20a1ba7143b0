"""How much more memory more images take: what is held of each must be numbers, not dictionaries or masks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "label_sets.py"
MORE, FEWER = 40_000, 10_000
MOST = 400  # bytes per image at the peak; 200 MB for 1.28 million images are 156 of these, held at the end


def peak(folder: Path, images: int) -> float:
    """Megabytes at the peak of loading a label set and making the first records of it."""
    code = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
from pathlib import Path

import pytest
import label_sets
folder = Path({str(folder)!r})
label_sets.prepare(folder / "few", 16, False)
label_sets.prepare(folder / "many", {images}, False)
print(label_sets.measure("training_rank", folder / "many")["held"])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


@pytest.mark.slow
def test_memory_of_an_image(tmp_path: Path) -> None:
    fewer, more = peak(tmp_path / "fewer", FEWER), peak(tmp_path / "more", MORE)
    assert 1e6 * (more - fewer) / (MORE - FEWER) < MOST
