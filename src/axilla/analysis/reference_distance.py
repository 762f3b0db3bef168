"""How far a patient's features lie from those of a training cohort, in few dimensions."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import solve_triangular

from axilla.core.errors import StatisticsError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    _Floats = NDArray[np.float64]

DIMENSIONS = 32
"""Features are projected to so many; fewer stay as they are."""
LEAST_PATIENTS = 30
"""Fewer are refused. A covariance of 32 dimensions is well told by some 300."""
SENSIBLE_PATIENTS = 10 * LEAST_PATIENTS
QUANTILES = ("0.5", "0.9", "0.95")
FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceDistance:
    r"""The centre :math:`\mu` and covariance :math:`\Sigma = C C^\top` of a training cohort.

    The distance of a patient's vector :math:`x`, projected by :math:`P`, is
    :math:`\lVert C^{-1} (P x - \mu) \rVert / \sqrt{k}`: Mahalanobis's, about 1 for a patient of the
    cohort whatever :math:`k` is.
    """

    seed: int
    """Of the projection."""
    features: int
    """Length D of a vector."""
    patients: int
    mean: _Floats
    """[k]."""
    factor: _Floats
    """C, lower triangular [k, k]."""
    quantiles: Mapping[str, float]
    """Distances below which these shares of new patients of the same kind lie."""

    def distance(self, vector: ArrayLike) -> float:
        """Distance of a patient's mean feature vector [D], 0 or more.

        Raises
        ------
        StatisticsError
            The vector has another length, or values that are no numbers.
        """
        values = np.asarray(vector, dtype=np.float64)
        if values.shape != (self.features,) or not np.isfinite(values).all():
            raise StatisticsError(
                f"a vector of shape {values.shape} is not the {self.features} finite numbers that "
                "the distance is of.",
                "Give the mean of the patient's features, made by the model's own encoder.",
            )
        projected = project(values[None, :], seed=self.seed)
        return float(_distances(projected, self.mean, self.factor)[0])

    def beyond(self, distance: float) -> str | None:
        """The highest quantile that a distance exceeds, such as `0.95`; None if none."""
        exceeded = [name for name, value in self.quantiles.items() if distance > value]
        return max(exceeded, key=float, default=None)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, which `reference_from_json` reads."""
        return {
            "seed": self.seed,
            "features": self.features,
            "patients": self.patients,
            "mean": self.mean.tolist(),
            "factor": [row[: i + 1] for i, row in enumerate(self.factor.tolist())],
            "quantiles": dict(self.quantiles),
        }


def project(vectors: ArrayLike, *, seed: int) -> _Floats:
    """Vectors [n, D] in `DIMENSIONS` dimensions, lengths and distances about as they were.

    Parameters
    ----------
    seed
        Draws the projection, a matrix of signs (Achlioptas 2003,
        doi:10.1016/S0022-0000(03)00025-4). They are bits of SHAKE-256, alike on every machine and
        with every version of every library, as a bundle may be opened in ten years.

    Returns
    -------
    ndarray
        float64 [n, k]; the vectors themselves where D is not above `DIMENSIONS`.
    """
    values = np.asarray(vectors, dtype=np.float64)
    if values.shape[1] <= DIMENSIONS:
        return values
    return np.asarray(values @ _signs(values.shape[1], seed) / math.sqrt(DIMENSIONS))


def fit_reference(projected: ArrayLike, *, features: int, seed: int) -> ReferenceDistance:
    """Centre, covariance and quantiles of a cohort.

    Parameters
    ----------
    projected
        [n, k], each patient's mean feature vector as `project` gives it.
    features
        Their length before it.
    seed
        That `project` had; it also deals the patients into folds.

    Raises
    ------
    StatisticsError
        There are under `LEAST_PATIENTS` patients, or their vectors do not differ.

    Notes
    -----
    The covariance is shrunk (Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4). Each
    patient's distance for the quantiles is from the others' centre and covariance, in five folds:
    from one's own it would be too small, and new patients would seem to lie far off.
    """
    values = np.asarray(projected, dtype=np.float64)
    count = len(values)
    refuse_few(count)
    fold = np.random.default_rng(seed).permutation(count) % FOLDS
    found = np.empty(count)
    for number in range(FOLDS):
        mean, factor = _centre(values[fold != number])
        found[fold == number] = _distances(values[fold == number], mean, factor)
    mean, factor = _centre(values)
    # Weibull's place among n: a new patient's distance exceeds it as often as it says.
    quantiles = {q: float(np.quantile(found, float(q), method="weibull")) for q in QUANTILES}
    return ReferenceDistance(seed, features, count, mean, factor, quantiles)


def refuse_few(patients: int) -> None:
    """Tell before any features are read whether there are enough patients.

    Raises
    ------
    StatisticsError
        There are under `LEAST_PATIENTS`.
    """
    if patients < LEAST_PATIENTS:
        raise StatisticsError(
            f"{patients} training patients are too few to tell how far features lie from theirs: "
            f"{LEAST_PATIENTS} are asked for, and {SENSIBLE_PATIENTS} would be sensible.",
            "Train on more patients.",
        )


def reference_from_json(value: Mapping[str, Any]) -> ReferenceDistance:
    """Read what `to_json` wrote.

    Raises
    ------
    StoreError
        Its parts do not fit one another.
    """
    try:
        return _parsed(value)
    except (LookupError, TypeError, ValueError) as error:
        raise StoreError(
            "what the model's record says of its training cohort's features is not valid.",
            "Get the model's folder again as it was written, or train it again.",
        ) from error


def _parsed(value: Mapping[str, Any]) -> ReferenceDistance:
    mean = np.array(value["mean"], dtype=np.float64)
    factor = np.zeros((len(mean), len(mean)))
    for place, row in enumerate(value["factor"]):
        factor[place, : place + 1] = row
    whole = len(value["factor"]) == len(mean) == min(DIMENSIONS, value["features"])
    if not whole or not (np.diag(factor) > 0).all():
        raise ValueError("another number of dimensions")
    quantiles = {name: float(value["quantiles"][name]) for name in QUANTILES}
    return ReferenceDistance(
        int(value["seed"]), int(value["features"]), int(value["patients"]), mean, factor, quantiles
    )


def _distances(projected: _Floats, mean: _Floats, factor: _Floats) -> _Floats:
    away = solve_triangular(factor, (projected - mean).T, lower=True)  # [k, n]
    return np.asarray(np.sqrt((away**2).sum(axis=0) / len(mean)))


def _centre(values: _Floats) -> tuple[_Floats, _Floats]:
    """Mean [k] and Cholesky factor of the shrunk covariance [k, k]."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(values)
    try:
        factor = np.linalg.cholesky(np.atleast_2d(covariance))
    except np.linalg.LinAlgError as error:
        raise StatisticsError(
            "the patients' features do not differ, so that no distance between them is defined.",
            "Check the features: those of different patients should not be alike.",
        ) from error
    return values.mean(axis=0), factor


@lru_cache(maxsize=4)
def _signs(features: int, seed: int) -> _Floats:
    """-1 and 1, [D, k]."""
    bits = features * DIMENSIONS
    drawn = hashlib.shake_256(f"axilla reference {seed}".encode()).digest(math.ceil(bits / 8))
    ones = np.unpackbits(np.frombuffer(drawn, np.uint8), count=bits)
    return 2.0 * ones.reshape(features, DIMENSIONS).astype(np.float64) - 1.0
