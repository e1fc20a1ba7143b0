"""The rules of docs/architecture.md, read off the import statements; nothing is imported to check them."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = "unseg_d2"
BASE = {
    "structures",
    "errors",
    "files",
    "locks",
    "manifest",
    "storage",
    "content",
    "devices",
    "transfer",
    "compiled",
    "recipes",
    "progress",
    "duration",
    "rle",
    "pixels",
    "levels",
    "settings",
    "plugins",
    "plugin_code",
    "registry",
    "supervision",
    "description",
    "weight_kinds",
    "weight_files",
    "timm_networks",
}
MAY_IMPORT = {
    "duration": {"errors"},
    "structures": set(),
    "errors": set(),
    "files": {"errors"},
    "locks": {"errors", "files"},
    "manifest": {"errors", "files"},
    "storage": {"errors", "files"},
    "content": {"files", "storage"},
    "devices": {"errors"},
    "transfer": set(),
    "compiled": set(),
    "recipes": {"errors"},
    "settings": {"errors"},
    "plugins": {"errors"},
    "plugin_code": {"plugins"},
    "registry": {"errors", "manifest", "plugin_code", "plugins", "settings"},
    "supervision": {"errors"},
    "weight_files": {"errors"},
    "description": {"errors", "supervision", "weight_files"},
    "weight_kinds": {"description", "weight_files"},
    "timm_networks": {"errors", "weight_files"},
    "progress": set(),
    "rle": {"errors"},
    "pixels": set(),
    "levels": set(),
    "batch_loader": {"devices", "errors"},
    "config": BASE,
    "data": BASE | {"batch_loader"},
    "published": BASE,
    "zoo": BASE | {"published"},
    "loop": BASE | {"batch_loader", "config", "zoo"},
    "features": BASE | {"data", "zoo"},
    "depth": BASE | {"data"},
    "graph": {"compiled", "errors", "transfer"},
    "masks": BASE | {"graph"},
    "refine": BASE,
    "jobs": BASE | {"data"},
    "tracks": BASE | {"config", "data", "features", "pseudo"},
    "pseudo": BASE | {"jobs", "features", "depth", "masks", "refine", "data", "config", "viz"},
    "losses": {"errors", "registry", "settings"},
    "evaluation": BASE,
    "saliency": BASE
    | {"loop", "config", "zoo", "data", "features", "masks", "pseudo", "losses", "refine", "evaluation"},
    "semantic": BASE | {"loop", "data", "features", "pseudo", "losses", "refine", "evaluation", "viz"},
    "detectors": BASE | {"loop", "data", "losses", "config", "evaluation", "zoo", "viz"},
    "viz": BASE | {"data"},
    "detectron2": {"detectors", "errors", "recipes", "training"},
    "training": BASE
    | {"jobs", "loop", "config", "data", "zoo", "pseudo", "detectors", "evaluation", "published", "viz"},
    "planning": BASE | {"jobs", "config", "data", "loop", "zoo", "features", "pseudo", "detectors", "training"},
    "compare": BASE | {"data", "evaluation", "published", "training"},
    "parity": BASE | {"config", "data", "evaluation", "pseudo"},
    "exchange": BASE | {"data", "pseudo", "viz"},
    "groups": BASE | {"config", "data", "evaluation", "exchange", "features", "pseudo", "viz"},
    "deploy": BASE | {"config", "data", "detectors", "loop", "zoo"},
    "apps": BASE
    | {"config", "data", "detectors", "evaluation", "exchange", "features", "groups", "masks", "pseudo", "saliency"}
    | {"viz", "zoo"},
}
EVERYTHING = {"api", "cli", "__main__"}
"""Rooms that may import every other; nothing but ``cli`` imports ``cli``, and nothing but these two ``api``."""

PURE = {"graph", "losses"}
PURE_MAY_IMPORT = {f"{PACKAGE}.compiled", f"{PACKAGE}.errors", f"{PACKAGE}.transfer"}
LOSS_REGISTRY = f"{PACKAGE}.losses.registry"
"""The one module of a pure room that imports from others; of the room, only ``__init__`` may import it."""
PURE_LIBRARIES = {"torch", "torchvision", "numpy", "numba", "scipy"}
MOST_LINES = {".py": 350, ".js": 350, ".css": 350, ".j2": 350}


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room is meant"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def modules() -> dict[str, set[str]]:
    """Dotted name of every module of the package, with what it imports."""
    found = {}
    for path in sorted((REPOSITORY / PACKAGE).rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = imported(path)
    return found


def room(module: str) -> str:
    """Part of a dotted name after the package's own; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def ours(module: str) -> set[str]:
    """Modules of the package that a module imports."""
    return {name for name in modules()[module] if name in modules() and name != PACKAGE}


def test_every_room_has_its_rule():
    assert {room(module) for module in modules()} - {""} <= MAY_IMPORT.keys() | EVERYTHING


@pytest.mark.parametrize("name", sorted(MAY_IMPORT))
def test_arrows(name):
    allowed = MAY_IMPORT[name] | {name}
    wrong = {
        f"{module} imports {other}"
        for module in modules()
        if room(module) == name
        for other in ours(module)
        if room(other) not in allowed
    }
    assert not wrong


def test_nothing_imports_the_command_line():
    """Nothing but ``python -m unseg_d2``, which is the command line."""
    others = {module for module in modules() if room(module) not in ("cli", "__main__")}
    assert not {module for module in others for name in ours(module) if room(name) == "cli"}


def test_nothing_below_uses_the_public_door():
    """``unseg_d2/__init__`` promises names to others; inside, every name is imported from where it lies."""
    wrong = {
        f"{module} imports {name}"
        for module in modules()
        if module != PACKAGE
        for name in modules()[module]
        if name.rpartition(".")[0] == PACKAGE and name not in modules() and name != f"{PACKAGE}.__version__"
    }
    users = {module for module in modules() if f"{PACKAGE}.api" in modules()[module]}
    assert not wrong and {room(module) for module in users} <= {"", "cli"}


def test_detectron2_stays_in_its_folder():
    importing = {
        module for module, names in modules().items() if any(name.split(".")[0] == "detectron2" for name in names)
    }
    assert importing, "the Detectron2 engine is gone"
    assert {module for module in importing if not module.startswith(f"{PACKAGE}.detectors.detectron2")} == set()


@pytest.mark.parametrize(("engine", "other"), [("builtin", "detectron2"), ("detectron2", "builtin")])
def test_an_engine_does_not_need_the_other(engine, other):
    """What both use lies one level up."""
    folder, foreign = (f"{PACKAGE}.detectors.{name}" for name in (engine, other))
    assert not {
        f"{module} imports {name}"
        for module in modules()
        if f"{module}.".startswith(f"{folder}.")
        for name in ours(module)
        if f"{name}.".startswith(f"{foreign}.")
    }


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_rooms_use_no_framework(name):
    libraries = {other.split(".")[0] for module in modules() if room(module) == name for other in modules()[module]}
    assert libraries - sys.stdlib_module_names - {PACKAGE} <= PURE_LIBRARIES


def test_pure_functions_use_nothing_of_ours():
    wrong = {
        f"{module} imports {other}"
        for module in modules()
        if room(module) in PURE and module != LOSS_REGISTRY
        for other in ours(module)
        if (room(other) != room(module) and other not in PURE_MAY_IMPORT)
        or (other == LOSS_REGISTRY and module != f"{PACKAGE}.losses")
    }
    assert not wrong


def test_rooms_form_no_cycle():
    arrows = {
        name: {room(other) for module in modules() if room(module) == name for other in ours(module)} - {name, ""}
        for name in MAY_IMPORT.keys() | EVERYTHING
    }
    while arrows:
        leaves = {name for name, targets in arrows.items() if not targets & arrows.keys()}
        assert leaves, f"these rooms import each other in a circle: {sorted(arrows)}"
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}


def test_modules_form_no_cycle():
    """Within a room too; a package's ``__init__`` re-exports its modules and is left out."""
    packages = {
        ".".join(path.parent.relative_to(REPOSITORY).parts) for path in REPOSITORY.glob("unseg_d2/**/__init__.py")
    }
    arrows = {module: ours(module) - packages for module in modules() if module not in packages}
    while arrows:
        leaves = {name for name, targets in arrows.items() if not (targets - {name}) & arrows.keys()}
        assert leaves, f"among these modules some import each other in a circle: {sorted(arrows)}"
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}


def test_files_hold_one_idea():
    long = {
        path.relative_to(REPOSITORY).as_posix(): lines
        for path in (REPOSITORY / PACKAGE).rglob("*")
        if path.suffix in MOST_LINES
        and (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES[path.suffix]
    }
    assert not long


def test_functions_fit_on_a_screen():
    long = {}
    for path in (REPOSITORY / PACKAGE).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and body_lines(node) >= 50:
                long[f"{path.relative_to(REPOSITORY).as_posix()}:{node.name}"] = body_lines(node)
    # The defaults are a list of keys, one a line.
    assert {name for name in long if not name.startswith("unseg_d2/config/")} == set()


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the statements of a function, without signature and docstring."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return statements[-1].end_lineno - statements[0].lineno + 1 if statements else 0


def test_there_is_no_drawer_for_odds_and_ends():
    names = {path.stem for path in (REPOSITORY / PACKAGE).rglob("*.py")}
    assert not names & {"util", "utils", "helpers", "misc", "common_utils"}


def test_the_tools_only_start_commands():
    for path in (REPOSITORY / "tools").glob("*.py"):
        assert {name.split(".")[0] for name in imported(path)} == {PACKAGE}
        assert (REPOSITORY / PACKAGE / "cli" / path.name).is_file()
