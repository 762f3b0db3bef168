"""Clinical data: the fitted preprocessor, part of the model, and the logistic regression."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from axilla.core.errors import CohortError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from axilla.core.config import Clinical
    from axilla.core.types import Patient


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """Standardised numbers and one-hot categories (paper, section 2.2, step 2).

    Means, standard deviations (population, n) and categories are those of the training patients.
    """

    numeric: tuple[str, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    categorical: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    modes: tuple[str, ...]
    """Most frequent category of each, what a missing one becomes under `missing: impute`."""
    missing: str

    @property
    def width(self) -> int:
        """Length C of a patient's vector."""
        return len(self.numeric) + sum(len(names) for names in self.categories)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each entry of a patient's vector."""
        flags = [
            f"{column}={name}"
            for column, names in zip(self.categorical, self.categories, strict=True)
            for name in names
        ]
        return (*self.numeric, *flags)

    def transform(self, patients: Sequence[Patient]) -> NDArray[np.float64]:
        """Vectors of patients, float64 [n, C].

        Raises
        ------
        CohortError
            A value is missing under `missing: refuse`, or a category was not seen in training.
        """
        return np.array([self._row(patient) for patient in patients]).reshape(-1, self.width)

    def _row(self, patient: Patient) -> list[float]:
        row: list[float] = []
        for column, mean, sd in zip(self.numeric, self.means, self.sds, strict=True):
            value = patient.clinical[column]
            self._refuse_missing(patient, column, value)
            row.append(0.0 if value is None else (float(value) - mean) / sd)
        for column, names, mode in zip(self.categorical, self.categories, self.modes, strict=True):
            value = patient.clinical[column]
            self._refuse_missing(patient, column, value)
            name = mode if value is None else str(value)
            if name not in names:
                raise CohortError(
                    f"`{column}` is {name!r}, which no training patient had ({', '.join(names)}).",
                    "Correct the value, or put such a patient into training.",
                    patient=patient.patient_id,
                )
            row.extend(float(name == known) for known in names)
        return row

    def _refuse_missing(self, patient: Patient, column: str, value: float | str | None) -> None:
        if value is None and self.missing == "refuse":
            raise CohortError(
                f"`{column}` is missing.",
                "Fill it in, or set clinical.missing: impute.",
                patient=patient.patient_id,
            )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessor:
        """From what `to_json` gave."""
        return cls(
            numeric=tuple(value["numeric"]),
            means=tuple(value["means"]),
            sds=tuple(value["sds"]),
            categorical=tuple(value["categorical"]),
            categories=tuple(tuple(names) for names in value["categories"]),
            modes=tuple(value["modes"]),
            missing=str(value["missing"]),
        )


def fit_preprocessor(patients: Sequence[Patient], *, config: Clinical) -> Preprocessor:
    """Fit on the training patients only.

    Raises
    ------
    CohortError
        A number is the same for all of them, or a column is missing for all of them.
    """
    means, sds = [], []
    for column in config.numeric:
        values = np.array([float(v) for p in patients if (v := p.clinical[column]) is not None])
        # Not `std() == 0`: of equal numbers it may be a rounding error, by which all is divided.
        if not len(values) or np.ptp(values) == 0:
            raise CohortError(
                f"`{column}` does not vary among the training patients.",
                "Take it out of clinical.numeric.",
            )
        means.append(float(values.mean()))
        sds.append(float(values.std()))
    categories, modes = [], []
    for column in config.categorical:
        seen = [str(v) for p in patients if (v := p.clinical[column]) is not None]
        if not seen:
            raise CohortError(
                f"`{column}` is missing for every training patient.",
                "Take it out of clinical.categorical.",
            )
        names = tuple(sorted(set(seen)))
        categories.append(names)
        modes.append(max(names, key=seen.count))
    return Preprocessor(
        numeric=config.numeric,
        means=tuple(means),
        sds=tuple(sds),
        categorical=config.categorical,
        categories=tuple(categories),
        modes=tuple(modes),
        missing=config.missing,
    )


@dataclass(frozen=True, slots=True, eq=False)
class LogisticModel:
    """p(class) = softmax(x W^T + b) over the preprocessed clinical vector x.

    `weights` float64 [K, C], `intercept` float64 [K]; two classes are written with zeros for the
    negative one, so that the difference is the usual log odds.
    """

    preprocessor: Preprocessor
    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]

    def predict(self, patients: Sequence[Patient]) -> NDArray[np.float64]:
        """Probability of each class, float64 [n, K]."""
        logits = self.preprocessor.transform(patients) @ self.weights.T + self.intercept
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def fit_logistic(patients: Sequence[Patient], *, classes: int, config: Clinical) -> LogisticModel:
    """The paper's 'clinical data only': logistic regression (paper, section 2.5).

    A ridge penalty of C = 1 on standardised data, scikit-learn's default, keeps the full one-hot
    coding identifiable.
    """
    preprocessor = fit_preprocessor(patients, config=config)
    x = preprocessor.transform(patients)
    y = np.array([patient.label for patient in patients])
    fitted = LogisticRegression(max_iter=10_000, tol=1e-10).fit(x, y)
    weights = np.zeros((classes, preprocessor.width))
    intercept = np.zeros(classes)
    rows = [1] if classes == 2 else list(range(classes))
    weights[rows] = fitted.coef_
    intercept[rows] = fitted.intercept_
    return LogisticModel(preprocessor=preprocessor, weights=weights, intercept=intercept)
