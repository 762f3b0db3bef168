"""Clinical data: the fitted preprocessor, part of the model, and the logistic regression."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from axilla.core.errors import CohortError, StoreError
from axilla.core.group_means import mean_ends

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from axilla.core.config import Clinical
    from axilla.core.types import Patient


VERSION = 3
"""Of a preprocessor's JSON: 1 had neither flags, units nor ranges, and refused unseen ones; ranges
of 2 were centiles, which may be the numbers of single patients."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A cell that the preprocessor could not take as it is, and what it did instead."""

    patient_id: str
    column: str
    value: str | None
    """The category that no training patient had; None where the cell is empty."""
    flagged: bool
    """Whether the vector tells of it: a flag, which there is where training lacked values too."""


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """Standardised numbers and one-hot categories (paper, section 2.2, step 2).

    Means, standard deviations (population, n) and categories are those of the training patients.
    A missing value becomes the mean or the most frequent category. Of columns that some training
    patient lacked, a flag stands at the vector's end: 1 where the value is missing.
    """

    numeric: tuple[str, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    categorical: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    modes: tuple[str, ...]
    """Most frequent category of each, what a missing one becomes under `missing: impute`."""
    missing: str
    flags: tuple[str, ...] = ()
    """Columns with a flag."""
    unseen: str = "error"
    """unknown: a category that no training patient had is none of the known ones, all zeros."""
    units: tuple[str | None, ...] = ()
    """Of the numbers, None where not declared; empty in a bundle of version 1."""
    ranges: tuple[tuple[float, float] | None, ...] = ()
    """Means of the ten lowest and of the ten highest numbers in training; None where fewer than 30
    patients have one."""
    centiles: bool = False
    """Whether the ranges are the 1st and 99th centile instead, as in a bundle of version 2."""

    @property
    def width(self) -> int:
        """Length C of a patient's vector."""
        return len(self.numeric) + sum(map(len, self.categories)) + len(self.flags)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each entry of a patient's vector."""
        indicators = [
            f"{column}={name}"
            for column, names in zip(self.categorical, self.categories, strict=True)
            for name in names
        ]
        return (*self.numeric, *indicators, *(f"{column}_missing" for column in self.flags))

    def transform(self, patients: Sequence[Patient]) -> NDArray[np.float64]:
        """Vectors of patients, float64 [n, C].

        Raises
        ------
        CohortError
            A value is missing under `missing: refuse`, or a category was not seen in training
            under `unseen: error`.
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
            if name not in names and self.unseen == "error":
                raise CohortError(
                    f"`{column}` is {name!r}, which no training patient had ({', '.join(names)}).",
                    "Correct the value, put such a patient into training, or set "
                    "clinical.unseen: unknown.",
                    patient=patient.patient_id,
                )
            row.extend(float(name == known) for known in names)
        row.extend(float(patient.clinical[column] is None) for column in self.flags)
        return row

    def _refuse_missing(self, patient: Patient, column: str, value: float | str | None) -> None:
        if value is None and self.missing == "refuse":
            raise CohortError(
                f"`{column}` is missing.",
                "Fill it in, or set clinical.missing: impute.",
                patient=patient.patient_id,
            )

    def filled(self, patients: Sequence[Patient]) -> tuple[Filled, ...]:
        """Every cell that `transform` imputes, or takes for none of the known categories."""
        known = dict(zip(self.categorical, self.categories, strict=True))
        found = []
        for patient in patients:
            for column in (*self.numeric, *self.categorical):
                value = patient.clinical[column]
                if value is None:
                    found.append(Filled(patient.patient_id, column, None, column in self.flags))
                elif column in known and str(value) not in known[column]:
                    found.append(Filled(patient.patient_id, column, str(value), flagged=False))
        return tuple(found)

    @property
    def ends(self) -> str:
        """What `ranges` are of the training patients, before the words `41 to 70`."""
        if self.centiles:
            return "98% of the training patients have"
        return "the lowest and the highest ten training patients are at"

    def out_of_range(self, patient: Patient) -> tuple[str, ...]:
        """Sentences on numbers that lie at the ends of what the model was trained on, or beyond."""
        found = []
        units = self.units or (None,) * len(self.numeric)
        for column, unit, limits in zip(self.numeric, units, self.ranges, strict=False):
            value = patient.clinical[column]
            if limits is None or value is None or limits[0] <= float(value) <= limits[1]:
                continue
            of = "" if unit is None else f" {unit}"
            found.append(
                f"`{column}` is {float(value):g}{of}; {self.ends} {limits[0]:.4g} to "
                f"{limits[1]:.4g}{of}, so the model knows little of such patients."
            )
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"version": VERSION, **asdict(self)}

    @staticmethod
    def is_current(value: Mapping[str, Any]) -> bool:
        """Whether what `to_json` gave has the ranges of this version."""
        return value.get("version") == VERSION and not value.get("centiles")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessor:
        """From what `to_json` of this version or an older one gave.

        Raises
        ------
        StoreError
            A newer axilla wrote it.
        """
        version = int(value.get("version", 1))
        if version > VERSION:
            raise StoreError(
                f"the model's clinical preprocessor is of version {version}; this axilla reads up "
                f"to {VERSION}.",
                "Update axilla.",
            )
        return cls(
            numeric=tuple(value["numeric"]),
            means=tuple(value["means"]),
            sds=tuple(value["sds"]),
            categorical=tuple(value["categorical"]),
            categories=tuple(tuple(names) for names in value["categories"]),
            modes=tuple(value["modes"]),
            missing=str(value["missing"]),
            flags=tuple(value.get("flags", ())),
            unseen=str(value.get("unseen", "error")),
            units=tuple(value.get("units", ())),
            ranges=tuple(
                None if limits is None else (float(limits[0]), float(limits[1]))
                for limits in value.get("ranges", ())
            ),
            # Told by the values themselves where an older bundle's preprocessor was written again.
            centiles=bool(value.get("centiles", version == 2)),
        )


def fit_preprocessor(patients: Sequence[Patient], *, config: Clinical) -> Preprocessor:
    """Fit on the training patients only.

    Raises
    ------
    CohortError
        A number is the same for all of them, or a column is missing for all of them.
    """
    means, sds, ranges = [], [], []
    for column in config.numeric_names:
        values = np.array([float(v) for p in patients if (v := p.clinical[column]) is not None])
        # Not `std() == 0`: of equal numbers it may be a rounding error, by which all is divided.
        if not len(values) or np.ptp(values) == 0:
            raise CohortError(
                f"`{column}` does not vary among the training patients.",
                "Take it out of clinical.numeric.",
            )
        means.append(float(values.mean()))
        sds.append(float(values.std()))
        ranges.append(mean_ends(sorted(values.tolist())))
    categories, modes = [], []
    for column in config.categorical_names:
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
        numeric=config.numeric_names,
        means=tuple(means),
        sds=tuple(sds),
        categorical=config.categorical_names,
        categories=tuple(categories),
        modes=tuple(modes),
        missing=config.missing,
        flags=tuple(n for n in config.names if any(p.clinical[n] is None for p in patients))
        if config.missing == "impute"
        else (),
        unseen=config.unseen,
        units=tuple(column.shown_unit for column in config.numeric),
        ranges=tuple(ranges),
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
    from sklearn.linear_model import LogisticRegression

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
