from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.data.synthetic.raycast import SHAPES, Camera, Solid, cast, cast_floor, occluded

CAMERA = Camera(height=2.5, pitch=np.deg2rad(25), focal=100.0, size=(72, 96))


def turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])


def solid(shape: str) -> Solid:
    return Solid(shape, np.array([0.3, 5.0, 0.9]), np.array([0.8, 0.6, 0.9]), turn(0.7))


def inside(shape: str, points: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(points, -1, 0)
    if shape == "sphere":
        return x**2 + y**2 + z**2 <= 1
    if shape == "box":
        return np.abs(points).max(axis=-1) <= 1
    radius = np.hypot(x, y)
    return (np.abs(z) <= 1) & (radius <= (1 if shape == "cylinder" else (1 - z) / 2))


@pytest.mark.parametrize("shape", SHAPES)
def test_cast_agrees_with_marching_along_the_rays(shape: str) -> None:
    body = solid(shape)
    step = 2e-3
    rays = CAMERA.rays(slice(None), slice(None))
    marched = np.full(CAMERA.size, np.inf)
    for t in np.arange(3.0, 7.5, step):
        first = np.isinf(marched) & inside(shape, body.to_local(CAMERA.origin + t * rays))
        marched[first] = t
    depth = cast(CAMERA, [body])[0]
    both = np.isfinite(depth) & np.isfinite(marched)
    # A ray through an edge may pass between two steps of the march; nothing else may differ.
    assert (np.isfinite(depth) != np.isfinite(marched)).sum() <= 3
    assert not (np.isfinite(marched) & ~np.isfinite(depth)).any()
    assert both.sum() > 300
    error = marched[both] - depth[both]
    assert error.min() > -1e-9 and error.max() < 1.01 * step


def test_sphere_has_the_analytic_silhouette_and_depth() -> None:
    centre, radius = np.array([0.2, 6.0, 1.0]), 1.0
    depth = cast(CAMERA, [Solid("sphere", centre, np.full(3, radius), np.eye(3))])[0]
    rays = CAMERA.rays(slice(None), slice(None))
    to_centre = centre - CAMERA.origin
    distance = np.linalg.norm(to_centre)
    cosine = rays @ to_centre / np.linalg.norm(rays, axis=-1) / distance
    angle = np.arccos(cosine)
    np.testing.assert_array_equal(np.isfinite(depth), angle <= np.arcsin(radius / distance))
    hit = np.isfinite(depth)
    # Law of cosines: length of the ray to the nearer of the two intersections.
    length = distance * cosine[hit] - np.sqrt(radius**2 - (distance * np.sin(angle[hit])) ** 2)
    np.testing.assert_allclose(depth[hit] * np.linalg.norm(rays[hit], axis=-1), length, rtol=1e-9)


def test_floor_lies_at_height_zero_and_ends_at_the_horizon() -> None:
    camera = Camera(height=2.0, pitch=np.deg2rad(5), focal=60.0, size=(40, 30))
    depth = cast_floor(camera)
    rays = camera.rays(slice(None), slice(None))
    points = camera.origin + np.where(np.isfinite(depth), depth, 0)[..., None] * rays
    assert np.abs(points[np.isfinite(depth)][:, 2]).max() < 1e-9
    np.testing.assert_array_equal(np.isinf(depth), rays[..., 2] >= 0)
    assert np.isinf(depth).any() and np.isfinite(depth).any()


def test_projection_inverts_the_rays() -> None:
    pixels, depth = CAMERA.project(CAMERA.origin + 4.0 * CAMERA.rays(slice(10, 11), slice(20, 21))[0])
    np.testing.assert_allclose(pixels, [[20.5, 10.5]])
    np.testing.assert_allclose(depth, [4.0])


@pytest.mark.parametrize("shape", SHAPES)
def test_normals_are_perpendicular_to_the_surface(shape: str) -> None:
    body = solid(shape)
    depth = cast(CAMERA, [body])[0]
    hit = np.isfinite(depth)
    points = CAMERA.origin + depth[hit][:, None] * CAMERA.rays(slice(None), slice(None))[hit]
    normals = body.normals(points)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    # A small step along the normal leaves the solid, one against it enters.
    assert not inside(shape, body.to_local(points + 1e-4 * normals)).any()
    assert inside(shape, body.to_local(points - 1e-4 * normals)).mean() > 0.99


def test_occluded_is_the_shadow_of_the_solid() -> None:
    ball = Solid("sphere", np.array([0.0, 0.0, 2.0]), np.full(3, 0.5), np.eye(3))
    points = np.array([[0.0, 0.0, 0.0], [0.49, 0.0, 0.0], [0.51, 0.0, 0.0], [0.0, 0.0, 5.0]])
    overhead = np.array([0.0, 0.0, 1.0])
    assert occluded(points, overhead, [ball]).tolist() == [True, True, False, False]
    assert occluded(points, overhead, []).tolist() == [False] * 4
    beside = Solid("box", np.array([1.0, 0.0, 3.0]), np.array([0.495, 1.0, 0.1]), np.eye(3))
    assert occluded(points, overhead, [ball, beside]).tolist() == [True, True, True, False]


def test_a_solid_behind_the_camera_is_refused() -> None:
    with pytest.raises(ValueError, match="behind the camera"):
        cast(CAMERA, [Solid("box", np.array([0.0, 0.5, 1.0]), np.ones(3), np.eye(3))])
