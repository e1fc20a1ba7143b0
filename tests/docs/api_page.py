"""Write docs/api.md from the docstrings of the public names: ``python tests/docs/api_page.py``."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import unseg_d2

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
START = """# Python interface

<!-- Written by `python tests/docs/api_page.py` from the docstrings; a test compares the two. -->

```python
import unseg_d2
```

These are the public names:

{names}.

They are what `unseg_d2.__all__` lists, and what stays as it is from one minor version to the next, with the attributes
and methods on this page. Everything else in the package may change: if you import from a module below `unseg_d2`, pin
the version. `import unseg_d2` itself takes no time; torch is imported when a
name is first used that needs it.

An **image** is a path, a Pillow image, or an `(H, W, 3)` uint8 array in RGB. A **recipe** is a YAML file or the name of
one that comes with the package (`configs/quickstart.yaml`; all are in [recipes.md](recipes.md)), and **overrides** are
settings that differ from it: alternating keys and values, or one mapping.

```python
generator = unseg_d2.MaskGenerator.from_recipe("configs/quickstart.yaml", "MASKS.MASKCUT.NUM_MASKS", 5)
generator = unseg_d2.MaskGenerator.from_recipe("configs/quickstart.yaml", {{"MASKS.MASKCUT.NUM_MASKS": 5}})  # the same
```

What you can put right is raised as `unseg_d2.UnsegError`, with the sentence that the command line prints. What happens
on the way is logged to the logger `unseg_d2`: `logging.basicConfig(level=logging.INFO)` shows it.
"""
SECTIONS = {
    "Masks without training": ("MaskGenerator", "PseudoMask", "generate_masks"),
    "Detectors": ("Detector", "Prediction", "export_detector", "OnnxDetector", "self_train"),
    "Saliency": ("SaliencyHead",),
    "Label sets and scores": (
        *("read_label_set", "visualize", "score_masks", "export_labels", "import_corrections"),
        "group_masks",
    ),
    "Recipes and errors": ("load_recipe", "UnsegError"),
}
INSTANCES = {"MaskGenerator": "generator", "PseudoMasks": "masks"}
"""What an instance of a class is called in the calls of its methods, where it is not the class in small letters."""


def render() -> str:
    """Return the page."""
    names = ",\n".join(f"[`{name}`](#{name.lower()})" for name in unseg_d2.__all__)
    parts = [START.format(names=names).rstrip()]
    for title, members in SECTIONS.items():
        parts.append(f"## {title}")
        for name in members:
            parts += entry(name, getattr(unseg_d2, name), level=3)
    parts.append("## What these return")
    for name, returned in sorted(returned_classes().items()):
        parts += entry(name, returned, level=3)
    return "\n\n".join(parts) + "\n"


def entry(name: str, value: Any, level: int) -> Iterator[str]:
    """Yield heading, signature and description of a name, and of the methods of a class."""
    instance = INSTANCES.get(name, name.lower())
    yield f"{'#' * level} `{name}`"
    if not inspect.isclass(value):
        yield signature(name, value)
    yield from description(value)
    if inspect.isclass(value):
        for key, member in vars(value).items():
            method = getattr(member, "__func__", member)
            if inspect.isfunction(method) and (key == "__call__" or not key.startswith("_")):
                path = f"{name if isinstance(member, classmethod) else instance}.{key}"
                yield signature(path.replace(".__call__", ""), method, bound=True)
                yield from description(method)
            elif isinstance(getattr(member, "func", getattr(member, "fget", None)), Callable) and key[0] != "_":
                yield f"`{instance}.{key}`: {markdown(inspect.getdoc(member) or '')}"


def signature(path: str, function: Callable[..., Any], *, bound: bool = False) -> str:
    """Return a block of code with the call of a function."""
    parameters = list(inspect.signature(function).parameters.values())[int(bound) :]
    result = inspect.signature(function).return_annotation
    texts = [re.sub(r": '([^']*)'", r": \1", str(parameter)).replace("'", '"') for parameter in parameters]
    by_name = [index for index, parameter in enumerate(parameters) if parameter.kind is parameter.KEYWORD_ONLY]
    if by_name and not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        texts.insert(by_name[0], "*")
    text = f"{path}({', '.join(texts)}) -> {result}"
    if len(text) > 100:
        text = f"{path}(\n" + "".join(f"    {line},\n" for line in texts) + f") -> {result}"
    return f"```python\n{text}\n```"


def description(value: Any) -> Iterator[str]:
    """Yield a docstring in Markdown: its paragraphs, and its sections as lists."""
    for paragraph in (inspect.getdoc(value) or "").split("\n\n"):
        title, _, rest = paragraph.partition("\n")
        if title in ("Args:", "Attributes:", "Returns:", "Raises:"):
            label = {"Args:": "Arguments"}.get(title, title[:-1])
            yield f"*{label}*" + ("" if title == "Returns:" else "\n\n") + section(title, rest)
        elif title.startswith(">>> "):
            yield f"```pycon\n{paragraph}\n```"
        else:
            yield markdown(paragraph)


def section(title: str, text: str) -> str:
    """Return the items of a section of a docstring as a list, or what it returns as text."""
    text = textwrap.dedent(text)
    if title == "Returns:":
        return f": {markdown(text)}"
    items = re.split(r"\n(?=\S)", text)
    pairs = (item.partition(": ") for item in items)
    return "\n".join(f"- `{name}`: {markdown(rest)}" for name, _, rest in pairs).replace("`\\*", "`*")


def markdown(text: str) -> str:
    """Return text of a docstring as Markdown on one line; public docstrings have no bullet lists."""
    text = re.sub(r":\w+:`~?([\w.]+)`", lambda match: f"`{re.sub(r'unseg_d2[.].*[.]', '', match[1])}`", text)
    return " ".join(text.replace("``", "`").split())


def returned_classes() -> dict[str, type]:
    """Return the classes of the package that public functions return and that are not public names themselves."""
    found = {}
    for name in unseg_d2.__all__:
        value = getattr(unseg_d2, name)
        functions = [value] if inspect.isfunction(value) else [member for _, member in inspect.getmembers(value)]
        for function in functions:
            annotation = getattr(function, "__annotations__", {}).get("return", "")
            returned = named(str(annotation), inspect.getmodule(function))
            if returned is not None and returned.__name__ not in unseg_d2.__all__:
                found[returned.__name__] = returned
    return found


def named(annotation: str, module: ModuleType | None) -> type | None:
    """Return the class of this package that an annotation names, ``None`` for anything else."""
    value: Any = module
    for part in annotation.split("."):
        value = getattr(value, part, None)
    return value if inspect.isclass(value) and value.__module__.startswith("unseg_d2.") else None


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
