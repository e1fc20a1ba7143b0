"""Random pictures of objects made of parts, several of each kind, with exact masks of parts, objects and groups.

They are flat and made to have levels of detail: the parts of an object differ in colour and pattern, but less than
objects differ from each other and from the floor, and objects of one kind look alike. `nested_scene` is a pure function
of its random generator.

Shape legend
    H, W   height and width of the image in pixels
    p      parts of all objects
    o      objects
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unseg_d2.files import atomic_folder, write_json
from unseg_d2.rle import encode_mask

LEVELS = ("part", "object", "group")
"""Names of the levels of the ground truth, 0 is the finest."""

Outline = tuple[tuple[float, float], ...]
_DISC: Outline = tuple((float(np.cos(a)), float(np.sin(a))) for a in np.linspace(0, 2 * np.pi, 24, endpoint=False))
_BOX: Outline = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
_TRIANGLE: Outline = ((-1.0, 1.0), (0.0, -1.0), (1.0, 1.0))

KINDS: dict[str, tuple[tuple[Outline, float, float, float, float], ...]] = {
    "house": ((_BOX, 0.0, 0.4, 0.75, 0.6), (_TRIANGLE, 0.0, -0.6, 0.95, 0.4), (_BOX, 0.25, 0.6, 0.2, 0.4)),
    "tree": ((_BOX, 0.0, 0.6, 0.22, 0.4), (_DISC, 0.0, -0.3, 0.7, 0.65)),
    "car": ((_BOX, 0.0, 0.2, 1.0, 0.35), (_BOX, -0.1, -0.4, 0.55, 0.28), (_DISC, -0.55, 0.6, 0.27, 0.27)),
    "fish": ((_DISC, -0.2, 0.0, 0.75, 0.45), (_TRIANGLE, 0.72, 0.0, 0.3, 0.5)),
    "lamp": ((_TRIANGLE, 0.0, -0.5, 0.7, 0.45), (_BOX, 0.0, 0.35, 0.18, 0.45), (_BOX, 0.0, 0.88, 0.5, 0.14)),
}
"""Parts of each kind, painted one over the other: outline, centre (x, y) and half size (x, y); y points down."""

_APART = 0.45  # least distance in Lab / 100 of the colours of two kinds, and of a kind and the floor
_PART = 0.16  # and of two parts of an object
_GAP = 6.0  # px between objects, at least
FLOOR = 3.0  # m from the camera, which looks straight down
HEIGHTS = (0.3, 1.5)  # m, of the tops of objects above the floor
_TRIES = 200


@dataclass(frozen=True)
class NestedScene:
    """A picture and what is in it.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        parts: ``(H, W)`` int64, 0 for the floor, i + 1 for part i.
        depth: ``(H, W)`` float32, metres from above: one for the floor, and a smaller one for each object.
        objects: ``(p,)`` object of each part.
        kinds: ``(o,)`` names of the kinds of objects, see :data:`KINDS`.
    """

    image: np.ndarray
    parts: np.ndarray
    depth: np.ndarray
    objects: tuple[int, ...]
    kinds: tuple[str, ...]


def nested_scene(
    rng: np.random.Generator, *, size: tuple[int, int], num_kinds: tuple[int, int], copies: tuple[int, int]
) -> NestedScene:
    """Draw one scene.

    Args:
        rng: source of everything random; the same state gives the same scene.
        size: height and width, px.
        num_kinds: fewest and most kinds of objects.
        copies: fewest and most objects of a kind; fewer where there is no room.
    """
    names = rng.permutation(list(KINDS))[: int(rng.integers(num_kinds[0], num_kinds[1] + 1))].tolist()
    colours = _colours(rng, [len(KINDS[name]) for name in names])
    wanted = [name for name in names for _ in range(int(rng.integers(copies[0], copies[1] + 1)))]
    placed = _places(rng, size, len(wanted))
    parts = np.zeros(size, dtype=np.int64)
    objects: list[int] = []
    paints = [_Paint.drawn(rng, colours[0][0], 0.05)]
    of_kind = {
        name: [_Paint.drawn(rng, colour, 0.1) for colour in own] for name, own in zip(names, colours[1:], strict=True)
    }
    wanted = wanted[: len(placed)]
    for number, (name, (centre, radius, turn)) in enumerate(zip(wanted, placed)):
        for outline, paint in zip(KINDS[name], of_kind[name], strict=True):
            objects.append(number)
            paints.append(paint)
            parts[_filled(outline, centre, radius, turn, size)] = len(objects)
    image = _painted(rng, parts, paints)
    tops = FLOOR - rng.uniform(*HEIGHTS, len(wanted))
    depth = np.array([FLOOR, *(tops[number] for number in objects)], np.float32)[parts]
    return NestedScene(image, parts, depth, tuple(objects), tuple(wanted))


def nested_truth(scene: NestedScene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """Return the ground truth of a scene as COCO annotations, of all levels of :data:`LEVELS`.

    Each has ``level``, ``node`` and, where it lies in another one, ``parent``, as label sets have them. A group is all
    objects of a kind, if there are two or more.

    Args:
        scene: the scene.
        image_id: of the image.
        first_id: of the first annotation; the others follow.
    """
    objects = np.array(scene.objects)
    groups = [kind for kind in dict.fromkeys(scene.kinds) if scene.kinds.count(kind) > 1]
    first_object, first_group = len(objects), len(objects) + len(scene.kinds)
    masks = [scene.parts == number + 1 for number in range(len(objects))]
    places: list[tuple[int, int | None]] = [(0, first_object + int(one)) for one in objects]
    for number, kind in enumerate(scene.kinds):
        masks.append(np.isin(scene.parts, np.flatnonzero(objects == number) + 1))
        places.append((1, first_group + groups.index(kind) if kind in groups else None))
    for kind in groups:
        members = [number for number, one in enumerate(scene.kinds) if one == kind]
        masks.append(np.isin(scene.parts, np.flatnonzero(np.isin(objects, members)) + 1))
        places.append((2, None))
    return [
        _annotation(mask, {"id": first_id + node, "image_id": image_id, "level": level, "node": node}, parent)
        for node, (mask, (level, parent)) in enumerate(zip(masks, places, strict=True))
    ]


def write_nested(
    folder: Path, number: int, *, seed: int, size: tuple[int, int], num_kinds: tuple[int, int], copies: tuple[int, int]
) -> tuple[Path, Path]:
    """Write scenes as a data set, which appears when it is complete: ``images/``, ``depth/`` and ``instances.json``.

    Depth is in 16-bit millimetres, as ``DEPTH.SOURCE synthetic`` reads it.
    Scene i is drawn from ``(seed, i)`` alone; for the other arguments see :func:`nested_scene`.

    Returns:
        The folder of the images and the COCO file.

    Raises:
        OSError: the folder cannot be written.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with atomic_folder(folder, replace=True) as made:
        (made / "images").mkdir()
        (made / "depth").mkdir()
        for index in range(number):
            scene = nested_scene(np.random.default_rng([seed, index]), size=size, num_kinds=num_kinds, copies=copies)
            name = f"{index + 1:06d}.png"
            (made / "images" / name).write_bytes(cv2.imencode(".png", scene.image[..., ::-1])[1].tobytes())
            millimetres = np.rint(scene.depth * 1000).astype(np.uint16)
            (made / "depth" / name).write_bytes(cv2.imencode(".png", millimetres)[1].tobytes())
            images.append({"id": index + 1, "file_name": name, "height": size[0], "width": size[1]})
            annotations += nested_truth(scene, index + 1, len(annotations) + 1)
        info = {"description": f"flat objects of parts; levels: {', '.join(LEVELS)}", "image_root": "images"}
        categories = [{"id": 1, "name": "fg"}]
        write_json(
            made / "instances.json",
            {"info": info, "images": images, "annotations": annotations, "categories": categories},
        )
    return folder / "images", folder / "instances.json"


def _annotation(mask: np.ndarray, about: dict[str, Any], parent: int | None) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    item = about | {"category_id": 1, "iscrowd": 0, "bbox": box, "area": int(mask.sum())}
    return item | {"segmentation": encode_mask(mask)} | ({} if parent is None else {"parent": parent})


@dataclass(frozen=True)
class _Paint:
    """A colour, and a pattern of waves of a lighter and a darker shade of it."""

    colour: np.ndarray
    contrast: float
    waves: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator, colour: np.ndarray, contrast: float) -> _Paint:
        angle, period = rng.uniform(0, np.pi), rng.uniform(5, 12)
        waves = np.array([np.cos(angle), np.sin(angle)]) * (2 * np.pi / period)
        return cls(colour, contrast * float(rng.integers(0, 2)), waves)

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the Lab / 100 of pixels, ``(n, 3)``."""
        shade = 0.5 * self.contrast * np.sign(np.sin(self.waves[0] * rows + self.waves[1] * columns))
        return self.colour + np.array([1.0, 0.0, 0.0]) * shade[:, None]


def _colours(rng: np.random.Generator, numbers: Sequence[int]) -> list[list[np.ndarray]]:
    """Return the colours of the floor, and of the parts of each kind, in Lab / 100."""
    bases: list[np.ndarray] = []
    found: list[list[np.ndarray]] = []
    for number in (1, *numbers):
        base = _away(lambda: _random_colour(rng), bases, _APART)
        bases.append(base)
        own = [base]
        while len(own) < number:
            own.append(_away(lambda base=base: _near(rng, base), own, _PART))
        found.append(own)
    return found


def _away(draw: Any, others: Sequence[np.ndarray], least: float) -> np.ndarray:
    """Draw a colour that is far from others, or after many tries the farthest."""
    drawn = [draw() for _ in range(_TRIES)]
    distances = [min((float(np.linalg.norm(one - other)) for other in others), default=np.inf) for one in drawn]
    far = [one for one, distance in zip(drawn, distances) if distance >= least]
    return far[0] if far else drawn[int(np.argmax(distances))]


def _random_colour(rng: np.random.Generator) -> np.ndarray:
    rgb = rng.uniform(0.1, 0.95, (1, 1, 3)).astype(np.float32)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0, 0] / 100, dtype=np.float64)


def _near(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """Return a colour at a distance between that of parts and that of kinds."""
    step = rng.standard_normal(3)
    near = colour + step / np.linalg.norm(step) * rng.uniform(_PART, 0.5 * (_PART + _APART))
    near[0] = np.clip(near[0], 0.1, 0.95)
    return near


def _places(
    rng: np.random.Generator, size: tuple[int, int], number: int
) -> list[tuple[tuple[float, float], float, float]]:
    """Return centre (x, y), radius and angle of up to as many objects, which do not touch."""
    height, width = size
    placed: list[tuple[tuple[float, float], float, float]] = []
    for _ in range(_TRIES * number):
        if len(placed) == number:
            break
        radius = min(size) * rng.uniform(0.1, 0.17)
        reach = 1.35 * radius  # of the corners of the parts
        x, y = rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)
        turn = rng.uniform(-0.3, 0.3)
        if all(np.hypot(x - a, y - b) > reach + 1.35 * other + _GAP for (a, b), other, _ in placed):
            placed.append(((x, y), radius, turn))
    return placed


def _filled(
    part: tuple[Outline, float, float, float, float],
    centre: tuple[float, float],
    radius: float,
    turn: float,
    size: tuple[int, int],
) -> np.ndarray:
    """Return the pixels of a part, ``(H, W)`` bool."""
    outline, x, y, half_width, half_height = part
    points = np.array(outline) * (half_width, half_height) + (x, y)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners = np.rint((points @ rotation * radius + centre) * 16).astype(np.int32)
    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [corners], 1, lineType=cv2.LINE_8, shift=4)
    return canvas > 0


def _painted(rng: np.random.Generator, parts: np.ndarray, paints: Sequence[_Paint]) -> np.ndarray:
    """Return the picture, softened by a lens blur and sensor noise."""
    lab = np.zeros((*parts.shape, 3))
    for number, paint in enumerate(paints):
        rows, columns = np.nonzero(parts == number)
        lab[rows, columns] = paint.at(rows, columns)
    rgb = cv2.cvtColor((lab * 100).astype(np.float32), cv2.COLOR_LAB2RGB)
    rgb = cv2.GaussianBlur(np.clip(rgb, 0, 1), (0, 0), 0.6)
    rgb += np.float32(0.01) * rng.standard_normal(rgb.shape, dtype=np.float32)
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
