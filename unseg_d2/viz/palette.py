"""Colours of instances: few, distinct, the same in every picture, and told apart by colour-blind readers."""

from __future__ import annotations

# Okabe and Ito, "Color Universal Design" (2008), without black; reordered so that neighbours differ in lightness too.
_BASE = (
    (86, 180, 233),  # sky blue
    (213, 94, 0),  # vermillion
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (204, 121, 167),  # reddish purple
    (0, 114, 178),  # blue
    (230, 159, 0),  # orange
)
_TONES = ((0, 0.0), (255, 0.5), (0, 0.4))  # grey level and share it is mixed in with: pure, light, dark

NUM_COLOURS = len(_BASE) * len(_TONES)


def instance_colour(index: int) -> tuple[int, int, int]:
    """Return the colour of the ``index``-th instance of an image.

    Args:
        index: place of the instance in its image, from 0; the 21 colours repeat after that.

    Returns:
        Red, green and blue in [0, 255].

    >>> instance_colour(1)
    (213, 94, 0)
    """
    tone, share = _TONES[index // len(_BASE) % len(_TONES)]
    red, green, blue = (round((1 - share) * value + share * tone) for value in _BASE[index % len(_BASE)])
    return red, green, blue


def hex_colour(index: int) -> str:
    """Return :func:`instance_colour` as ``#rrggbb`` for HTML and SVG.

    >>> hex_colour(1)
    '#d55e00'
    """
    return "#{:02x}{:02x}{:02x}".format(*instance_colour(index))
