"""Distances from a training cohort: against SciPy's, and what they say of new patients."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from axilla.analysis.reference_distance import (
    DIMENSIONS,
    ReferenceDistance,
    fit_reference,
    project,
    reference_from_json,
)
from axilla.core.errors import StatisticsError, StoreError


def cohort(patients: int, *, features: int = 64, seed: int = 0) -> NDArray[np.float64]:
    """Vectors [n, D] whose features go together and have different spreads."""
    mix = np.random.default_rng(99).normal(size=(features, features)) / np.sqrt(features)
    return np.random.default_rng(seed).normal(size=(patients, features)) @ mix + 3.0


def fitted(vectors: NDArray[np.float64], seed: int = 7) -> ReferenceDistance:
    return fit_reference(project(vectors, seed=seed), features=vectors.shape[1], seed=seed)


@pytest.mark.parametrize("features", [5, DIMENSIONS, 64])
def test_the_distance_is_scipy_s(features: int) -> None:
    vectors, new = cohort(80, features=features), cohort(10, features=features, seed=1)
    found = fitted(vectors)
    inner = project(vectors, seed=7)
    k = min(features, DIMENSIONS)
    assert inner.shape == (80, k)
    precision = np.linalg.inv(LedoitWolf().fit(inner).covariance_)
    for vector in new:
        oracle = mahalanobis(project(vector[None], seed=7)[0], inner.mean(axis=0), precision)
        assert found.distance(vector) == pytest.approx(oracle / np.sqrt(k))


def test_the_projection_s_signs_are_bits_of_shake_256_and_keep_lengths() -> None:
    wide = np.eye(40)
    bits = np.unpackbits(
        np.frombuffer(hashlib.shake_256(b"axilla reference 7").digest(40 * 32 // 8), np.uint8)
    )
    signs = np.where(bits == 1, 1, -1).reshape(40, 32)
    np.testing.assert_allclose(project(wide, seed=7), signs / np.sqrt(32))
    assert not np.array_equal(project(wide, seed=7), project(wide, seed=8))
    vectors = np.random.default_rng(3).normal(size=(200, 2000))
    ratio = np.linalg.norm(project(vectors, seed=7), axis=1) / np.linalg.norm(vectors, axis=1)
    assert ratio.mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("patients", "tolerance"), [(300, 0.015), (60, 0.03)])
def test_new_patients_exceed_each_quantile_as_often_as_it_says(
    patients: int, tolerance: float
) -> None:
    exceeded: dict[str, list[float]] = {"0.5": [], "0.9": [], "0.95": []}
    for seed in range(20):
        found = fitted(cohort(patients, seed=seed))
        new = [found.distance(vector) for vector in cohort(300, seed=1000 + seed)]
        for name, shares in exceeded.items():
            shares.append(float(np.mean(np.array(new) > found.quantiles[name])))
    assert np.mean(exceeded["0.95"]) == pytest.approx(0.05, abs=tolerance)
    assert np.mean(exceeded["0.9"]) == pytest.approx(0.1, abs=1.5 * tolerance)
    assert np.mean(exceeded["0.5"]) == pytest.approx(0.5, abs=4 * tolerance)


def test_patients_of_elsewhere_exceed_the_highest() -> None:
    found = fitted(cohort(200))
    shifted = cohort(100, seed=1) + 1.5
    distances = [found.distance(vector) for vector in shifted]
    assert np.mean([found.beyond(distance) == "0.95" for distance in distances]) > 0.99
    assert found.beyond(0.0) is None
    between = (found.quantiles["0.5"] + found.quantiles["0.9"]) / 2
    assert found.beyond(between) == "0.5"


def test_it_is_read_back_as_it_was() -> None:
    found = fitted(cohort(50))
    value = json.loads(json.dumps(found.to_json()))
    again = reference_from_json(value)
    assert again.to_json() == found.to_json()
    vector = cohort(1, seed=4)[0]
    assert again.distance(vector) == found.distance(vector)
    assert [len(row) for row in value["factor"]] == list(range(1, DIMENSIONS + 1))


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.0]}, {"factor": [[1.0]]}, {"factor": "x"}, {"quantiles": {}},
        {"features": 5}, {"factor": [[0.0] * (i + 1) for i in range(DIMENSIONS)]},
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="training cohort's features is not valid"):
        reference_from_json(fitted(cohort(50)).to_json() | change)


def test_too_few_patients_and_equal_ones_are_refused() -> None:
    with pytest.raises(StatisticsError, match=r"29 training patients are too few .* 30 are asked"):
        fitted(cohort(29))
    with pytest.raises(StatisticsError, match="do not differ"):
        fitted(np.ones((40, 8)))


@pytest.mark.parametrize("vector", [np.ones(63), np.full(64, np.nan), np.ones((1, 64))])
def test_a_vector_that_is_none_of_the_cohort_s_kind_is_refused(vector: Any) -> None:
    with pytest.raises(StatisticsError, match="is not the 64 finite numbers"):
        fitted(cohort(40)).distance(vector)
