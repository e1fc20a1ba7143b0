"""Where the modules and names of Unix are missing, as on Windows: everything imports, and pure functions work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

HIDE = """
import importlib, os, signal, sys
import filelock, portalocker, pytest, timm, torch, torch.multiprocessing, torchvision  # these ask for the platform
for module in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[module] = None
NAMES = ("O_CLOEXEC", "killpg", "mkfifo", "pread", "sched_getaffinity")
for name in NAMES:
    delattr(os, name)
del signal.SIGKILL
"""

IMPORT = """
from pathlib import Path

import pytest
package = Path(sys.argv[1])
names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in package.rglob("*.py")]
for name in sorted(name.removesuffix(".__init__") for name in names):
    if ".detectron2" not in name and not name.endswith("__main__"):  # Detectron2 has a platform of its own
        importlib.import_module(name)
print(len(names))
"""

RUN = """
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", *sys.argv[1:]]))
"""

PLAIN = (
    *(
        "test_duration.py",
        "test_manifest.py",
        "test_pixels.py",
        "test_rle.py",
        "test_settings.py",
        "test_supervision.py",
    ),
    *("config/test_scaling.py", "data/test_annotations.py", "data/test_schedule.py", "evaluation/test_matching.py"),
    *("graph/test_affinity.py", "graph/test_mincut.py", "losses/test_droploss.py", "losses/test_soft_target.py"),
    *("masks/test_bipartition.py", "masks/test_tokencut.py", "planning/test_schedule.py", "pseudo/test_shards.py"),
)
"""Tests of functions that need no process, no lock and no device."""


def in_another_python(code: str, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HIDE + code, *map(str, words)], cwd=REPOSITORY, capture_output=True
    )
    assert done.returncode == 0, (done.stdout[-4000:] + done.stderr[-4000:]).decode()
    return done.stdout.decode()


def test_every_module_imports() -> None:
    assert int(in_another_python(IMPORT, REPOSITORY / "unseg_d2").split()[-1]) > 300


@pytest.mark.slow
def test_plain_functions_work() -> None:
    assert " passed" in in_another_python(RUN, *(REPOSITORY / "tests" / name for name in PLAIN))
