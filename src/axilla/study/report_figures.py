"""The report's figures, as `evaluate` drew them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axilla.core.config import StudyConfig
from axilla.core.methods import method_title
from axilla.report.contents import Figure
from axilla.study.layout import Layout
from axilla.study.wording import Wording, wording_of

IN_SAMPLE = {
    "train": " These patients trained the models: the curve is optimistic.",
    "val": " These patients chose epoch and threshold where a method has them: the curve may be "
    "optimistic.",
}
"""What has to be said of the curves of patients who had a part in the model."""


def figures_of(
    layout: Layout,
    metrics: Mapping[str, Any],
    config: StudyConfig,
    *,
    wording: Wording | None = None,
) -> tuple[Figure, ...]:
    """ROC curves of every cohort, and confusion matrices of the test cohort, with their numbers."""
    cohorts = list(dict.fromkeys(c for by in metrics["methods"].values() for c in by))
    order = [name for name in ("test", "val", "train") if name in cohorts]
    told = wording or wording_of(metrics)
    titles = told.titles
    found: list[Figure] = []
    for cohort in order:
        title = titles.get(cohort, cohort)
        svg = layout.figures / f"roc_{cohort}.svg"
        drawn = any(
            by.get(cohort, {}).get("auc", {}).get("value") is not None
            for by in metrics["methods"].values()
        )
        # A file that is there without an area is an earlier run's.
        if drawn and svg.is_file():
            found.append(
                Figure(
                    title=f"ROC, {title.lower()} cohort",
                    caption="Receiver operating characteristic with the area under the curve."
                    + IN_SAMPLE.get(cohort, ""),
                    image=svg.read_bytes(),
                    media_type="image/svg+xml",
                    alt=f"ROC curves of all methods in the {title.lower()} cohort",
                    csv_name=f"roc_{cohort}.csv",
                    csv=(layout.figures / f"roc_{cohort}.csv").read_text(encoding="utf-8"),
                )
            )
    found += _class_curves(layout, metrics, titles["test"])
    binary = not any("auc_by_class" in e for by in metrics["methods"].values() for e in by.values())
    at = (
        f"Confusion matrix at the threshold{_whose(metrics)} "
        f"({told.threshold or rule_text(config)})."
        if binary
        else "Confusion matrix: the likeliest class is called."
    )
    for method, by_cohort in metrics["methods"].items():
        svg = layout.figures / f"confusion_{method}_test.svg"
        if "test" in by_cohort and svg.is_file():
            shown = method_title(method)
            found.append(
                Figure(
                    title=f"{shown}, {titles['test'].lower()} cohort",
                    caption=at,
                    image=svg.read_bytes(),
                    media_type="image/svg+xml",
                    alt=f"Confusion matrix of {shown} in the {titles['test'].lower()} cohort",
                    csv_name=f"confusion_{method}_test.csv",
                    csv=svg.with_suffix(".csv").read_text(encoding="utf-8"),
                )
            )
        boxes = layout.figures / f"scores_{method}_test.svg"
        if "test" in by_cohort and boxes.is_file():
            shown = method_title(method)
            found.append(
                Figure(
                    title=f"Scores by class, {shown}, {titles['test'].lower()} cohort",
                    caption="Boxes: quartiles; whiskers: 5th and 95th percentile.",
                    image=boxes.read_bytes(),
                    media_type="image/svg+xml",
                    alt=f"Scores of {shown} by class in the {titles['test'].lower()} cohort",
                    csv_name=f"scores_{method}_test.csv",
                    csv=boxes.with_suffix(".csv").read_text(encoding="utf-8"),
                )
            )
    return tuple(found)


def _class_curves(layout: Layout, metrics: Mapping[str, Any], title: str) -> list[Figure]:
    """Of more than two classes: each against the others, in the test cohort."""
    found = []
    for method, by_cohort in metrics["methods"].items():
        areas = by_cohort.get("test", {}).get("auc_by_class", {})
        svg = layout.figures / f"roc_{method}_test.svg"
        if any(area["value"] is not None for area in areas.values()) and svg.is_file():
            named = f"{method_title(method)}, {title.lower()} cohort"
            found.append(
                Figure(
                    title=f"ROC by class, {named}",
                    caption="Each class against all others, with the area under its curve.",
                    image=svg.read_bytes(),
                    media_type="image/svg+xml",
                    alt=f"ROC curves of every class against the others, {named}",
                    csv_name=svg.with_suffix(".csv").name,
                    csv=svg.with_suffix(".csv").read_text(encoding="utf-8"),
                )
            )
    return found


def _whose(metrics: Mapping[str, Any]) -> str:
    entries = [e for by in metrics["methods"].values() for e in by.values()]
    return " of each patient's folds" if any(e.get("by_own_folds") for e in entries) else ""


def rule_text(config: StudyConfig) -> str:
    """How the threshold was chosen."""
    rule = config.model_dump(mode="json")["threshold"]
    if isinstance(rule, dict):
        return " ".join(f"{name} of {value:g} on validation" for name, value in rule.items())
    named = {
        "youden-validation": "Youden on validation, then locked",
        "youden-per-cohort": "Youden on each cohort itself, which is optimistic",
    }
    return named.get(str(rule), f"fixed at {rule}")
