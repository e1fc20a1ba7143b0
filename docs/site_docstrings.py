"""Griffe extension: what docstrings here hold beyond Google's style, in Markdown."""

from __future__ import annotations

import re

import griffe

ROLE = re.compile(r":\w+:`~?([^`]+)`")
LEGEND = re.compile(r"^Shape legend\n(?= )", re.MULTILINE)
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


class DocstringsInMarkdown(griffe.Extension):
    """Turn Sphinx's roles into code, and shape legends and examples into blocks that keep their lines."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of a module, class, function or attribute before it is parsed."""
        if obj.docstring:
            obj.docstring.value = in_markdown(obj.docstring.value)


def in_markdown(text: str) -> str:
    """Return a docstring, without indentation, as Markdown."""
    text = LEGEND.sub("**Shape legend**\n\n", ROLE.sub(r"`\1`", text))
    return EXAMPLE.sub(lambda example: f"```pycon\n{example[0]}\n```", text)
