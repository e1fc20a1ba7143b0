"""Groups among features: blobs that are known, and the silhouette coefficient by its definition."""

from __future__ import annotations

import builtins
import importlib
from typing import Any

import numpy as np
import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.groups.fit import fit_groups, silhouettes
from unseg_d2.groups.settings import GroupSettings

sklearn = pytest.importorskip("sklearn", reason="the extra `groups` is not installed")


def blobs(*sizes: int, spread: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Points around the corners of a simplex in ten dimensions, and the corner of each."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return (np.eye(10)[labels] + spread * rng.standard_normal((len(labels), 10))).astype(np.float32), labels


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_groups_are_those_that_there_are_the_largest_first(method: str) -> None:
    points, labels = blobs(20, 60, 40)
    fitted = fit_groups(points, GroupSettings(method=method, dimensions=4))
    groups = fitted.prototypes.assign(points).groups
    assert groups.tolist() == np.array([2, 0, 1])[labels].tolist()
    assert len(fitted.prototypes) == 3 and 0.9 < fitted.explained < 1
    assert fitted.prototypes.components.shape == (4, 10)
    own = [points[labels == corner].mean(0) for corner in (1, 2, 0)]
    assert np.allclose(fitted.prototypes.centres, fitted.prototypes.project(np.stack(own)), atol=1e-2)


def test_the_number_has_the_largest_silhouette() -> None:
    points, _ = blobs(30, 30, 30, 30)
    fitted = fit_groups(points, GroupSettings(candidates=(2, 3, 4, 5, 8)))
    assert len(fitted.prototypes) == 4 == max(fitted.silhouette, key=lambda number: fitted.silhouette[number])


def test_the_silhouette_is_that_of_its_definition() -> None:
    points, _ = blobs(6, 5, 4, spread=0.3)
    settings = GroupSettings(candidates=(3,))
    labels = sklearn.cluster.KMeans(3, n_init=settings.starts, random_state=0).fit_predict(points.astype(np.float64))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    values = []
    for place, own in enumerate(labels):
        others = {label: distances[place, labels == label] for label in set(labels.tolist())}
        if len(others[own]) == 1:
            values.append(0.0)
            continue
        inside = others.pop(own).sum() / (np.sum(labels == own) - 1)
        outside = min(found.mean() for found in others.values())
        values.append((outside - inside) / max(inside, outside))
    assert silhouettes(points.astype(np.float64), settings) == {3: pytest.approx(np.mean(values), abs=1e-6)}


def test_the_spread_holds_most_of_a_group() -> None:
    points, labels = blobs(100, 3)
    prototypes = fit_groups(points, GroupSettings(number=2, dimensions=0)).prototypes
    centre = points[labels == 0].mean(0, dtype=np.float64)
    expected = np.percentile(np.linalg.norm(points[labels == 0] - centre, axis=1), 95)
    assert prototypes.spread == pytest.approx([expected, expected], rel=1e-5)  # so few say little about their own


@pytest.mark.parametrize(
    ("number", "settings", "message"),
    [
        (3, {"number": 4}, "There are 3 masks with features, too few for 4 groups"),
        (1, {}, "There are 1 masks with features, too few for groups"),
        (3, {}, r"too few to choose a number of groups from GROUPS\.CANDIDATES; set GROUPS\.NUMBER"),
        (5, {"method": "hdbscan"}, "hdbscan finds no group of 10 masks or more among 5"),
    ],
)
def test_too_few_masks(number: int, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        fit_groups(blobs(number)[0], GroupSettings(**settings))


def test_equal_masks_make_fewer_groups_than_were_asked_for() -> None:
    points = np.repeat(np.eye(2, dtype=np.float32), 5, axis=0)
    assert len(fit_groups(points, GroupSettings(number=3)).prototypes) == 2


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("sklearn"):
            raise builtins.ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UnsegError, match=r"pip install 'unseg-d2\[groups\]'"):
        fit_groups(blobs(6, 6)[0], GroupSettings(number=2))
