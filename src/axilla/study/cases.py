"""Cases that the report shows: heat maps, patches, and what the nuclei's features say."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from axilla.core.methods import NUCLEI
from axilla.core.types import Patient, Slide
from axilla.report.contents import CaseView, Figure
from axilla.study.explaining import explained_method
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout
from axilla.study.nuclei_showing import Asked
from axilla.study.spread import spread_text

CASES = 6
"""Cases shown in the report; the others' heat maps lie in the folder `heatmaps`."""
_LARGE_BYTES = 150_000
_JPEG_QUALITY = 88
"""Of a picture that is larger as PNG: thin lines and small text stay sharp."""

ATTENTION = (
    "Attention shows which patches weighed most in a score. It is no evidence of metastasis, and "
    "what it marks need not be tumour. "
)
CONTRIBUTION = (
    "A patch's contribution is by how much the log-odds of {positive} fall when the patch is left "
    "out: above 0 it spoke for {positive}, below 0 against it. "
)
NO_PATCHES = (
    "The model sees no patch, only the nuclei's features: the patches, from the sparsest to the "
    "densest and not chosen by eye, show which nuclei were measured. "
)
FEATURES = (
    "The features' figure says where a patient's nuclei lie among those of the training patients, "
    "and what the model made of each feature."
)
SCORE = "A score is the model's own output, and no patient's risk."


def case_method(methods: tuple[str, ...]) -> str | None:
    """The method whose score stands with a case: one of patches, else that of nucleus features."""
    return explained_method(methods) or (NUCLEI if NUCLEI in methods else None)


def shown_cases(fitting: Fitting, predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows of the test patients with the highest and the lowest scores, of three classes the last.

    Empty where no method has cases.
    """
    method = case_method(fitting.config.methods)
    if method is None:
        return predictions.iloc[:0]
    by = "score" if "score" in predictions.columns else f"score_{fitting.cohort.classes[-1]}"
    rows = predictions[(predictions["method"] == method) & (predictions["cohort"] == "test")]
    if "repeat" in rows.columns:
        rows = rows[rows["repeat"] == 0]
    rows = rows.sort_values([by, "patient_id"], ascending=[False, True])
    return pd.concat([rows.head(CASES // 2), rows.tail(CASES // 2)]).drop_duplicates("patient_id")


def asked_cases(fitting: Fitting, predictions: pd.DataFrame) -> list[Asked]:
    """The same patients, each with the partition whose model did not see the patient."""
    people = {p.patient_id: p for p in fitting.cohort.patients}
    return [
        Asked(partition, people[patient_id])
        for patient_id in map(str, shown_cases(fitting, predictions)["patient_id"])
        for partition in fitting.partitions
        if partition.repeat == 0 and partition.cohort_of.get(patient_id) == "test"
    ]


def cases_of(
    fitting: Fitting, predictions: pd.DataFrame, metrics: Mapping[str, Any], layout: Layout
) -> tuple[CaseView, ...]:
    """A slide of each of these patients, as `explain` drew it."""
    people = {p.patient_id: p for p in fitting.cohort.patients}
    found = []
    for record in shown_cases(fitting, predictions).to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        patient = people[str(row["patient_id"])]
        score = _score_text(row, fitting, metrics)
        view = _first_drawn(fitting, patient, layout=layout, score=score)
        if view is not None:
            found.append(view)
    return tuple(found)


def _first_drawn(
    fitting: Fitting, patient: Patient, *, layout: Layout, score: str
) -> CaseView | None:
    """The patient's first slide of which there are pictures: of some, no patch may be kept.

    Where there are of none, the first one with the patient's own figure; None without that too.
    """
    first = None
    for slide in patient.slides:
        view = view_of(fitting, patient, slide, layout=layout, score=score)
        if view is not None and (view.maps or view.galleries):
            return view
        first = first or view
    return first


def _score_text(row: Mapping[str, Any], fitting: Fitting, metrics: Mapping[str, Any]) -> str:
    """A row's score and what it is called; with more than two classes all scores."""
    classes = fitting.cohort.classes
    if "score" not in row:
        scores = {name: row[f"score_{name}"] for name in classes}
        told = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
        return f"{told}{spread_text(row)}, called {max(classes, key=scores.__getitem__)}"
    threshold = _threshold_of(row, metrics)
    side = ""
    if threshold is not None:
        called = classes[int(row["score"] >= threshold)]
        side = f", called {called} at the threshold {threshold:.3f}"
    return f"{row['score']:.3f}{spread_text(row)}{side}"


def _threshold_of(row: Mapping[str, Any], metrics: Mapping[str, Any]) -> float | None:
    """What the row is called by: in cross-validation its own fold's threshold."""
    for fold in metrics.get("folds", {}).get(row["method"], {}).get("by_fold", ()):
        if (fold["repeat"], fold["fold"]) == (row["repeat"], row["fold"]):
            chosen: float | None = fold["threshold"]
            return chosen
    common: float | None = metrics["methods"][row["method"]]["test"]["threshold"]
    return common


def view_of(
    fitting: Fitting, patient: Patient, slide: Slide, *, layout: Layout, score: str
) -> CaseView | None:
    """One slide, as far as it was drawn under `layout`; None where nothing was."""
    methods, own = fitting.config.methods, Layout(fitting.config.out)
    maps: tuple[Figure, ...] = ()
    galleries: list[Figure] = []
    if explained_method(methods) is not None:
        maps = _maps(fitting, slide, layout)
        if fitting.imported is None and layout.gallery(slide.slide_id).is_file():
            galleries.append(picture(layout.gallery(slide.slide_id), "Patches by attention"))
    features = None
    if NUCLEI in methods:
        if layout.nuclei_outlined(slide.slide_id).is_file():
            title = "Patches with their nuclei outlined"
            galleries.append(picture(layout.nuclei_outlined(slide.slide_id), title))
        if own.case_nuclei(patient.patient_id).is_file():
            features = features_figure(own, patient)
    if not maps and not galleries and features is None:
        return None
    return CaseView(
        patient_id=patient.patient_id,
        slide_id=slide.slide_id,
        truth=fitting.cohort.classes[patient.label],
        score=score,
        maps=maps,
        galleries=tuple(galleries),
        features=features,
    )


def _maps(fitting: Fitting, slide: Slide, layout: Layout) -> tuple[Figure, ...]:
    """Attention, and contributions where they were drawn; the numbers of both with the first."""
    if not layout.heatmap(slide.slide_id).is_file():
        return ()
    attention = picture(
        layout.heatmap(slide.slide_id), "Attention over the slide",
        caption="Where the model looks; no evidence.", numbers=layout.attention(slide.slide_id),
    )  # fmt: skip
    if not layout.contribution(slide.slide_id).is_file():
        return (attention,)
    positive = fitting.cohort.classes[-1]
    return (
        attention,
        picture(
            layout.contribution(slide.slide_id), "Contribution of each patch",
            caption=f"Brown speaks for {positive}, teal against it.",
        ),
    )  # fmt: skip


def features_figure(layout: Layout, patient: Patient) -> Figure:
    """A patient's nucleus features among those of the training patients."""
    path = layout.case_nuclei(patient.patient_id)
    numbers = path.with_suffix(".csv")
    return Figure(
        title="Nucleus features of this patient",
        caption="Bars: the middle half of the training patients; lines: the middle four fifths. "
        "A patient's value is the mean over the nuclei, of the density over the patches.",
        image=path.read_bytes(),
        media_type="image/svg+xml",
        alt=f"Nucleus features of patient {patient.patient_id} among the training patients",
        csv_name=numbers.name,
        csv=numbers.read_text(encoding="utf-8"),
    )


def cases_intro(fitting: Fitting, views: tuple[CaseView, ...]) -> str:
    """How pictures of cases are read, as far as there are such."""
    positive = fitting.cohort.classes[-1]
    told = ""
    if any(view.maps for view in views):
        told += ATTENTION
    if any(len(view.maps) > 1 for view in views):
        told += CONTRIBUTION.format(positive=positive)
    if NUCLEI in fitting.config.methods and explained_method(fitting.config.methods) is None:
        told += NO_PATCHES
    if any(view.features for view in views):
        told += FEATURES + " "
    return told + SCORE


def picture(path: Path, title: str, *, caption: str = "", numbers: Path | None = None) -> Figure:
    """A PNG file as the report shows it: a large one as JPEG, so that more cases have room."""
    image, media_type = path.read_bytes(), "image/png"
    if len(image) > _LARGE_BYTES:
        buffer = io.BytesIO()
        with Image.open(path) as opened:
            # Without subsampling of the colours, which are what a heat map says.
            opened.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        if len(buffer.getvalue()) < len(image):
            image, media_type = buffer.getvalue(), "image/jpeg"
    told = numbers is not None and numbers.is_file()
    return Figure(
        title=title,
        caption=caption,
        image=image,
        media_type=media_type,
        alt=title,
        csv_name=numbers.name if numbers is not None and told else "",
        csv=numbers.read_text(encoding="utf-8") if numbers is not None and told else "",
    )
