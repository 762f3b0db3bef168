"""From a table of predictions to everything that `metrics.json` holds."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from axilla.analysis.class_use import class_use_entry
from axilla.analysis.clinical_use import clinical_use_entry, locked_rules, subgroup_entries
from axilla.analysis.cohort_metrics import binary_entry, multiclass_entry
from axilla.analysis.folds import fold_thresholds, summarise_folds
from axilla.analysis.multiplicity import holm
from axilla.analysis.roc import compare_paired
from axilla.analysis.score_table import Scores, ScoreTable, parse_predictions
from axilla.analysis.thresholds import choose_threshold, is_chosen_on_validation
from axilla.core.errors import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from axilla.analysis.operating_points import LockedRule
    from axilla.core.config import Threshold

_POOLED = (
    "cross-validation: each patient's score is the mean of the patient's scores over the repeats "
    "and folds in which the patient was in this cohort"
)
_OWN_THRESHOLDS = (
    "and is called at the mean of the thresholds that these folds chose on their validation "
    "patients; the threshold that is told and drawn is the mean of all folds'"
)
_NO_OWN = "{count:,} of them at the mean of all folds, as theirs chose none"


def evaluate(
    predictions: pd.DataFrame,
    *,
    endpoint: str,
    threshold_rule: Threshold,
    thresholds: Mapping[str, float | str] | None = None,
    fold_names: Mapping[int, str] | None = None,
    prevalences: Sequence[float] = (),
    groups: Mapping[str, pd.Series[Any]] | None = None,
    points: Mapping[str, Sequence[LockedRule]] | None = None,
) -> dict[str, Any]:
    """Measure every method on every cohort and compare the methods pairwise.

    Parameters
    ----------
    predictions
        As `predictions.csv`: patient_id, method, cohort, label, and score (probability of the
        positive class) or score_<class>; with repeat and fold where they are cross-validated.
    endpoint
        Name of the endpoint, for the record.
    threshold_rule
        `youden-validation`, a fixed sensitivity and a fixed NPV choose on the cohort `val` and
        apply it to all of the method's cohorts; `youden-per-cohort` chooses on each. With more
        than two classes there is no threshold: the likeliest class is called.
    thresholds
        Locked thresholds by method (a model's own), or the reason why a method has none; they go
        before the rule.
    fold_names
        The group that each fold leaves out, where folds have one.
    prevalences
        Shares of positive patients at which PPV and NPV are wanted, of two classes.
    groups
        Subgroups of patients of two classes: categories by patient, by the characteristic's title.
    points
        Operating points locked elsewhere, by method; the others' are chosen on `val`.

    Returns
    -------
    dict
        The structure of `metrics.json` (DESIGN, Files), ready for JSON: shares as fractions, full
        precision; a figure that cannot be computed is None, with a `reason` beside it.
        `comparisons` holds paired DeLong tests on the patients that both methods scored, and for
        those with the first method `p_holm`, adjusted over them in their cohort. With
        cross-validation there is also `folds` (see `summarise_folds`), and the cohorts' entries
        pool each patient's scores, as their `note` says. An ensemble's entries have `spread`: mean
        and largest SD over its members, over the patients. Of two classes each entry has what
        `clinical_use_entry` adds, and `subgroups` holds the test cohort's; of more classes it has
        what `class_use_entry` adds. `by_own_folds` marks entries whose patients are called at the
        thresholds of the folds that scored them.

    Raises
    ------
    StatisticsError
        The table contradicts itself, or the rule has no validation cohort to choose on; names
        method, cohort and patient.
    """
    table = parse_predictions(predictions)
    binary = len(table.classes) == 2
    methods: dict[str, Any] = {}
    folds: dict[str, Any] = {}
    called_at: dict[tuple[str, str], NDArray[np.float64]] = {}
    for method in table.methods:
        by_fold: Mapping[tuple[int, int], float | str] = {}
        locked = (thresholds or {}).get(method)
        if table.folded and binary:
            rule = locked if isinstance(locked, float) else threshold_rule
            by_fold = fold_thresholds(table, method, rule=rule)
        if table.folded:
            folds[method] = summarise_folds(table, method, thresholds=by_fold, names=fold_names)
        methods[method] = {}
        locked_points: Sequence[LockedRule] = ()
        if binary:
            given = (points or {}).get(method)
            locked_points = locked_rules(table, method) if given is None else given
        for cohort in table.cohorts(method):
            part = table.select(method, cohort)
            if binary:
                threshold = _threshold(
                    table, method, part, rule=threshold_rule, locked=locked, by_fold=by_fold
                )
                own, without = None, 0
                if by_fold and locked is None and is_chosen_on_validation(threshold_rule):
                    own, without = _own_thresholds(table, method, cohort, by_fold=by_fold)
                    called_at[method, cohort] = own
                entry = binary_entry(
                    part.labels, part.positive, threshold=threshold, own_thresholds=own
                )
                entry |= clinical_use_entry(
                    part, locked=locked_points, confusion=entry["confusion"],
                    prevalences=prevalences,
                )  # fmt: skip
            else:
                entry = multiclass_entry(part.labels, part.scores, classes=table.classes)
                entry |= class_use_entry(part, classes=table.classes)
            entry |= _spread(part)
            if table.folded:
                entry["note"] = _POOLED
                if binary and own is not None:
                    entry["by_own_folds"] = True
                    entry["note"] += f", {_OWN_THRESHOLDS}"
                    entry["note"] += f"; {_NO_OWN.format(count=without)}" if without else ""
            methods[method][cohort] = entry
    result = {
        "endpoint": endpoint,
        "threshold_rule": _rule_json(threshold_rule),
        "methods": methods,
        "comparisons": _adjusted(list(_comparisons(table)), first=table.methods[0]),
    }
    if binary and groups:
        result["subgroups"] = list(subgroup_entries(table, methods, groups, called_at=called_at))
    return result | ({"folds": folds} if table.folded else {})


def _spread(part: Scores) -> dict[str, Any]:
    """How far an ensemble's members are apart; nothing where one model scored."""
    if part.spread is None or np.isnan(part.spread).all():
        return {}
    known = part.spread[~np.isnan(part.spread)]
    return {"spread": {"n": len(known), "mean": float(known.mean()), "max": float(known.max())}}


def _own_thresholds(
    table: ScoreTable,
    method: str,
    cohort: str,
    *,
    by_fold: Mapping[tuple[int, int], float | str],
) -> tuple[NDArray[np.float64], int]:
    """What each patient is called by, [n]: on the test cohort no threshold chosen on the patient.

    And the number of patients whose folds chose none, and who are called at the mean of all.
    """
    chosen = {fold: value for fold, value in by_fold.items() if not isinstance(value, str)}
    own = table.own_thresholds(method, cohort, by_fold=chosen)
    without = np.isnan(own)
    own[without] = np.mean(list(chosen.values()))
    return own, int(without.sum())


def _threshold(
    table: ScoreTable,
    method: str,
    part: Scores,
    *,
    rule: Threshold,
    locked: float | str | None,
    by_fold: Mapping[tuple[int, int], float | str],
) -> float | str:
    """Threshold of one cohort, or the reason why it has none."""
    if locked is not None:
        return locked
    if rule == "youden-per-cohort":
        try:
            return choose_threshold(part.labels, part.positive, rule=rule)
        except StatisticsError as error:
            return error.problem.cause.rstrip(".")
    if not is_chosen_on_validation(rule):
        return choose_threshold(part.labels, part.positive, rule=rule)
    if by_fold:
        return float(np.mean([value for value in by_fold.values() if not isinstance(value, str)]))
    if "val" not in table.cohorts(method):
        raise StatisticsError(
            f"method {method}: the threshold is chosen on the cohort `val`, which is not there.",
            "Add predictions of a validation cohort named val, or give a fixed threshold such as "
            "`threshold: 0.5`.",
        )
    validation = table.select(method, "val")
    try:
        return choose_threshold(validation.labels, validation.positive, rule=rule)
    except StatisticsError as error:
        raise StatisticsError(
            f"method {method}, cohort val: {error.problem.cause}", error.problem.remedy
        ) from error


def _rule_json(rule: Threshold) -> Any:
    return rule.model_dump() if isinstance(rule, BaseModel) else rule


def _comparisons(table: ScoreTable) -> Iterator[dict[str, Any]]:
    """Every pair of methods in each cohort; one a class where there are more than two."""
    binary = len(table.classes) == 2
    for a, b in combinations(table.methods, 2):
        for cohort in table.cohorts(a):
            if cohort not in table.cohorts(b):
                continue
            first, second = _common(table.select(a, cohort), table.select(b, cohort))
            total = max(len(table.select(method, cohort).patients) for method in (a, b))
            for index in [1] if binary else range(len(table.classes)):
                entry: dict[str, Any] = {"cohort": cohort, "a": a, "b": b}
                if not binary:
                    entry["class"] = table.classes[index]
                entry |= _compare(first, second, index=index)
                if len(first.patients) < total:
                    entry["note"] = (
                        f"on the {len(first.patients)} patients that both methods scored"
                    )
                yield entry


def _adjusted(tests: list[dict[str, Any]], *, first: str) -> list[dict[str, Any]]:
    """The tests, those with the first method adjusted over all of these in their cohort."""
    for cohort in dict.fromkeys(test["cohort"] for test in tests):
        family = [t for t in tests if (t["cohort"], t["a"]) == (cohort, first)]
        known = [test for test in family if test["p"] is not None]
        for test, p in zip(known, holm([test["p"] for test in known]), strict=True):
            test["p_holm"] = p
    return tests


def _common(first: Scores, second: Scores) -> tuple[Scores, Scores]:
    """Both, on the patients they share, in the order of the first."""
    place = {patient: index for index, patient in enumerate(second.patients)}
    own = [index for index, patient in enumerate(first.patients) if patient in place]
    other = [place[first.patients[index]] for index in own]
    shared = tuple(first.patients[index] for index in own)
    return (
        Scores(shared, first.labels[own], first.scores[own]),
        Scores(shared, second.labels[other], second.scores[other]),
    )


def _compare(first: Scores, second: Scores, *, index: int) -> dict[str, Any]:
    n = len(first.patients)
    try:
        test = compare_paired(
            first.labels == index, first.scores[:, index], second.scores[:, index]
        )
    except StatisticsError as error:
        reason = error.problem.cause.rstrip(".")
        return {"n": n, "difference": None, "z": None, "p": None, "reason": reason}
    return {"n": n, **test._asdict()}
