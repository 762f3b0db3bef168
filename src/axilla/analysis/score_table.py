"""Predictions as a table, parsed once: who made it, whose file, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from axilla.core.errors import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_KEYS = ["method", "cohort", "repeat", "fold", "patient_id"]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One method's scores of one cohort: `labels` int [n], `scores` float64 [n, classes]."""

    patients: tuple[str, ...]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    spread: NDArray[np.float64] | None = None
    """SD over an ensemble's members, [n]; NaN where one model scored, None where all did."""

    @property
    def positive(self) -> NDArray[np.float64]:
        """Probability of the positive class of two, [n]."""
        return self.scores[:, 1]


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Checked predictions; one row a patient, method, cohort and (repeat, fold)."""

    frame: pd.DataFrame
    """patient_id, method, cohort, label (index into `classes`), repeat, fold, then 0, 1, ...: the
    probability of each class."""
    classes: tuple[str, ...]
    folded: bool
    """Whether there is more than one (repeat, fold)."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods in the order of the rows."""
        return tuple(self.frame["method"].unique())

    def cohorts(self, method: str) -> tuple[str, ...]:
        """Cohorts of a method: train, val, test first, then others in the order of the rows."""
        found = self.frame.loc[self.frame["method"] == method, "cohort"].unique()
        usual = [cohort for cohort in ("train", "val", "test") if cohort in found]
        return (*usual, *(cohort for cohort in found if cohort not in usual))

    def select(self, method: str, cohort: str) -> Scores:
        """One row a patient; out of cross-validation, the mean over repeats and folds."""
        rows = self.frame[(self.frame["method"] == method) & (self.frame["cohort"] == cohort)]
        return self._scores(rows)

    def partitions(self, method: str) -> Iterator[tuple[int, int, dict[str, Scores]]]:
        """Repeat, fold and the scores of each cohort in it, in order."""
        rows = self.frame[self.frame["method"] == method]
        for key, part in rows.groupby(["repeat", "fold"], sort=True):
            repeat, fold = np.asarray(key, dtype=np.int64).tolist()
            cohorts = {str(name): self._scores(own) for name, own in part.groupby("cohort")}
            yield repeat, fold, cohorts

    def repeats(self, method: str, *, cohort: str) -> Iterator[tuple[int, Scores]]:
        """Each repeat with the scores of all its folds together, one row a patient."""
        rows = self.frame[(self.frame["method"] == method) & (self.frame["cohort"] == cohort)]
        for repeat, part in rows.groupby("repeat", sort=True):
            yield int(str(repeat)), self._scores(part)

    def own_thresholds(
        self, method: str, cohort: str, *, by_fold: Mapping[tuple[int, int], float]
    ) -> NDArray[np.float64]:
        """Where each patient's score is called, in the order of `select`.

        The mean of the thresholds of the folds in which the patient was in this cohort, as the
        score is the mean of theirs; NaN where none of them has one.
        """
        rows = self.frame[(self.frame["method"] == method) & (self.frame["cohort"] == cohort)]
        folds = pd.MultiIndex.from_frame(rows[["repeat", "fold"]])
        chosen = pd.Series(folds.map(by_fold.get), index=rows.index, dtype=np.float64)
        means = chosen.groupby(rows["patient_id"], sort=False).mean()
        return means.to_numpy(dtype=np.float64, copy=True)

    def _scores(self, rows: pd.DataFrame) -> Scores:
        columns = list(range(len(self.classes)))
        each = rows.groupby("patient_id", sort=False)
        means = each[columns].mean()
        return Scores(
            patients=tuple(str(patient) for patient in means.index),
            labels=each["label"].first().to_numpy(dtype=np.int64),
            scores=means.to_numpy(dtype=np.float64),
            spread=each["spread"].mean().to_numpy(dtype=np.float64)
            if "spread" in rows.columns
            else None,
        )


def parse_predictions(predictions: pd.DataFrame) -> ScoreTable:
    """Check a table of predictions as `predictions.csv` holds it (DESIGN, Files).

    Parameters
    ----------
    predictions
        Columns patient_id, method, cohort, label; `score` (probability of the positive class) or
        `score_<class>` a class in the order of the labels; optional repeat and fold, and spread
        (an ensemble's SD, empty where one model scored). `label` is the class's number, or its
        name where the scores carry names.

    Raises
    ------
    StatisticsError
        Columns are missing, or a row's label or score cannot be used, or rows contradict each
        other; names method, cohort and patient.
    """
    needed = ["patient_id", "method", "cohort", "label"]
    missing = [name for name in needed if name not in predictions.columns]
    if missing or predictions.empty:
        raise StatisticsError(
            f"the predictions have no column `{missing[0]}`."
            if missing
            else "the predictions hold no rows.",
            "They need patient_id, method, cohort, label and score (or score_<class>).",
        )
    scores, classes = _score_columns(predictions)
    frame = predictions[needed].reset_index(drop=True)
    for name in ("patient_id", "method", "cohort"):
        empty = frame[name].isna()
        if empty.any():
            raise StatisticsError(
                f"row {int(empty.to_numpy().argmax()) + 1} of the predictions has no {name}.",
                "Fill it in.",
            )
        frame[name] = frame[name].astype(str)
    for name in ("repeat", "fold"):
        frame[name] = _counter(predictions, name)
    frame["label"] = _labels(frame, classes=classes)
    for index, column in enumerate(scores):
        frame[index] = column
    if "spread" in predictions.columns:
        frame["spread"] = _spread(frame, predictions["spread"])
    _check_scores(frame, classes=classes)
    _check_rows(frame)
    folded = len(frame[["repeat", "fold"]].drop_duplicates()) > 1
    return ScoreTable(frame=frame, classes=classes, folded=folded)


def _score_columns(frame: pd.DataFrame) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
    named = [str(name) for name in frame.columns if str(name).startswith("score_")]
    if ("score" in frame.columns) == (len(named) >= 2):
        raise StatisticsError(
            "the predictions need either a column `score` or one `score_<class>` a class.",
            "Write `score`, the probability of the positive class, for two classes.",
        )
    columns = named or ["score"]
    values = [
        pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64) for name in columns
    ]
    if not named:
        return [1 - values[0], values[0]], ("negative", "positive")
    return values, tuple(name.removeprefix("score_") for name in named)


def _counter(predictions: pd.DataFrame, name: str) -> NDArray[np.int64]:
    other = {"repeat": "fold", "fold": "repeat"}[name]
    if name not in predictions.columns:
        if other in predictions.columns:
            raise StatisticsError(
                f"the predictions have a column `{other}` but no `{name}`.",
                "Cross-validation needs both; write 0 where there is only one.",
            )
        return np.zeros(len(predictions), dtype=np.int64)
    numbers = pd.to_numeric(predictions[name], errors="coerce")
    if (numbers.isna() | (numbers % 1 != 0)).any():
        raise StatisticsError(f"a {name} is not a whole number.", "Number them from 0.")
    return numbers.to_numpy(dtype=np.int64)


def _labels(frame: pd.DataFrame, *, classes: tuple[str, ...]) -> NDArray[np.int64]:
    raw = frame["label"]
    by_name = raw.map({name: index for index, name in enumerate(classes)})
    numbers = by_name.fillna(pd.to_numeric(raw, errors="coerce")).to_numpy(dtype=np.float64)
    wrong = ~np.isin(numbers, np.arange(len(classes)))
    if wrong.any():
        row = frame.loc[wrong].iloc[0]
        raise _at(
            row,
            f"the label {row['label']} is none of {', '.join(map(str, range(len(classes))))}.",
            "Write the class's number, the negative class 0.",
        )
    return numbers.astype(np.int64)


def _spread(frame: pd.DataFrame, column: pd.Series[Any]) -> NDArray[np.float64]:
    """An SD of probabilities, 0 to 0.71 (half of 0 and half of 1, two of them); NaN where empty."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    empty = (column.isna() | (column.astype(str).str.strip() == "")).to_numpy()
    wrong = ~empty & ~((values >= 0) & (values <= 1))
    if wrong.any():
        first = int(wrong.argmax())
        raise _at(
            frame.iloc[first],
            f"the spread {column.iloc[first]} is no standard deviation of a probability.",
            "Write a number from 0 to 1, or leave it empty.",
        )
    return values


def _check_scores(frame: pd.DataFrame, *, classes: tuple[str, ...]) -> None:
    columns = list(range(len(classes)))
    scores = frame[columns].to_numpy(dtype=np.float64)
    # Negated, so that NaN counts as outside.
    outside = ~((scores >= 0) & (scores <= 1)).all(axis=1)
    if outside.any():
        worst = int(outside.argmax())
        raise _at(
            frame.iloc[worst],
            f"the score {scores[worst, -1]:g} is not a probability between 0 and 1.",
            "Write the model's probability; a patient without one does not belong in the file.",
        )
    off = np.abs(scores.sum(axis=1) - 1) > 0.01
    if off.any():
        raise _at(
            frame.iloc[int(off.argmax())],
            f"the scores of the {len(classes)} classes sum to {scores[off][0].sum():.3f}, not 1.",
            "Write the probability of every class.",
        )


def _check_rows(frame: pd.DataFrame) -> None:
    twice = frame.duplicated(_KEYS)
    if twice.any():
        raise _at(
            frame.loc[twice].iloc[0],
            "the patient has more than one row.",
            "Merge a patient's bags and slides into one score first.",
        )
    labels = frame.groupby("patient_id")["label"].nunique()
    if (labels > 1).any():
        patient = labels.index[labels > 1][0]
        raise _at(
            frame.loc[frame["patient_id"] == patient].iloc[0],
            "the patient has different labels in different rows.",
            "Correct the label; it is the patient's, not the method's.",
        )


def _at(row: pd.Series[Any], cause: str, remedy: str) -> StatisticsError:
    return StatisticsError(
        f"method {row['method']}, cohort {row['cohort']}: {cause}",
        remedy,
        patient=str(row["patient_id"]),
    )
