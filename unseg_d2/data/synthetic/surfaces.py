"""Surfaces of scenes: a pattern of two colours in space, drawn freely or from the look of its class.

Shape legend
    N      number of points
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PATTERNS = ("plain", "checker", "stripes", "dots", "clouds")


@dataclass(frozen=True)
class Material:
    """What the surfaces of a class have in common.

    Attributes:
        hue: mean and standard deviation, share of a full turn; of a sky a range.
        saturation: range in [0, 1].
        value: range of the brightness in [0, 1].
        patterns: those that occur, some of ``PATTERNS``.
    """

    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]
    patterns: tuple[str, ...]


ANY_SKY = Material((0.0, 1.0), (0.05, 0.35), (0.6, 0.95), ("plain",))
BLUE_SKY = Material((0.51, 0.59), (0.3, 0.55), (0.75, 0.98), ("plain",))
FLOOR = Material((0.28, 0.05), (0.1, 0.3), (0.4, 0.7), PATTERNS[1:])
SOLIDS = {
    "sphere": Material((0.0, 0.02), (0.65, 0.95), (0.55, 0.95), ("plain", "dots")),
    "box": Material((0.13, 0.02), (0.65, 0.95), (0.6, 0.95), ("plain", "stripes", "clouds")),
    "cylinder": Material((0.62, 0.03), (0.65, 0.95), (0.55, 0.95), ("plain", "checker")),
    "cone": Material((0.83, 0.03), (0.55, 0.9), (0.55, 0.95), ("plain", "clouds", "stripes")),
}
"""What solids of each shape look like where the surface depends on the class."""


@dataclass(frozen=True)
class Surface:
    """Colour of a surface: a pattern of two colours in space.

    Attributes:
        pattern: one of ``PATTERNS``.
        colours: ``(2, 3)`` RGB in [0, 1].
        period: length of a repetition, m.
        waves: ``(6, 4)`` wave vectors and phases of the clouds.
        gloss: strength of the highlight in [0, 1].
    """

    pattern: str
    colours: np.ndarray
    period: float
    waves: np.ndarray
    gloss: float = 0.0

    def albedo(self, points: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        """Colours ``(N, 3)`` at points ``(N, 3)`` in m; patterns finer than the pixel ``footprint`` (N,) fade out."""
        if self.pattern == "plain":
            return np.broadcast_to(self.colours[0], points.shape)
        weight = _pattern(self.pattern, points / self.period + 0.37, self.waves)
        visible = np.clip(self.period / (2 * footprint) - 1, 0, 1)
        weight = 0.5 + (weight - 0.5) * visible
        return self.colours[0] + weight[:, None] * (self.colours[1] - self.colours[0])


def random_surfaces(
    rng: np.random.Generator, count: int, one_colour: bool, floor_contrast: float
) -> tuple[Surface, list[Surface]]:
    """The floor and one surface per solid; plain solids differ in colour from the floor.

    Args:
        rng: source of everything random.
        count: number of solids.
        one_colour: all solids have one colour and no pattern.
        floor_contrast: see `scenes.random_scene`.
    """
    floor = _random_surface(rng, rng.choice(PATTERNS), contrast=floor_contrast, period=rng.uniform(0.35, 1.2))
    if one_colour:
        return floor, [_random_surface(rng, "plain", away_from=floor.colours)] * count
    patterns = rng.choice(PATTERNS, size=count, p=(0.45, 0.15, 0.15, 0.1, 0.15))
    solids = [
        _random_surface(rng, pattern, contrast=0.3, period=rng.uniform(0.2, 0.45), away_from=floor.colours)
        for pattern in patterns
    ]
    return floor, solids


def _random_surface(
    rng: np.random.Generator,
    pattern: str,
    *,
    contrast: float = 0.0,
    period: float = 1.0,
    away_from: np.ndarray | None = None,
) -> Surface:
    """A surface with a colour not close to ``away_from`` and a lighter or darker shade of it."""
    for _ in range(50):
        colour = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.05, 0.75), rng.uniform(0.35, 0.95)))
        if away_from is None or np.linalg.norm(away_from - colour, axis=1).min() > 0.3:
            break
    return _patterned(rng, str(pattern), colour, contrast, period)


def surfaces_of_classes(
    rng: np.random.Generator, shapes: Sequence[str], floor_contrast: float
) -> tuple[Surface, list[Surface]]:
    """The floor and one surface per solid, drawn from the materials of their classes.

    Args:
        rng: source of everything random.
        shapes: of the solids.
        floor_contrast: see `scenes.random_scene`.
    """
    floor = _surface_of(rng, FLOOR, contrast=floor_contrast, period=rng.uniform(0.35, 1.2))
    return floor, [_surface_of(rng, SOLIDS[shape], contrast=0.3, period=rng.uniform(0.2, 0.45)) for shape in shapes]


def _surface_of(rng: np.random.Generator, material: Material, contrast: float, period: float) -> Surface:
    hue = rng.normal(*material.hue) % 1.0
    colour = np.array(colorsys.hsv_to_rgb(hue, rng.uniform(*material.saturation), rng.uniform(*material.value)))
    return _patterned(rng, str(rng.choice(material.patterns)), colour, contrast, period)


def _patterned(rng: np.random.Generator, pattern: str, colour: np.ndarray, contrast: float, period: float) -> Surface:
    """A surface with a colour and a lighter or darker shade of it."""
    sign = -1.0 if colour.mean() > 0.5 else 1.0
    second = np.clip(colour + sign * contrast * rng.uniform(0.8, 1.6) + rng.normal(0, contrast / 3, 3), 0.05, 0.98)
    waves = np.concatenate([rng.normal(0, 3.0, (6, 3)), rng.uniform(0, 2 * np.pi, (6, 1))], axis=1)
    gloss = rng.uniform(0.1, 0.5) if rng.random() < 0.4 else 0.0
    return Surface(pattern, np.array([colour, second], np.float32), period, waves.astype(np.float32), gloss)


def _pattern(kind: str, points: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """Weight ``(N,)`` in [0, 1] of the second colour; points ``(N, 3)`` in periods."""
    x, y, z = points.T
    if kind == "checker":
        return (np.floor(x) + np.floor(y) + np.floor(z)) % 2
    if kind == "stripes":
        return np.floor(x + y + 2 * z) % 2
    if kind == "dots":
        cell = points - np.floor(points) - 0.5
        return ((cell**2).sum(1) < 0.15).astype(points.dtype)
    phase = points @ waves[:, :3].T + waves[:, 3]
    return 0.5 + 0.5 * np.tanh(np.sin(phase).mean(axis=1) * 2)
