"""The comparison with the official code, on stand-ins of its three layouts: agreement is seen, and a difference too."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = (Path(__file__).parent / "stand_in_vit.py").read_text(encoding="utf-8")
Compare = Callable[..., tuple[int, str]]
PLACES = {
    "dino": ("vision_transformer.py", "hubconf.py"),
    "dinov2": ("dinov2/hub/backbones.py",),
    "dinov3": ("dinov3/hub/backbones.py",),
}


def repository(folder: Path, family: str, wrong: bool = False) -> Path:
    """Put the stand-in where a clone has its code."""
    text = STAND_IN.replace('FAMILY = "dino"', f'FAMILY = "{family}"').replace("WRONG = False", f"WRONG = {wrong}")
    for place in PLACES[family]:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text)
    return folder


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Compare]:
    """Run the benchmark on a folder, and return its status and what it printed; nothing stays imported from there."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    spec = importlib.util.spec_from_file_location("official_features", ROOT / "benchmarks/official_features.py")
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)

    def run(folder: Path, *words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["", "--repo", str(folder), "--grid", "3", "4", *words])
        status = benchmark.main()
        return status, capsys.readouterr().out

    before = set(sys.modules)
    yield run
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("hubconf", "vision_transformer", "dinov2", "dinov3"):
            del sys.modules[name]


@pytest.mark.parametrize("family", PLACES)
def test_the_same_network_passes(family: str, tmp_path: Path, compare: Compare) -> None:
    status, printed = compare(repository(tmp_path, family))
    assert status == 0, printed
    rows = dict(re.findall(r"^(\w+) +(12x384|12) ", printed, re.M))
    assert list(rows) == ["query", "key", "value", "token", "attention"] and rows["attention"] == "12"
    assert printed.splitlines()[-1] == "PASSED"


def test_position_embeddings_that_are_resampled_otherwise_fail(tmp_path: Path, compare: Compare) -> None:
    status, printed = compare(repository(tmp_path, "dino", wrong=True))
    assert status == 1 and printed.splitlines()[-1] == "FAILED"


def test_other_folders_and_networks_are_refused(tmp_path: Path, compare: Compare) -> None:
    with pytest.raises(SystemExit, match="is no clone of dino"):
        compare(tmp_path)
    with pytest.raises(SystemExit, match="has no network dino_vitx"):
        compare(repository(tmp_path, "dino"), "--arch", "dino_vitx")


def test_a_missing_library_is_named(tmp_path: Path, compare: Compare) -> None:
    repository(tmp_path, "dino")
    (tmp_path / "hubconf.py").write_text("import no_such_library")
    with pytest.raises(SystemExit, match="needs something that is not installed: No module named"):
        compare(tmp_path)
