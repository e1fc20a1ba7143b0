"""Short clips of moving solids, with exact tracks: the solids of `scenes`, seen by a camera that drifts sideways.

Each solid slides to and fro along a lane of its own, across the camera's view, so that no two ever touch: the nearer
ones hide the farther ones when they pass, and one of each clip leaves the picture and comes back.

Shape legend
    H, W   height and width of the image in pixels
    n      number of solids
    T      frames
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from unseg_d2.data.synthetic.raycast import Camera, Solid, cast
from unseg_d2.data.synthetic.scenes import Scene, random_camera, random_look, random_solid, render
from unseg_d2.data.synthetic.settings import MIN_OBJECTS

_ROWS = (0.38, 0.85)  # of the farthest and the nearest lane, share of the height
_BELOW = 0.15  # of that of the horizon at least
_APART = 1.02  # times the radii of two solids: how far apart their lanes are at least
_DRIFT = 0.3  # largest drift of the camera over a clip, half widths of what it sees
_LARGEST = 1.1  # radius, m
_OUT = 2.2  # radii that the middle of the solid that leaves is beyond the edge at its farthest


@dataclass(frozen=True)
class Path:
    """How a solid moves along its lane.

    Attributes:
        centre: x that it swings about, m.
        amplitude: farthest from there, m.
        phase: at the first frame, radians.
        cycles: swings in the clip.
    """

    centre: float
    amplitude: float
    phase: float
    cycles: float

    def at(self, time: float) -> float:
        """Return x in m at a time in [0, 1]."""
        return self.centre + self.amplitude * float(np.sin(self.phase + 2 * np.pi * self.cycles * time))


def random_clip(
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    num_frames: int,
    max_objects: int,
    one_colour_share: float,
    pitch: tuple[float, float],
    floor_contrast: float,
    by_class: bool,
) -> list[Scene]:
    """Draw and render one clip.

    Args:
        rng: source of everything random; the same state gives the same clip.
        size: height and width, px.
        num_frames: T.
        max_objects: most solids; the fewest is 2.
        one_colour_share: see `scenes.random_scene`, as are the others.
        pitch: range of the angle that the camera looks down at, degrees.
        floor_contrast: see `scenes.random_scene`.
        by_class: see `scenes.random_scene`.

    Returns:
        T scenes of the same n solids: i + 1 in their instance maps is solid i, wherever it is seen, in every frame.

    Raises:
        ValueError: ``max_objects`` below 2, fewer than 2 frames, or a share outside [0, 1].
    """
    if max_objects < MIN_OBJECTS or num_frames < 2 or not 0 <= one_colour_share <= 1:
        raise ValueError(f"need max_objects >= {MIN_OBJECTS}, num_frames >= 2 and one_colour_share in [0, 1]")
    one_colour = bool(rng.random() < one_colour_share) and not by_class
    camera = random_camera(rng, size, pitch)
    solids = _on_lanes(rng, camera, int(rng.integers(MIN_OBJECTS, max_objects + 1)))
    middle = _half_width(camera, solids[len(solids) // 2])
    drift = middle * rng.uniform(-_DRIFT, _DRIFT)
    leaving = int(rng.integers(len(solids)))
    paths = [
        _leaving(rng, camera, solid, abs(drift)) if index == leaving else _swinging(rng, camera, solid)
        for index, solid in enumerate(solids)
    ]
    look = random_look(rng, camera, solids, one_colour, floor_contrast, by_class)
    shapes = tuple(solid.shape for solid in solids)
    frames = []
    for time in np.linspace(0, 1, num_frames):
        seen_by = replace(camera, place=(drift * (time - 0.5), 0.0))
        placed = [_moved(solid, path.at(time)) for solid, path in zip(solids, paths)]
        image, instances, depth = render(rng, seen_by, placed, cast(seen_by, placed), look)
        frames.append(Scene(image, instances, depth, shapes, one_colour, seen_by))
    return frames


def _on_lanes(rng: np.random.Generator, camera: Camera, count: int) -> list[Solid]:
    """Solids in the middle of the picture, the farthest first, each on a lane that no other touches."""
    height, width = camera.size
    horizon = 0.5 - np.tan(camera.pitch) * camera.focal / height
    rows = np.linspace(max(_ROWS[0], horizon + _BELOW), _ROWS[1], count) * height
    distances = []
    for row in rows.astype(int):
        ray = camera.rays(slice(row, row + 1), slice(width // 2, width // 2 + 1))[0, 0]
        distances.append(-camera.height / ray[2] * ray[1])
    # Half the gap to the nearest lane holds the half diagonal of a footprint of this radius.
    room = np.abs(np.diff(distances)).min() / 2 / _APART / np.sqrt(2)
    solids = []
    for distance in distances:
        radius = min(height * np.exp(rng.uniform(np.log(0.1), np.log(0.22))) / camera.focal * distance, room, _LARGEST)
        solids.append(random_solid(rng, np.array([0.0, distance]), radius))
    return solids


def _half_width(camera: Camera, solid: Solid) -> float:
    """Half of what the camera sees of a lane, m."""
    _, depth = camera.project(solid.centre[None])
    return float(depth[0]) * camera.size[1] / 2 / camera.focal


def _swinging(rng: np.random.Generator, camera: Camera, solid: Solid) -> Path:
    width = _half_width(camera, solid)
    return Path(
        width * rng.uniform(-0.4, 0.4), width * rng.uniform(0.2, 0.6), rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.7)
    )


def _leaving(rng: np.random.Generator, camera: Camera, solid: Solid, drift: float) -> Path:
    """Out of the picture at half time, and back at the end."""
    width, side = _half_width(camera, solid), float(rng.choice((-1.0, 1.0)))
    radius = float(np.linalg.norm(solid.scale[:2]))
    return Path(side * 0.55 * width, side * (0.45 * width + _OUT * radius + drift), 0.0, 0.5)


def _moved(solid: Solid, x: float) -> Solid:
    return replace(solid, centre=np.array([x, *solid.centre[1:]]))
