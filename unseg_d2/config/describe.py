"""What the keys of the configuration mean: for the terminal, for docs/config.md, and what a recipe changes."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from unseg_d2.config.load import load_cfg
from unseg_d2.config.locate import locate
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.plugins import load_plugins
from unseg_d2.recipes import find_recipe
from unseg_d2.registry import REGISTRIES, fitted_by
from unseg_d2.settings import SECTIONS, Setting, all_settings, look_up

PAGE = """# Settings

<!-- Written by `unseg-d2 config --markdown`; a test compares the two. -->

Every key that a recipe or a command line can set, with its default, what it means and which values it takes.
`unseg-d2 config MASKS.MASKCUT` prints a part of this page, `unseg-d2 config --diff RECIPE` what a recipe changes. A
value of another type or out of range is refused, with the line of the recipe. Keys under `MODEL`, `INPUT`,
`DATALOADER`, `SOLVER` and `TEST` have Detectron2's names and defaults. *Built-in:* lists the values that the built-in
engine supports, where Detectron2 supports more.
"""


def matching(names: Sequence[str]) -> list[tuple[str, Setting]]:
    """Return the keys of the named sections, or the named keys, with what is known about each.

    Args:
        names: sections and keys, in any case; every key where there are none.

    Raises:
        UnsegError: a name is neither a section nor a key.
    """
    load_plugins()
    known = list(all_settings())
    for name in names:
        if not any(_is_in(key, name) for key, _ in known):
            every = {key for key, _ in known} | set(SECTIONS)
            raise UnsegError(f"There is no section or key {name}.{nearest(name.upper(), every)}")
    return [(key, found) for key, found in known if not names or any(_is_in(key, name) for name in names)]


def terminal(names: Sequence[str] = (), width: int = 100) -> str:
    """Return two lines or more per key: ``KEY = default``, then meaning and range, below the section's own line."""
    lines: list[str] = []
    for section, keys in _by_section(matching(names)):
        lines += [f"# {section or 'top level'}: {_about(section)}", ""]
        for key, known in keys:
            lines.append(f"{key} = {known.default!r}")
            lines += textwrap.wrap(_explained(key, known), width, initial_indent="    ", subsequent_indent="    ")
        lines.append("")
    return "\n".join(lines).rstrip()


def markdown() -> str:
    """Return the page docs/config.md."""
    parts = [PAGE]
    for section, keys in _by_section(matching(())):
        parts += [f"## {f'`{section}`' if section else 'Top level'}\n", f"{_about(section)}\n"]
        rows = ["| key | default | meaning | values |", "|---|---|---|---|"]
        for key, known in keys:
            name = key.rpartition(".")[2]
            rows.append(f"| `{name}` | `{known.default!r}` | {_cell(_meaning(known))} | {_cell(_values(key, known))} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def differences(recipe: str | Path, names: Sequence[str] = (), width: int = 100) -> str:
    """Return what a recipe changes: ``KEY = value``, then the default, where it is set, and the meaning.

    Args:
        recipe: YAML file, or name of a shipped one.
        names: sections and keys to look at; all where there are none.
        width: of the lines.

    Raises:
        UnsegError: see :func:`unseg_d2.config.load_cfg` and :func:`matching`.
    """
    cfg, path = load_cfg(recipe), find_recipe(recipe)
    lines: list[str] = []
    for key, known in matching(names):
        value = look_up(cfg, key)
        if value == known.default:
            continue
        note = f"{locate(path, key)}; default {known.default!r}; {_meaning(known)}"
        lines.append(f"{key} = {value!r}")
        lines += textwrap.wrap(note, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(lines) if lines else f"{recipe} changes nothing here."


def _by_section(keys: Sequence[tuple[str, Setting]]) -> Iterator[tuple[str, list[tuple[str, Setting]]]]:
    """Yield each section with its keys; the top level first."""
    for section in dict.fromkeys(key.rpartition(".")[0] for key, _ in keys):
        yield section, [(key, known) for key, known in keys if key.rpartition(".")[0] == section]


def _about(section: str) -> str:
    """The first line of the docstring of a section's settings, without references."""
    text = (inspect.getdoc(SECTIONS[section]) or "").partition("\n\n")[0].replace("\n", " ")
    return text.replace(":func:", "").replace(":class:", "").replace("``", "`").replace("~", "")


def _meaning(known: Setting) -> str:
    symbol = f"{known.symbol}: " if known.symbol else ""
    unit = f" ({known.unit})" if known.unit else ""
    return f"{symbol}{known.meaning}{unit}"


def _values(key: str, known: Setting) -> str:
    if known.no_effect:
        return f"no effect ({known.no_effect}); kept so that published recipes load"
    if key in REGISTRIES:
        several = isinstance(known.default, (list, tuple))
        return f"{'any' if several else 'one'} of {', '.join(REGISTRIES[key].names())}"
    builtin = f"; built-in: {' or '.join(map(repr, known.builtin))}" if known.builtin else ""
    fitted = "".join(f"; {value!r} by default with {part} {name}" for part, name, value in fitted_by(key))
    return known.expected() + builtin + fitted


def _explained(key: str, known: Setting) -> str:
    return f"{_meaning(known)}; {_values(key, known)}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _is_in(key: str, name: str) -> bool:
    return f"{key}.".startswith(f"{name.upper()}.")
