"""What runs an exported detector does without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_import_needs_no_torch() -> None:
    code = (
        "import sys\nsys.modules['torch'] = sys.modules['torchvision'] = None\nimport unseg_d2\nunseg_d2.OnnxDetector"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
