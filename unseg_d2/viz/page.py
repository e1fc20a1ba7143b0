"""Pages and pictures from the templates of this package, with everything that is inserted escaped."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from unseg_d2.files import atomic_write


@functools.cache
def environment() -> jinja2.Environment:
    """Return the template environment; everything that is inserted is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("unseg_d2.viz", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render(template: str, **values: Any) -> str:
    """Return a template filled in; strings among the values are escaped."""
    return environment().get_template(template).render(**values)


def source(name: str) -> Markup:
    """Return a style sheet or script of this package as it is, to stand inside a page."""
    loader = environment().loader
    assert loader is not None
    return Markup(loader.get_source(environment(), name)[0])


def script_hash(script: str) -> str:
    """Return the hash by which a content security policy allows one inline script and no other.

    >>> script_hash("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def script_json(value: Any) -> Markup:
    """Return compact JSON that cannot leave the ``<script>`` element it stands in.

    >>> script_json("</script>")
    Markup('"\\\\u003c/script\\\\u003e"')
    """
    return htmlsafe_json_dumps(value, dumps=json.dumps, separators=(",", ":"), allow_nan=False)


def write_text(path: Path, parts: Iterable[str]) -> None:
    """Write a text file piece by piece, completely or not at all.

    Raises:
        UnsegError: if the folder cannot be written or the disk is full.
    """
    with atomic_write(path) as file:
        for part in parts:
            file.write(part.encode(errors="backslashreplace"))  # names need not be text
