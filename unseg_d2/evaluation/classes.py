"""Numbers for the categories that an evaluation tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unseg_d2.errors import UnsegError


class Classes:
    """Numbers from 1 on: some of the libraries that match take small ids only.

    Args:
        categories: COCO categories (``id``, ``name``); of none, all are of one class; of ``None``, those that occur are
            told apart.
    """

    def __init__(self, categories: Sequence[Mapping[str, Any]] | None) -> None:
        self.listed = list(categories or ())
        self.apart = categories is None or bool(categories)
        self.is_open = categories is None
        self.numbers = {category["id"]: number for number, category in enumerate(self.listed, start=1)}

    def __len__(self) -> int:
        return max(len(self.numbers), 1)

    def of(self, items: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the number of each annotation or result.

        Raises:
            UnsegError: its category is not listed.
        """
        if not self.apart:
            return [1] * len(items)
        numbers = []
        for item in items:
            key = item.get("category_id", 1)
            if key not in self.numbers:
                if not self.is_open:
                    raise UnsegError(
                        f"An annotation or result of image {item['image_id']} has the category {key}, which the ground "
                        "truth does not list."
                    )
                self.numbers[key] = len(self.numbers) + 1
            numbers.append(self.numbers[key])
        return numbers

    def positions(self) -> dict[str, int]:
        """Return the names of the classes in their order, each with its number less 1; none for a single class."""
        if not self.is_open:
            names = [str(category.get("name", category["id"])) for category in self.listed]
            return {name: position for position, name in enumerate(names)}
        return {str(key): self.numbers[key] - 1 for key in sorted(self.numbers, key=str)} or {"1": 0}
