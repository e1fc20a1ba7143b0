"""XML files of annotations, written piece by piece with everything escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree


def element(tag: str, attributes: Mapping[str, Any] | None = None, text: Any = None) -> ElementTree.Element:
    """Return an element.

    Args:
        tag: its name.
        attributes: values are turned into text.
        text: its content.
    """
    made = ElementTree.Element(tag, {key: str(value) for key, value in (attributes or {}).items()})
    made.text = None if text is None else str(text)
    return made


def tree(tag: str, content: Mapping[str, Any]) -> ElementTree.Element:
    """Return an element that holds others: a mapping is an element with elements, anything else text.

    >>> ElementTree.tostring(tree("size", {"width": 4, "part": {"of": "a & b"}}))
    b'<size><width>4</width><part><of>a &amp; b</of></part></size>'
    """
    made = ElementTree.Element(tag)
    for key, value in content.items():
        made.append(tree(key, value) if isinstance(value, Mapping) else element(key, text=value))
    return made


def to_bytes(made: ElementTree.Element) -> bytes:
    """Return an element as indented UTF-8 with a line break at its end."""
    ElementTree.indent(made)
    return ElementTree.tostring(made, encoding="utf-8") + b"\n"
