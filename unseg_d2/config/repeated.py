"""Keys that occur twice in a recipe, of which YAML's reader would take the last and say nothing."""

from __future__ import annotations

import yaml


class RepeatedKey(yaml.YAMLError):
    """A key with two values; ``problem`` says which, as in the errors of YAML's reader."""

    def __init__(self, key: str, first: int, file: str, mark: yaml.Mark) -> None:
        self.problem = f"{key} occurs twice, first in line {first}; put what belongs to it together"
        self.problem_mark, self.file = mark, file


def check_repeated(text: str, file: str) -> None:
    """Refuse a mapping with two values for one key; values that are equal count as one.

    Args:
        text: YAML.
        file: that it is from.

    Raises:
        yaml.YAMLError: there is such a key, or the text is not YAML.
    """
    waiting = [yaml.compose(text, Loader=yaml.SafeLoader)]
    seen: set[int] = set()  # an alias leads to a node again
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            _check(node, file)
            waiting += [value for _, value in node.value]


def _check(node: yaml.MappingNode, file: str) -> None:
    known: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        first, before = known.setdefault(key.value, (key, value))
        if before is not value and yaml.serialize(before) != yaml.serialize(value):
            raise RepeatedKey(key.value, first.start_mark.line + 1, file, key.start_mark)
