"""Random pictures of shaded solids on a textured floor, with exact instance masks and depth.

`random_scene` is a pure function of its random generator: it draws camera, light, solids and surfaces, and renders
them with `raycast`. Instance map and depth are those of the ray through the centre of each pixel; only the colours are
softened by a lens blur and sensor noise.

Shape legend
    H, W   height and width of the image in pixels
    N      number of points
    n      number of solids
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from unseg_d2.data.synthetic.raycast import SHAPES, Camera, Solid, cast, cast_floor, occluded
from unseg_d2.data.synthetic.settings import MIN_OBJECTS
from unseg_d2.data.synthetic.surfaces import ANY_SKY, BLUE_SKY, Material, Surface, random_surfaces, surfaces_of_classes

CLASSES = ("sky", "floor", *SHAPES)
_MAX_RADIUS = 1.1  # m
_MIN_VISIBLE_PIXELS = 0.0015  # share of the image below which an object is too small to be found
_MIN_VISIBLE_SHARE = 0.25  # share of its own silhouette that must not be hidden


@dataclass(frozen=True)
class Scene:
    """A rendered scene.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        instances: ``(H, W)`` int, 0 for floor and sky, i + 1 for solid i.
        depth: ``(H, W)`` float64 z-depth in m, infinite in the sky.
        shapes: the shape of each solid, one of ``raycast.SHAPES``.
        one_colour: all solids have the same colour and no pattern.
        camera: the camera the scene was seen with.
    """

    image: np.ndarray
    instances: np.ndarray
    depth: np.ndarray
    shapes: tuple[str, ...]
    one_colour: bool
    camera: Camera

    @property
    def classes(self) -> np.ndarray:
        """What each pixel shows, ``(H, W)`` uint8 indices of :data:`CLASSES`: sky, floor or the shape of a solid."""
        of_instance = [CLASSES.index(name) for name in ("floor", *self.shapes)]
        sky = np.isinf(self.depth)
        return np.where(sky, CLASSES.index("sky"), np.array(of_instance)[self.instances]).astype(np.uint8)


@dataclass(frozen=True)
class Light:
    """A distant lamp and the sky.

    Attributes:
        direction: ``(3,)`` unit vector towards the lamp.
        strength: brightness of a white surface that faces the lamp.
        ambient: brightness of a white surface that faces the sky.
        shadow: share of the lamp's light that a shadow takes away, in [0, 1].
    """

    direction: np.ndarray
    strength: float
    ambient: float
    shadow: float


@dataclass(frozen=True)
class Look:
    """All that decides on the colours of a scene but the noise.

    Attributes:
        floor: its surface.
        surfaces: one per solid.
        light: the lamp and the brightness of the sky.
        sky: its colours, ``(H, W, 3)`` float32.
        visibility: beyond 8 m haze sets in; another ``visibility`` m leave 1 / e of the colours.
    """

    floor: Surface
    surfaces: list[Surface]
    light: Light
    sky: np.ndarray
    visibility: float


def random_scene(
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    max_objects: int,
    one_colour_share: float,
    pitch: tuple[float, float],
    floor_contrast: float,
    by_class: bool,
) -> Scene:
    """Draw and render one scene.

    Args:
        rng: source of everything random; the same state gives the same scene.
        size: height and width, px.
        max_objects: most solids; the fewest is 2.
        one_colour_share: probability that all solids have the same colour and no pattern.
        pitch: range of the angle that the camera looks down at, degrees; from about 35 on no sky is seen.
        floor_contrast: how much the two colours of the floor's pattern differ at most, in [0, 1].
        by_class: each shape, the floor and the sky have colours and patterns of their own, so that a surface shows its
            class; ``one_colour_share`` is then ignored.

    Raises:
        ValueError: ``max_objects`` below 2, or a share outside [0, 1].
    """
    if max_objects < MIN_OBJECTS or not 0 <= one_colour_share <= 1:
        raise ValueError(f"need max_objects >= {MIN_OBJECTS} and one_colour_share in [0, 1]")
    one_colour = bool(rng.random() < one_colour_share) and not by_class
    count = int(rng.integers(MIN_OBJECTS, max_objects + 1))
    while True:
        camera = random_camera(rng, size, pitch)
        solids = _place_solids(rng, camera, count)
        depth = cast(camera, solids)
        kept = _visible(depth)
        if len(kept) >= MIN_OBJECTS:
            break
    solids, depth = [solids[i] for i in kept], depth[kept]
    look = random_look(rng, camera, solids, one_colour, floor_contrast, by_class)
    image, instances, nearest_depth = render(rng, camera, solids, depth, look)
    return Scene(image, instances, nearest_depth, tuple(s.shape for s in solids), one_colour, camera)


def random_look(
    rng: np.random.Generator,
    camera: Camera,
    solids: list[Solid],
    one_colour: bool,
    floor_contrast: float,
    by_class: bool,
) -> Look:
    """Draw surfaces, light and sky; for the arguments see `random_scene`."""
    if by_class:
        floor, surfaces = surfaces_of_classes(rng, [solid.shape for solid in solids], floor_contrast)
    else:
        floor, surfaces = random_surfaces(rng, len(solids), one_colour, floor_contrast)
    # Haze gives the floor the colour of the sky.
    sky, visibility = (BLUE_SKY, 120.0) if by_class else (ANY_SKY, 14.0)
    return Look(floor, surfaces, _random_light(rng), _sky(rng, camera, sky), visibility)


def random_camera(rng: np.random.Generator, size: tuple[int, int], pitch: tuple[float, float]) -> Camera:
    """Draw a camera above the origin of the floor; for the arguments see `random_scene`."""
    angle = np.deg2rad(rng.uniform(*pitch))
    return Camera(rng.uniform(2.2, 4.5), angle, size[1] * rng.uniform(0.85, 1.15), size)


def _place_solids(rng: np.random.Generator, camera: Camera, count: int) -> list[Solid]:
    """Solids that stand on the floor without touching, at random places of the image and sizes on screen."""
    height, width = camera.size
    solids: list[Solid] = []
    for _ in range(20 * count):
        if len(solids) == count:
            break
        row, column = rng.uniform(0.3, 0.92) * height, rng.uniform(0.04, 0.96) * width
        ray = camera.rays(slice(int(row), int(row) + 1), slice(int(column), int(column) + 1))[0, 0]
        if ray[2] > -0.05:
            continue
        depth = -camera.height / ray[2]
        radius = min(height * np.exp(rng.uniform(np.log(0.07), np.log(0.22))) / camera.focal * depth, _MAX_RADIUS)
        solid = random_solid(rng, camera.origin[:2] + depth * ray[:2], radius)
        apart = [
            np.linalg.norm(other.centre[:2] - solid.centre[:2])
            > 1.02 * (np.linalg.norm(other.scale[:2]) + np.linalg.norm(solid.scale[:2]))
            for other in solids
        ]
        if all(apart) and _framed(camera, solid):
            solids.append(solid)
    return solids


def _framed(camera: Camera, solid: Solid) -> bool:
    """Whether a solid is in front of the camera and most of its bounding box is inside the picture."""
    pixels, depth = camera.project(solid.corners())
    if depth.min() < 0.5:
        return False
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    inside = np.minimum(high, camera.size[::-1]) - np.maximum(low, 0)
    return bool((inside > 0).all() and inside.prod() > 0.65 * (high - low).prod())


def random_solid(rng: np.random.Generator, place: np.ndarray, radius: float) -> Solid:
    """Draw a solid that stands on the floor at a place ``(2,)``, m; its half extents are up to 1.4 radii."""
    shape = SHAPES[rng.choice(len(SHAPES), p=(0.3, 0.3, 0.25, 0.15))]
    if shape == "sphere":
        scale = np.full(3, radius)
    elif shape == "box":
        scale = radius * rng.uniform((0.5, 0.5, 0.5), (1.0, 1.0, 1.4))
    else:
        base = rng.uniform(0.6, 0.9)
        scale = radius * np.array([base, base, rng.uniform(0.7, 1.4)])
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1.0]])
    return Solid(shape, np.array([*place, scale[2]]), scale, rotation)


def _visible(depth: np.ndarray) -> list[int]:
    """Indices of the solids that are visible enough, after removing those that are not.

    The one with the smallest visible share is removed first, as what it hid may then be visible enough.
    """
    kept = list(range(len(depth)))
    silhouettes = np.isfinite(depth).sum(axis=(1, 2))
    while kept:
        owner, _ = _front(depth[kept] if len(kept) < len(depth) else depth)
        seen = np.bincount(owner[owner > 0], minlength=len(kept) + 1)[1:]
        share = seen / np.maximum(silhouettes[kept], 1)
        share[seen < _MIN_VISIBLE_PIXELS * owner.size] = 0
        if share.min() >= _MIN_VISIBLE_SHARE:
            break
        kept.pop(int(share.argmin()))
    return kept


def _front(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which solid is in front, ``(H, W)`` int with i + 1 for solid i and 0 for none, and its depth."""
    nearest = depth.min(axis=0)
    nothing = np.isinf(nearest)
    owner = np.zeros(nearest.shape, dtype=np.int64)
    for index, plane in enumerate(depth, start=1):
        owner[plane == nearest] = index
    owner[nothing] = 0
    return owner, nearest


def render(
    rng: np.random.Generator, camera: Camera, solids: list[Solid], solid_depth: np.ndarray, look: Look
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render a scene.

    Args:
        rng: source of the noise.
        camera: that sees it.
        solids: n of them.
        solid_depth: ``(n, H, W)``, what `raycast.cast` returned for them.
        look: colours and light.

    Returns:
        Image ``(H, W, 3)`` uint8, instance map ``(H, W)``, i + 1 for solid i, and depth ``(H, W)``.
    """
    instances, nearest = _front(solid_depth)
    depth = np.minimum(nearest, cast_floor(camera))
    rays = camera.rays(slice(None), slice(None)).astype(np.float32).reshape(-1, 3)
    z = depth.astype(np.float32).ravel()
    owner = np.where(np.isfinite(z), instances.ravel(), -1).astype(np.int8)
    origin = camera.origin.astype(np.float32)
    sky = look.sky
    image = sky.reshape(-1, 3).copy()
    for index, surface in enumerate([look.floor, *look.surfaces]):
        pixels = np.flatnonzero(owner == index)
        seen = rays[pixels]
        points = origin + z[pixels, None] * seen
        solid = solids[index - 1] if index else None
        normals = solid.normals(points) if solid else np.broadcast_to(np.array((0, 0, 1), np.float32), points.shape)
        local = (points - solid.centre) @ solid.rotation if solid else points
        slope = np.abs(_dot(normals, seen)) / np.sqrt(_dot(seen, seen))
        albedo = surface.albedo(local.astype(np.float32), z[pixels] / camera.focal / np.maximum(slope, 0.05))
        others = [other for i, other in enumerate(solids, start=1) if i != index]
        image[pixels] = _shade(albedo, surface.gloss, points, normals, seen, look.light, others)
    haze = np.where(np.isfinite(z), np.exp(-np.maximum(z - 8, 0) / look.visibility), 0).astype(np.float32)
    image = sky + (image * haze[:, None] - sky.reshape(-1, 3) * haze[:, None]).reshape(sky.shape)
    image = cv2.GaussianBlur(image, (0, 0), 0.55)
    image += np.float32(rng.uniform(0.004, 0.016)) * rng.standard_normal(image.shape, dtype=np.float32)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), instances, depth


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", a, b)


def _random_light(rng: np.random.Generator) -> Light:
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(32, 75))
    direction = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    shadow = 0.0 if rng.random() < 0.15 else rng.uniform(0.4, 0.95)
    return Light(direction, rng.uniform(0.6, 0.85), rng.uniform(0.4, 0.55), shadow)


def _sky(rng: np.random.Generator, camera: Camera, material: Material) -> np.ndarray:
    """A vertical gradient ``(H, W, 3)`` between two colours."""
    low, high = material.hue
    ends = [
        colorsys.hsv_to_rgb(
            low + (high - low) * rng.random(), rng.uniform(*material.saturation), rng.uniform(*material.value)
        )
        for _ in range(2)
    ]
    height, width = camera.size
    weight = np.linspace(0, 1, height)[:, None, None]
    column = np.array(ends[0]) * (1 - weight) + np.array(ends[1]) * weight
    return np.broadcast_to(column, (height, width, 3)).astype(np.float32)


def _shade(
    albedo: np.ndarray,
    gloss: float,
    points: np.ndarray,
    normals: np.ndarray,
    rays: np.ndarray,
    light: Light,
    others: list[Solid],
) -> np.ndarray:
    """Lambert and Blinn-Phong shading of points ``(N, 3)``: the sky's light from above, the lamp's outside shadow."""
    shadow = occluded(points, light.direction, others)
    seen = np.where(shadow, np.float32(1 - light.shadow), np.float32(1))
    diffuse = np.maximum(normals @ light.direction, 0) * seen
    ambient = light.ambient * (0.75 + 0.25 * normals[:, 2])
    colour = albedo * (ambient + light.strength * diffuse)[:, None]
    if gloss:
        half = light.direction - rays / np.linalg.norm(rays, axis=1, keepdims=True)
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        highlight = gloss * seen * np.maximum(_dot(normals, half), 0) ** 40
        colour = colour + highlight[:, None]
    return colour
