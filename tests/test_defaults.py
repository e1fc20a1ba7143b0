"""The default of a setting stands once: in the dataclass of its section. Read off the source; nothing is imported.

A default that stands a second time, in a signature or in another dataclass, drifts from the first without anybody
noticing, and a list of choices does too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = "unseg_d2"

CONFIGURED = {
    "heads": {"detectors"},
    "model": {"detectors"},
    "solver": {"detectors", "loop", "training"},
    "run": {"loop", "pseudo", "training"},
}
"""Module of ``config/sections`` to the rooms that do what its settings say."""

PURE = {"losses": {"saliency", "semantic"}, "graph": {"masks"}}
"""Room of pure functions to the rooms whose settings arrive there as arguments."""

OTHER_MEANING = {
    ("config.load.load_cfg", "plugins"): "modules to import besides those of the recipe's PLUGINS",
    ("config.load.from_values", "plugins"): "the same",
    ("depth.marigold.MarigoldDepth", "kind"): "what Marigold predicts, which nobody can choose",
    ("detectors.builtin.box_coder.is_nonempty", "min_size"): "0 asks for boxes that are not empty, of any size",
    ("deploy.export.export_detector", "format"): "the form of a file, not the order of channels",
    ("detectors.detector.load", "trust_checkpoint"): "whether the one file that is loaded may run code",
    ("features.vit.__init__", "name"): "what a label set calls features of a model that somebody built",
    ("features.cnn.__init__", "device"): "where PyTorch builds modules, and so where the model is",
    ("features.vit.__init__", "device"): "where PyTorch builds modules, and so where the model is",
}
"""``(module.function or module.Class, name)`` to what the word means there instead of the setting of that name."""


class Source:
    """Modules of a package, and the settings that are declared in them.

    Args:
        root: folder of the package.
    """

    def __init__(self, root: Path) -> None:
        self.modules: dict[str, ast.Module] = {}
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            self.modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
        self.settings: dict[str, list[ast.ClassDef]] = {}
        names = {"Settings"}
        for _ in range(3):  # subclasses of subclasses
            names |= {node.name for tree in self.modules.values() for node in _settings_classes(tree, names)}
        for module, tree in self.modules.items():
            self.settings[module] = list(_settings_classes(tree, names))

    def known_in(self, module: str) -> list[ast.ClassDef]:
        """Classes of settings in a module's room, in the modules that it imports, and in the sections of its room."""
        imported = {node.module for node in ast.walk(self.modules[module]) if isinstance(node, ast.ImportFrom)}
        found = []
        for other, classes in self.settings.items():
            section = other.rpartition(".")[2] if ".config.sections." in other else ""
            rooms = {_room(module), *PURE.get(_room(module), ())}
            if other in imported or _room(other) in rooms or _room(module) in CONFIGURED.get(section, ()):
                found += classes
        return found

    def repeated_defaults(self) -> Iterator[tuple[str, str, str]]:
        """Yield where, which parameter or field, and the literal: each is a setting's default in a second place."""
        for module, tree in self.modules.items():
            names = {name for known in self.known_in(module) for name in _fields(known)}
            own = set(map(id, self.settings[module]))
            for node in ast.walk(tree):
                where = f"{module.partition('.')[2]}.{getattr(node, 'name', 'lambda')}"
                pairs: list[tuple[str, ast.expr]] = []
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                    pairs = _parameters(node.args)
                elif isinstance(node, ast.ClassDef) and id(node) not in own:
                    pairs = [(name, value) for name, value in _fields(node).items() if value is not None]
                yield from (
                    (where, name, ast.unparse(value)) for name, value in pairs if name in names and _states(value)
                )

    def repeated_choices(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield where the choices of a setting are listed outside of the one place of the room that lists them."""
        for module, tree in self.modules.items():
            choices = {found for known in self.known_in(module) for found in _listed(known)}
            inside = {id(node) for known in self.settings[module] for node in ast.walk(known)}
            for node in ast.walk(tree):
                if id(node) not in inside and (listed := _strings(node)) in choices:
                    yield module.partition(".")[2], listed

    def handmade_readers(self) -> Iterator[str]:
        """Yield modules that turn a section into arguments by themselves: ``{key.lower(): ... }``."""
        for module, tree in self.modules.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.DictComp) and "lower" in {
                    part.attr for part in ast.walk(node.key) if isinstance(part, ast.Attribute)
                }:
                    yield module.partition(".")[2]


def _settings_classes(tree: ast.Module, names: set[str]) -> Iterator[ast.ClassDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(
            isinstance(base, ast.Name) and base.id in names for base in node.bases
        ):
            yield node


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _fields(node: ast.ClassDef) -> dict[str, ast.expr | None]:
    """Annotated names of a class body and what they are set to."""
    return {
        statement.target.id: statement.value
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


def _parameters(arguments: ast.arguments) -> list[tuple[str, ast.expr]]:
    """Parameters with a default, and the default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = list(zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults))
    pairs += [(one, value) for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults) if value is not None]
    return [(argument.arg, value) for argument, value in pairs]


def _states(value: ast.expr) -> bool:
    """Whether an expression states a value: a literal, or a constant of a module; None says that there is none."""
    if isinstance(value, ast.Name):
        return value.id.isupper()
    try:
        return ast.literal_eval(value) is not None
    except ValueError:
        return False


def _strings(node: ast.AST) -> frozenset[str] | None:
    """Strings of a tuple, list, set, ``Literal[...]``, or the keys of a dictionary; None unless there are two."""
    parts = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", None)
    if not parts or not all(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts):
        return None
    return frozenset(part.value for part in parts) if len(parts) > 1 else None


def _listed(known: ast.ClassDef) -> Iterator[frozenset[str]]:
    """Choices that the settings of a class list themselves; those of ``get_args`` are listed elsewhere, once."""
    for node in ast.walk(known):
        if isinstance(node, ast.keyword) and node.arg in ("choices", "builtin") and (listed := _strings(node.value)):
            yield listed


OURS = Source(REPOSITORY / PACKAGE)

MADE_UP = {
    "room/settings.py": """
@section("ROOM")
class RoomSettings(Settings):
    tau: float = setting(0.15, "threshold", low=0)
    kind: str = setting("near", "which", choices=("near", "far"))
    way: Way = setting("up", "which", choices=get_args(Way))
""",
    "room/work.py": """
TAU = 0.15
KINDS = ("far", "near")

class Work:
    tau: float = 0.15

    def run(self, values, *, tau=TAU, kind=None, other=1): ...

read = lambda node, way="up": {key.lower(): value for key, value in node.items()}
""",
    "user/module.py": """
from made_up.room.settings import RoomSettings

def use(tau: float = 0.2): ...
""",
    "stranger/module.py": """
KINDS = {"near": 1, "far": 2}

def use(tau: float = 0.2): ...
""",
}


def made_up(folder: Path) -> Source:
    """A package with two rooms that know the settings and one that does not."""
    for name, text in MADE_UP.items():
        path = folder / "made_up" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Source(folder / "made_up")


def test_a_default_stands_in_one_place() -> None:
    repeated = set(OURS.repeated_defaults())
    assert {found for found in repeated if found[:2] not in OTHER_MEANING} == set()


def test_choices_are_listed_in_one_place() -> None:
    assert set(OURS.repeated_choices()) == set()


def test_sections_are_read_by_their_dataclass() -> None:
    assert set(OURS.handmade_readers()) == set()


def test_every_exception_is_needed() -> None:
    assert OTHER_MEANING.keys() <= {(where, name) for where, name, _ in OURS.repeated_defaults()}


def test_a_second_default_is_found(tmp_path: Path) -> None:
    assert set(made_up(tmp_path).repeated_defaults()) == {
        ("room.work.Work", "tau", "0.15"),
        ("room.work.run", "tau", "TAU"),
        ("room.work.lambda", "way", "'up'"),
        ("user.module.use", "tau", "0.2"),
    }


def test_a_second_list_of_choices_and_a_handmade_reader_are_found(tmp_path: Path) -> None:
    source = made_up(tmp_path)
    assert set(source.repeated_choices()) == {("room.work", frozenset({"near", "far"}))}
    assert set(source.handmade_readers()) == {"room.work"}
