"""Ray casting of convex solids: where the ray of each pixel meets each solid, exactly.

World axes: x to the right, y away from the camera, z up; the floor is the plane z = 0; lengths in metres.
Every solid is a unit shape inside the cube [-1, 1]^3 that was scaled per axis, rotated and moved. An affine map keeps
the parameter t of ``origin + t * direction``, so the ray is mapped into the unit frame, where four formulas suffice.

Shape legend
    H, W   height and width of the image in pixels
    N      number of rays or points
    n      number of solids
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHAPES = ("sphere", "box", "cylinder", "cone")


@dataclass(frozen=True)
class Camera:
    """Pinhole camera above the floor, looking along y and downwards.

    Attributes:
        height: height above the floor, m.
        pitch: angle of the optical axis below the horizon, radians.
        focal: focal length, px.
        size: ``(H, W)`` of the image, px; the principal point is its centre.
        place: where it stands on the floor, ``(x, y)``, m.
    """

    height: float
    pitch: float
    focal: float
    size: tuple[int, int]
    place: tuple[float, float] = (0.0, 0.0)

    @property
    def origin(self) -> np.ndarray:
        """Centre of projection ``(3,)``, m."""
        return np.array([*self.place, self.height])

    @property
    def axes(self) -> np.ndarray:
        """Rows: the directions right, down and forward of the image, ``(3, 3)`` orthonormal."""
        sin, cos = np.sin(self.pitch), np.cos(self.pitch)
        return np.array([[1.0, 0.0, 0.0], [0.0, -sin, -cos], [0.0, cos, -sin]])

    @property
    def intrinsics(self) -> list[float]:
        """``[fx, fy, cx, cy]`` in px; the centre of the first pixel lies at (0.5, 0.5)."""
        return [self.focal, self.focal, self.size[1] / 2, self.size[0] / 2]

    def rays(self, rows: slice, columns: slice) -> np.ndarray:
        """Directions ``(h, w, 3)`` through the pixel centres of a window, scaled so that t is the z-depth in m."""
        height, width = self.size
        right, down, forward = self.axes
        u = (np.arange(width)[columns] + 0.5 - width / 2) / self.focal
        v = (np.arange(height)[rows] + 0.5 - height / 2) / self.focal
        return forward + u[None, :, None] * right + v[:, None, None] * down

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image coordinates ``(N, 2)`` in px and z-depth ``(N,)`` in m of world points ``(N, 3)``."""
        right, down, depth = ((points - self.origin) @ self.axes.T).T
        height, width = self.size
        pixels = np.stack([right, down], axis=1) / depth[:, None] * self.focal + (width / 2, height / 2)
        return pixels, depth


@dataclass(frozen=True)
class Solid:
    """A unit shape, scaled, rotated and moved.

    Attributes:
        shape: one of ``SHAPES``; the axis of cylinder and cone is the local z, the tip of the cone points up.
        centre: ``(3,)`` centre of the bounding cube, m.
        scale: ``(3,)`` half extents along the local axes, m.
        rotation: ``(3, 3)``, local to world.
    """

    shape: str
    centre: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray

    def to_local(self, points: np.ndarray) -> np.ndarray:
        """World points ``(..., 3)`` in the unit frame."""
        return self.direction_to_local(points - self.centre)

    def direction_to_local(self, directions: np.ndarray) -> np.ndarray:
        """World directions ``(..., 3)`` in the unit frame, not normalised again."""
        return directions @ (self.rotation / self.scale)

    def corners(self) -> np.ndarray:
        """The eight world corners ``(8, 3)`` of the bounding cube."""
        signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3), axis=-1).reshape(-1, 3)
        return (signs * self.scale) @ self.rotation.T + self.centre

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Outward unit normals ``(N, 3)`` at world points ``(N, 3)`` on the surface."""
        local = _unit_normals(self.shape, self.to_local(points))
        world = (local / self.scale) @ self.rotation.T
        return world / np.linalg.norm(world, axis=-1, keepdims=True)


def cast(camera: Camera, solids: list[Solid]) -> np.ndarray:
    """Z-depth at which the ray of each pixel enters each solid.

    Returns:
        ``(n, H, W)`` float64 in m, infinite where the ray misses; the smallest over n is what the camera sees.

    Raises:
        ValueError: a solid reaches behind the camera.
    """
    depth = np.full((len(solids), *camera.size), np.inf)
    for index, solid in enumerate(solids):
        pixels, corner_depth = camera.project(solid.corners())
        if corner_depth.min() <= 0:
            raise ValueError("a solid reaches behind the camera")
        (left, top), (right, bottom) = np.floor(pixels.min(axis=0)), np.ceil(pixels.max(axis=0))
        rows = slice(max(int(top), 0), max(int(bottom), 0))
        columns = slice(max(int(left), 0), max(int(right), 0))
        depth[index, rows, columns] = _enter(solid, camera.origin, camera.rays(rows, columns))
    return depth


def cast_floor(camera: Camera) -> np.ndarray:
    """Z-depth ``(H, W)`` in m at which each ray meets the floor, infinite above the horizon."""
    fall = -camera.rays(slice(None), slice(0, 1))[..., 2]  # the horizon is level: all pixels of a row are alike
    with np.errstate(divide="ignore"):
        return np.broadcast_to(np.where(fall > 1e-9, camera.height / fall, np.inf), camera.size)


def occluded(points: np.ndarray, direction: np.ndarray, solids: list[Solid]) -> np.ndarray:
    """Which points ``(N, 3)``, outside all solids, have one between themselves and a light in ``direction`` (3,)."""
    result = np.zeros(len(points), dtype=bool)
    if not solids:
        return result
    centres = np.stack([solid.centre for solid in solids]).astype(points.dtype)
    radii = np.array([np.linalg.norm(solid.scale) for solid in solids], dtype=points.dtype)
    # Most points are far from a solid's shadow: only those inside the shadow of its bounding sphere are cast.
    along = (points @ direction)[:, None] - centres @ direction
    squared = np.einsum("ij,ij->i", points, points)[:, None] - 2 * (points @ centres.T) + (centres**2).sum(axis=1)
    near = (squared - along**2 < radii**2 + 1e-2) & (along < radii)
    for solid, candidates in zip(solids, near.T):
        index = np.flatnonzero(candidates & ~result)
        result[index] = np.isfinite(_enter(solid, points[index], direction[None]))
    return result


def _enter(solid: Solid, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Smallest positive t at which rays enter a solid, infinite where they miss; origins lie outside."""
    origin, directions = solid.to_local(origin), solid.direction_to_local(directions)
    with np.errstate(divide="ignore", invalid="ignore"):
        if solid.shape == "sphere":
            near, far = _quadric(origin, directions, (1.0, 1.0, 1.0), 1.0)
        elif solid.shape == "box":
            near, far = _slabs(origin, directions)
        else:
            near, far = _slabs(origin[..., 2:], directions[..., 2:])
            inside = _quadric(origin, directions, (1.0, 1.0, 0.0), 1.0) if solid.shape == "cylinder" else None
            side_near, side_far = inside or _cone(origin, directions)
            near, far = np.maximum(near, side_near), np.minimum(far, side_far)
        return np.where((near <= far) & (near > 0), near, np.inf)


def _slabs(origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interval of t inside -1 <= x_i <= 1 for all given axes."""
    low, high = (-1 - origin) / directions, (1 - origin) / directions
    return np.minimum(low, high).max(axis=-1), np.maximum(low, high).min(axis=-1)


def _quadric(
    origin: np.ndarray, directions: np.ndarray, weights: tuple[float, float, float], level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of t inside sum_i weights_i x_i^2 <= level, NaN where the ray misses."""
    a = (directions**2) @ weights
    b = (directions * origin) @ weights
    c = (origin**2) @ weights - level
    root = np.sqrt(b**2 - a * c)
    return (-b - root) / a, (-b + root) / a


def _cone(origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interval of t inside the cone x^2 + y^2 <= ((1 - z) / 2)^2 below its tip, NaN where the ray misses."""
    weights = (1.0, 1.0, -0.25)
    near, far = _quadric(origin - (0.0, 0.0, 1.0), directions, weights, 0.0)
    steep = (directions**2) @ weights < 0  # such a ray enters the lower half once and never leaves it, or the reverse
    upwards = directions[..., 2] > 0
    first, last = np.minimum(near, far), np.maximum(near, far)
    return (
        np.where(steep, np.where(upwards, -np.inf, last), first),
        np.where(steep, np.where(upwards, first, np.inf), last),
    )


def _unit_normals(shape: str, points: np.ndarray) -> np.ndarray:
    """Outward normals, not normalised, at points ``(N, 3)`` on the surface of a unit shape."""
    if shape == "sphere":
        return points
    if shape == "box":
        face = np.abs(points).argmax(axis=1)[:, None]
        normals = np.zeros_like(points)
        np.put_along_axis(normals, face, np.sign(np.take_along_axis(points, face, 1)), 1)
        return normals
    x, y, z = points.T
    radius = np.hypot(x, y)
    cap = np.stack([np.zeros_like(z), np.zeros_like(z), np.sign(z)], axis=1)
    if shape == "cylinder":
        return np.where((np.abs(z) >= radius)[:, None], cap, np.stack([x, y, np.zeros_like(z)], axis=1))
    side = np.stack([x, y, radius / 2], axis=1)
    return np.where((z <= -1 + 1e-6)[:, None], cap, side)
