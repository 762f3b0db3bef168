"""One patient's nuclei: outlined on some patches, and their features among the training cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from axilla.analysis.heatmaps import draw_gallery
from axilla.analysis.plots.look import PAGE_IN, in_print
from axilla.analysis.plots.patient_features import PatientFeature, draw_patient_features
from axilla.analysis.reference_ranges import EVERYBODY, ReferenceRange, reference_ranges
from axilla.core import store
from axilla.core.methods import NUCLEI
from axilla.core.progress import Reporter, Silent
from axilla.core.types import Partition, Patient, Slide
from axilla.nuclei.feature_bags import FEATURES
from axilla.study.evaluating import write_figure
from axilla.study.explaining import GALLERY
from axilla.study.fitting import Fitting
from axilla.study.heat_drawing import figure_png
from axilla.study.layout import Layout
from axilla.study.nuclei_explaining import STEP as TABLES
from axilla.study.nuclei_explaining import (
    WeighingModel,
    explained_key,
    feature_units,
    patient_features,
)
from axilla.study.nuclei_slides import outlined_patches
from axilla.study.tiling import Tiles

SHOWING = 1
"""Counts up whenever the same nuclei and model come to give other pictures."""
_QUANTILES = ("p10", "p25", "median", "p75", "p90")


@dataclass(frozen=True, slots=True)
class Asked:
    """A patient, and the partition whose model is asked."""

    partition: Partition
    patient: Patient


def show_nuclei(
    fitting: Fitting,
    tiles: Tiles,
    keys: Mapping[tuple[str, str], str],
    patients: list[Asked],
    *,
    out: Path,
    reporter: Reporter,
) -> None:
    """Outline nuclei on some patches of each slide, and draw each patient's features.

    Parameters
    ----------
    keys
        Of the models, by method and partition.
    patients
        Who is shown.
    out
        Under it the patches go; figure and numbers of a patient lie under the study's own folder.
    """
    if fitting.nuclei is None or NUCLEI not in fitting.config.methods:
        return
    target, model = Layout(out), WeighingModel(fitting)
    now = 0
    for asked in reporter.track(patients, "Outlining nuclei"):
        for slide in asked.patient.slides:
            if len(tiles.grids[slide.slide_id]) == 0:
                continue  # no patch of it was kept
            key = store.digest("nuclei-outlined", SHOWING, fitting.nuclei.keys[slide.slide_id])
            step = f"nuclei-outlined/{slide.slide_id}"
            if not store.step_is_done(out, step, key=key):
                path = target.nuclei_outlined(slide.slide_id)
                figure = _outlined(fitting, tiles, slide)
                store.write_bytes(path, figure_png(figure, dpi=110))
                store.write_step(out, step, key=key, files=[path])
                now += 1
        now += _show_features(fitting, keys, asked, model)
    if patients:
        some = "patient" if len(patients) == 1 else "patients"
        reporter.done("nuclei", f"{len(patients)} {some} shown" + ("" if now else " before"))


def _outlined(fitting: Fitting, tiles: Tiles, slide: Slide) -> Figure:
    """Patches from the sparsest to the densest, evenly spaced in their order: not chosen by eye."""
    if fitting.nuclei is None:
        raise ValueError("outlines need nuclei")
    densities = fitting.nuclei.patches(slide.slide_id)["density"].to_numpy(np.float64)
    order = np.argsort(densities, kind="stable")
    places = (np.arange(GALLERY) + 0.5) / GALLERY * len(order)
    rows = order[np.unique(places.astype(np.int64))]
    drawn = outlined_patches(slide, tiles, rows, config=fitting.config)
    figure = Figure(figsize=(1.1 * GALLERY, 1.55))
    unit = feature_units(fitting)["density"]
    draw_gallery(
        figure, [drawn], values=[densities[rows].tolist()],
        titles=[f"Sparsest to densest: nuclei {unit}; yellow: measured, white: cut, not measured"],
        label="{:,.0f}" if fitting.nuclei.in_um else "{:.3g}",
    )  # fmt: skip
    return figure


def _show_features(
    fitting: Fitting, keys: Mapping[tuple[str, str], str], asked: Asked, model: WeighingModel
) -> bool:
    """Write figure and numbers of a patient's features; whether that was still to be done."""
    if fitting.nuclei is None:
        raise ValueError("features need nuclei")
    partition, patient = asked.partition, asked.patient
    layout = Layout(fitting.config.out)
    training = fitting.patients(partition, "train")
    people = [(p.patient_id, p.label, [s.slide_id for s in p.slides]) for p in training]
    own = [(slide.slide_id, fitting.nuclei.keys[slide.slide_id]) for slide in patient.slides]
    # The key of the model covers the nuclei of its training patients.
    key = store.digest("nuclei-case", SHOWING, keys[NUCLEI, partition.name], people, own)
    step = f"nuclei-case/{patient.patient_id}"
    if store.step_is_done(layout.out, step, key=key):
        return False
    features = _features(fitting, keys, asked, model)
    picture = layout.case_nuclei(patient.patient_id)
    with in_print():
        figure = Figure(figsize=(PAGE_IN, 3.3), layout="constrained")
        draw_patient_features(figure, features, positive=fitting.cohort.classes[-1])
        (svg,) = write_figure(picture.with_suffix(""), figure, png=False)
    numbers = picture.with_suffix(".csv")
    store.write_text(numbers, _table(features, feature_units(fitting)).to_csv(index=False))
    store.write_step(layout.out, step, key=key, files=[svg, numbers])
    return True


def _features(
    fitting: Fitting, keys: Mapping[tuple[str, str], str], asked: Asked, model: WeighingModel
) -> list[PatientFeature]:
    training = set(asked.partition.members("train"))
    everybody = _known_features(fitting, keys, training | {asked.patient.patient_id})
    reference = everybody[everybody["patient_id"].isin(training)]
    (own,) = everybody[everybody["patient_id"] == asked.patient.patient_id].to_dict("records")
    attention, contribution = model.weigh(asked.partition, asked.patient, contributions=True)
    ranges = {
        name: reference_ranges(reference[name], reference["label"], classes=fitting.cohort.classes)
        for name in FEATURES
    }
    # The same groups for all features: where one is withheld, it could be told from another's.
    groups = {tuple(one.group for one in found) for found in ranges.values()}
    if len(groups) > 1:
        together = {
            name: reference_ranges(
                reference[name], np.zeros(len(reference), np.int64), classes=(EVERYBODY,)
            )
            for name in FEATURES
        }
        ranges = together if all(together.values()) else dict.fromkeys(FEATURES, ())
    return [
        PatientFeature(
            title=title,
            value=float(own[name]),
            ranges=ranges[name],
            attention=float(attention[index]),
            contribution=None if contribution is None else float(contribution[index]),
        )
        for index, (name, title) in enumerate(FEATURES.items())
    ]


def _known_features(
    fitting: Fitting, keys: Mapping[tuple[str, str], str], wanted: set[str]
) -> pd.DataFrame:
    """Features of these patients: from the study's table where it is made, else from the nuclei."""
    layout = Layout(fitting.config.out)
    if store.step_is_done(layout.out, TABLES, key=explained_key(fitting, keys)):
        return pd.read_csv(
            layout.nuclei_features, dtype={"patient_id": str},
            keep_default_na=False, na_values={name: [""] for name in FEATURES},
        )  # fmt: skip
    patients = [p for p in fitting.cohort.patients if p.patient_id in wanted]
    return patient_features(fitting, patients, reporter=Silent())


def _table(features: list[PatientFeature], units: Mapping[str, str]) -> pd.DataFrame:
    rows = []
    for name, feature in zip(FEATURES, features, strict=True):
        row: dict[str, object] = {
            "feature": name, "unit": units.get(name, ""), "value": feature.value,
            "attention": feature.attention, "contribution": feature.contribution,
        }  # fmt: skip
        for own in feature.ranges:
            row[f"n {own.group}"] = own.n
            for quantile, value in zip(_QUANTILES, own.quantiles, strict=True):
                row[f"{quantile} {own.group}"] = value
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of the numbers of a patient's features, as they were written."""

    name: str
    unit: str
    feature: PatientFeature


def read_patient_features(path: Path) -> list[TableRow]:
    """The numbers of a patient's features, as `show_nuclei` wrote them."""
    frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    groups = [column[2:] for column in frame.columns if column.startswith("n ")]
    frame = frame.astype({"unit": object}).fillna({"unit": ""})
    found = []
    for row in frame.to_dict("records"):
        name = str(row["feature"])
        ranges = tuple(
            ReferenceRange(g, int(row[f"n {g}"]), tuple(float(row[f"{q} {g}"]) for q in _QUANTILES))
            for g in groups
        )
        contribution = row["contribution"]
        feature = PatientFeature(
            FEATURES[name], float(row["value"]), ranges, float(row["attention"]),
            None if pd.isna(contribution) else float(contribution),
        )  # fmt: skip
        found.append(TableRow(name, str(row["unit"]), feature))
    return found
