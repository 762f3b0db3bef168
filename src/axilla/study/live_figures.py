"""The figures of an opened study at any threshold, by the statistics of the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from axilla.analysis.operating_points import LockedRule, operating_points, operating_points_json
from axilla.analysis.roc import roc_curve
from axilla.analysis.score_table import Scores
from axilla.core.errors import ConfigError, StatisticsError
from axilla.core.methods import method_title
from axilla.core.types import COHORT_TITLES, FOLD_TITLES
from axilla.study.opened import OpenedEndpoint


@dataclass(frozen=True, slots=True)
class PatientRow:
    """One patient in one cohort, as the table of patients shows it."""

    patient_id: str
    cohort: str
    label: int
    scores: Mapping[str, tuple[float, ...]]
    """By method: the probability of the positive class, or with more than two that of each."""
    spread: Mapping[str, float]
    """By method, where an ensemble scored."""
    groups: Mapping[str, str]
    """The patient's subgroup by the characteristic's title."""


def patient_rows(endpoint: OpenedEndpoint) -> tuple[PatientRow, ...]:
    """Every patient in every cohort; out of cross-validation, scores are means over the folds."""
    scores: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {}
    spreads: dict[tuple[str, str], dict[str, float]] = {}
    for method, cohort, part in _parts(endpoint):
        for index, patient in enumerate(part.patients):
            row = part.scores[index]
            shown = row[1:] if len(row) == 2 else row
            scores.setdefault((patient, cohort), {})[method] = tuple(map(float, shown))
            if part.spread is not None and math.isfinite(part.spread[index]):
                spreads.setdefault((patient, cohort), {})[method] = float(part.spread[index])
    groups = {
        title: names.astype(object).where(names.notna(), None).to_dict()
        for title, names in endpoint.subgroups.items()
    }
    order = {p.patient_id: index for index, p in enumerate(endpoint.cohort.patients)}
    labels = endpoint.cohort.labels()
    return tuple(
        PatientRow(
            patient_id=patient,
            cohort=cohort,
            label=labels[patient],
            scores=found,
            spread=spreads.get((patient, cohort), {}),
            groups={t: str(v) for t, of in groups.items() if (v := of.get(patient)) is not None},
        )
        for (patient, cohort), found in sorted(scores.items(), key=lambda item: order[item[0][0]])
    )


def cohort_titles(endpoint: OpenedEndpoint) -> dict[str, str]:
    """How the cohorts are printed, in their order."""
    found = dict.fromkeys(c for m in endpoint.methods for c in endpoint.table.cohorts(m))
    titles = FOLD_TITLES if endpoint.config.crossed else COHORT_TITLES
    return {cohort: titles.get(cohort, cohort) for cohort in found}


def cohort_figures(endpoint: OpenedEndpoint, method: str, cohort: str) -> dict[str, Any]:
    """What does not depend on the threshold: ROC curve, area, the locked threshold.

    Of more than two classes, which have no threshold, what `metrics.json` has of them.

    Raises
    ------
    ConfigError
        There is no such method or cohort.
    """
    part = _part(endpoint, method, cohort)
    entry = endpoint.metrics["methods"][method][cohort]
    found: dict[str, Any] = {
        "method": method, "title": method_title(method), "cohort": cohort, "n": entry["n"],
        "auc": entry["auc"], "note": entry.get("note"), "threshold": entry["threshold"],
        "reason": entry.get("reason"),
    }  # fmt: skip
    if len(endpoint.cohort.classes) > 2:
        names = ("classes", "auc_by_class", "accuracy", "confusion_matrix")
        return found | {name: entry[name] for name in names}
    if entry.get("by_own_folds"):
        found["note"] += f". {_one_for_all(entry)}"
    return found | {"positives": entry["positives"], "roc": _curve(part)}


def figures_at(
    endpoint: OpenedEndpoint, method: str, cohort: str, *, threshold: float
) -> dict[str, Any]:
    """Confusion, sensitivity, specificity, PPV, NPV and who is spared, with their intervals.

    Raises
    ------
    ConfigError
        There is no such method or cohort, or the endpoint has more than two classes.
    """
    part = _part(endpoint, method, cohort)
    if len(endpoint.cohort.classes) > 2:
        raise ConfigError(
            "an endpoint of more than two classes has no threshold.", "The likeliest is called."
        )
    rule = LockedRule(threshold, threshold)
    points = operating_points((rule,), part.labels, part.positive)
    return operating_points_json(points)[0]


def _one_for_all(entry: Mapping[str, Any]) -> str:
    """Why the figures of a page with one threshold are not those of the report."""
    value = {name: entry[name]["value"] for name in ("sensitivity", "specificity")}
    told = " and ".join(f"{name} {v:.3f}" for name, v in value.items() if v is not None)
    return (
        "On this page one threshold calls every patient, so that its figures differ from the "
        f"report's ({told}), where each patient is called by the folds that scored it"
    )


def _curve(part: Scores) -> dict[str, Any]:
    try:
        curve = roc_curve(part.labels, part.positive)
    except StatisticsError as error:
        return {"points": [], "reason": error.problem.cause}
    # Of infinity JSON knows nothing: nobody is positive from above the highest score.
    cuts = [None if np.isinf(t) else float(t) for t in curve.thresholds]
    return {"points": [list(p) for p in zip(curve.fpr, curve.tpr, cuts, strict=True)]}


def _part(endpoint: OpenedEndpoint, method: str, cohort: str) -> Scores:
    if method not in endpoint.methods or cohort not in endpoint.table.cohorts(method):
        raise ConfigError(
            "the study has no such method or cohort.",
            f"Methods: {', '.join(endpoint.methods)}; cohorts: "
            f"{', '.join(cohort_titles(endpoint))}.",
        )
    return endpoint.table.select(method, cohort)


def _parts(endpoint: OpenedEndpoint) -> Iterator[tuple[str, str, Scores]]:
    for method in endpoint.methods:
        for cohort in endpoint.table.cohorts(method):
            yield method, cohort, endpoint.table.select(method, cohort)
