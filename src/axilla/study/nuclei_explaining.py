"""What nuclei say of the classes, and what the model of nucleus features weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from axilla.analysis.feature_tests import compare_features
from axilla.analysis.plots.features import draw_features, draw_weights
from axilla.analysis.plots.look import PAGE_IN, in_print
from axilla.analysis.tables.printed import format_p
from axilla.core import store
from axilla.core.methods import NUCLEI
from axilla.core.progress import Reporter
from axilla.core.types import Partition, Patient
from axilla.mil.bundle import Bundle
from axilla.nuclei.feature_bags import FEATURES
from axilla.report.contents import Figure as ReportFigure
from axilla.report.contents import Part, Table
from axilla.study.evaluating import write_figure, write_table
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout
from axilla.study.nuclei_bags import seen_by
from axilla.study.scoring import load_bundle, slide_attention, slide_contribution

STEP = "nuclei-explained"
DRAWING = 2
"""Counts up whenever the same values come to give other pictures."""
_UM = {"major_axis": "µm", "minor_axis": "µm", "area": "µm²", "circumference": "µm",
       "density": "per mm²"}  # fmt: skip
_PX = {"major_axis": "px", "minor_axis": "px", "area": "px²", "circumference": "px",
       "density": "per patch"}  # fmt: skip


def explain_nuclei(
    fitting: Fitting, keys: Mapping[tuple[str, str], str], *, reporter: Reporter
) -> None:
    """Tables and figures of nucleus features; nothing where no method looks at nuclei.

    `nuclei/features.csv` (a row a patient), `nuclei/weights.csv` (a row a test patient),
    `tables/nuclei_features` and the figures `nuclei_features` and `nuclei_weights`.
    """
    if fitting.nuclei is None or NUCLEI not in fitting.config.methods:
        return
    layout = Layout(fitting.config.out)
    key = explained_key(fitting, keys)
    if store.step_is_done(layout.out, STEP, key=key):
        reporter.done("nuclei", "explained before")
        return
    features = patient_features(fitting, fitting.cohort.patients, reporter=reporter)
    weights = _weights(fitting, reporter=reporter)
    files = [layout.nuclei_features, layout.nuclei_weights]
    for path, frame in zip(files, (features, weights), strict=True):
        store.write_text(path, frame.to_csv(index=False))
    with in_print():
        figure = Figure(figsize=(PAGE_IN, 0.42 * len(FEATURES) + 0.7), layout="constrained")
        draw_weights(
            figure.subplots(), weights[list(FEATURES)].to_numpy(np.float64),
            titles=list(FEATURES.values()),
        )  # fmt: skip
        files += write_figure(layout.figures / "nuclei_weights", figure)
    if len(fitting.cohort.classes) == 2:
        files += _write_tests(fitting, features, layout)
    store.write_step(layout.out, STEP, key=key, files=files)
    reporter.done("nuclei", f"{len(features):,} patients explained")


def explained_key(fitting: Fitting, keys: Mapping[tuple[str, str], str]) -> str:
    """What the study's tables of nucleus features depend on."""
    if fitting.nuclei is None:
        raise ValueError("features need nuclei")
    people = [(p.patient_id, p.label) for p in fitting.cohort.patients]
    return store.digest(
        STEP, DRAWING, people, sorted(fitting.nuclei.keys.items()),
        [keys[NUCLEI, partition.name] for partition in fitting.partitions],
    )  # fmt: skip


def patient_features(
    fitting: Fitting, patients: Sequence[Patient], *, reporter: Reporter
) -> pd.DataFrame:
    """Mean of each feature over a patient's nuclei, of the density over the patches."""
    if fitting.nuclei is None:
        raise ValueError("features need nuclei")
    rows = []
    for patient in reporter.track(patients, "Reading nuclei"):
        slides = [fitting.nuclei.values(slide.slide_id) for slide in patient.slides]
        row: dict[str, object] = {"patient_id": patient.patient_id, "label": patient.label}
        row["nuclei"] = sum(len(slide["area"]) for slide in slides)
        for name in FEATURES:
            values = np.concatenate([slide[name] for slide in slides])
            row[name] = float(values.mean()) if len(values) else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def _weights(fitting: Fitting, *, reporter: Reporter) -> pd.DataFrame:
    """Attention of each feature for each test patient, by a model that did not learn from them."""
    todo = [
        (partition, patient)
        for partition in fitting.partitions
        if partition.repeat == 0
        for patient in fitting.patients(partition, "test")
    ]
    rows = []
    model = WeighingModel(fitting)
    for partition, patient in reporter.track(todo, "Weighing features"):
        mean, _ = model.weigh(partition, patient, contributions=False)
        row: dict[str, object] = {"patient_id": patient.patient_id, "label": patient.label}
        rows.append(row | dict(zip(FEATURES, mean.tolist(), strict=True)))
    return pd.DataFrame(rows, columns=["patient_id", "label", *FEATURES])


class WeighingModel:
    """The models of nucleus features, the last one kept: its bins are those of a whole cohort."""

    def __init__(self, fitting: Fitting) -> None:
        self._fitting = fitting
        self._kept: dict[str, tuple[Fitting, Bundle]] = {}

    def weigh(
        self, partition: Partition, patient: Patient, *, contributions: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Attention and contribution of each feature, [features], means over a patient's slides.

        Slides without a patch have no bag and do not count.
        Contributions are None where they are not asked for or cannot be told.
        """
        if partition.name not in self._kept:
            view = seen_by(self._fitting, NUCLEI, partition)
            self._kept = {partition.name: (view, load_bundle(self._fitting, NUCLEI, partition))}
        view, bundle = self._kept[partition.name]
        if view.slides is None:
            raise ValueError("features are weighed on slides")
        slides = [s.slide_id for s in patient.slides if len(view.slides[s.slide_id])]
        attention = np.mean([slide_attention(view, bundle, patient, s) for s in slides], axis=0)
        given = []
        for slide in slides if contributions else []:
            told = slide_contribution(view, bundle, patient, slide)
            given += [] if told is None else [told]
        contribution = np.asarray(np.mean(given, axis=0), np.float64) if given else None
        return np.asarray(attention, np.float64), contribution


def _write_tests(fitting: Fitting, features: pd.DataFrame, layout: Layout) -> list[Path]:
    """Mann-Whitney of every feature, as a table and as box plots."""
    classes = fitting.cohort.classes
    labels = features["label"].to_numpy(np.int64)
    tests = compare_features(features[list(FEATURES)], labels, classes=classes)
    store.write_text(layout.nuclei_tests, tests.to_csv(index=False))
    units = feature_units(fitting)
    with in_print():
        figure = Figure(figsize=(PAGE_IN, 4.1), layout="constrained")
        draw_features(
            figure,
            {
                title: {
                    own: features.loc[labels == i, name].dropna().to_numpy(np.float64)
                    for i, own in enumerate(classes)
                }
                for name, title in FEATURES.items()
            },
            p={FEATURES[n]: p for n, p in zip(tests["feature"], tests["p"], strict=True)},
            units={title: units.get(name, "") for name, title in FEATURES.items()},
        )
        files = write_figure(layout.figures / "nuclei_features", figure)
    files += write_table(
        layout.tables / "nuclei_features", printed_tests(tests, classes=classes, units=units),
        caption="Nucleus features by class", notes=_NOTES,
    )  # fmt: skip
    return [layout.nuclei_tests, *files]


_NOTES = (
    (
        "One mean a patient; Mann-Whitney U, two-sided; adjusted by Benjamini and Hochberg over "
        "the features."
    ),
    (
        "Effect: the probability that a patient of the second class has more than one of the "
        "first, with its 95% DeLong interval; 0.5 is no difference."
    ),
    (
        "All patients of the study, those that trained the model among them: this describes the "
        "cohort and validates nothing."
    ),
)


def printed_tests(
    tests: pd.DataFrame, *, classes: Sequence[str], units: Mapping[str, str]
) -> pd.DataFrame:
    """The tests as a journal prints them."""
    rows = []
    for row in tests.to_dict("records"):
        unit = units.get(row["feature"], "")
        title = FEATURES[row["feature"]]
        effect = "–" if np.isnan(row["effect"]) else f"{row['effect']:.3f}"
        if not np.isnan(row["effect_low"]):  # all of one class above all of the other has none
            effect += f" [{row['effect_low']:.3f}, {row['effect_high']:.3f}]"
        rows.append(
            {
                "Feature": f"{title} ({unit})" if unit else title,
                # A patient without a nucleus has a density and nothing else: n goes by feature.
                **{f"Median, {c} (n)": f"{row[f'median_{c}']:.4g} ({row[f'n_{c}']})"
                   for c in classes},
                "Effect [95% CI]": effect,
                "p": format_p(row["p"]),
                "p, adjusted": format_p(row["p_adjusted"]),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def nuclei_part(fitting: Fitting) -> Part | None:
    """The report's section on nuclei; None where no method looks at them."""
    layout = Layout(fitting.config.out)
    if fitting.nuclei is None or not layout.nuclei_weights.is_file():
        return None
    figures = [
        _report_figure(layout, "nuclei_weights", "Attention by nucleus feature", (
            "How much the attention of the model of nucleus features weighs each feature, a point "
            "a test patient. Attention is no evidence of a cause: it says what the model looked "
            "at."), layout.nuclei_weights),
    ]  # fmt: skip
    tables = []
    # Of three classes there are none; those of an earlier endpoint may still lie there.
    if len(fitting.cohort.classes) == 2 and layout.nuclei_tests.is_file():
        figures.append(
            _report_figure(
                layout, "nuclei_features", "Nucleus features by class",
                "A point a patient: the mean over the nuclei, of the density over the patches.",
                layout.nuclei_features,
            )
        )  # fmt: skip
        frame = pd.read_csv(layout.tables / "nuclei_features.csv", dtype=str, keep_default_na=False)
        tables.append(
            Table(
                title="Nucleus features by class",
                columns=tuple(map(str, frame.columns)),
                rows=tuple(tuple(map(str, row)) for row in frame.itertuples(index=False)),
                notes=_NOTES,
                csv_name="nuclei_features.csv",
            )
        )
    return Part(
        anchor="nuclei",
        title="Nuclei",
        after="cases",
        paragraphs=(
            (
                "The nuclei of every patch were found and measured, and DL-CNB was re-trained on "
                "bags of their features, one instance a feature (paper, section 2.4)."
            ),
            _carried(layout),
        ),
        tables=tuple(tables),
        figures=tuple(figures),
    )


def _carried(layout: Layout) -> str:
    """Which features carry the model: what its attention weighs most and least."""
    weights = pd.read_csv(layout.nuclei_weights, usecols=list(FEATURES))
    middle = weights.median().sort_values(ascending=False, kind="stable")
    named = [f"{FEATURES[str(n)].lower()} ({w:.2f})" for n, w in middle.items()]
    return (
        f"Over {len(weights):,} test patients the model weighs {named[0]}, {named[1]} and "
        f"{named[2]} most and {named[-1]} least: medians of the attention, 1 where a feature "
        "weighs as if all weighed the same."
    )


def _report_figure(
    layout: Layout, stem: str, title: str, caption: str, numbers: Path
) -> ReportFigure:
    return ReportFigure(
        title=title,
        caption=caption,
        image=(layout.figures / f"{stem}.svg").read_bytes(),
        media_type="image/svg+xml",
        alt=caption,
        csv_name=f"{stem}.csv",
        # Numbers of the points, nobody's name.
        csv=pd.read_csv(numbers).drop(columns="patient_id").to_csv(index=False),
    )


def feature_units(fitting: Fitting) -> Mapping[str, str]:
    """Of the features; µm where every slide tells its scale."""
    if fitting.nuclei is None:
        return {}
    return _UM if fitting.nuclei.in_um else _PX
