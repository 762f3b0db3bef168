"""The page of one case, and its numbers as JSON."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from axilla import __version__
from axilla.analysis.reference_ranges import SMALLEST_GROUP
from axilla.core import store
from axilla.core.cohort import is_generated
from axilla.core.methods import NUCLEI, method_title
from axilla.core.types import CohortName, Slide
from axilla.nuclei.feature_bags import FEATURES
from axilla.report.budget import render_within
from axilla.report.contents import Highlight, Part, ReportContents, Table
from axilla.study.cases import SCORE, case_method, cases_intro, features_figure, view_of
from axilla.study.explaining import GALLERY, explained_method
from axilla.study.fitting import Fitting
from axilla.study.heat_scales import read_values
from axilla.study.layout import Layout, write_if_new
from axilla.study.nuclei_showing import Asked, TableRow, read_patient_features

_SIDES: dict[CohortName, str] = {
    "train": "trained the models", "val": "is one of the validation patients",
    "test": "is one of the test patients: the models shown here did not learn from them",
}  # fmt: skip
_MEASURED = (
    "Attention and contribution of a patch are means over random bags, drawn until every patch of "
    "the slide has been in several. Attention is printed relative to a bag in which all patches "
    "weigh the same."
)
_KINDS = {
    ".geojson": "patches with attention and contribution; drag it onto the slide in QuPath",
    ".ome.tif": "overlay of the slide's size, for QuPath and other viewers",
    ".csv": "attention and contribution, patch by patch",
    "-outlined.png": "patches with their nuclei outlined",
    "-contribution.png": "contributions over the slide",
    "-patches.png": "patches with the most and the least attention",
    ".png": "attention over the slide",
    "-patches.parquet": "how many nuclei each patch has",
    ".parquet": "every nucleus that is seen whole within a patch, measured",
}


@dataclass(frozen=True, slots=True, eq=False)
class CaseFacts:
    """What is known of a case once it is explained."""

    fitting: Fitting
    asked: Asked
    cohort: CohortName
    """Of the patient, in the partition whose model is asked."""
    predictions: pd.DataFrame
    layout: Layout
    """Where the slides' files lie."""
    notes: tuple[str, ...]
    """What has to be said before all else."""

    @property
    def patient_id(self) -> str:
        """Of the patient."""
        return self.asked.patient.patient_id

    @property
    def truth(self) -> str:
        """The patient's class."""
        return self.fitting.cohort.classes[self.asked.patient.label]


@dataclass(frozen=True, slots=True)
class _Score:
    """What one method says of the patient."""

    method: str
    scores: dict[str, float]
    """Probability by class; of the positive class alone where there are two."""
    spread: float | None
    threshold: float | None
    called: str | None

    @property
    def text(self) -> str:
        """Score and call in words."""
        if len(self.scores) > 1:
            return ", ".join(f"{name} {score:.3f}" for name, score in self.scores.items())
        side = "" if self.spread is None else f" ± {self.spread:.3f} over the ensemble's members"
        if self.called is not None and self.threshold is not None:
            side += f", called {self.called} at the threshold {self.threshold:.3f}"
        return f"{next(iter(self.scores.values())):.3f}{side}"


def write_case(facts: CaseFacts, page: Path) -> bool:
    """Write the page and, beside it, its numbers; whether the page was new."""
    scores = list(_scores(facts))
    store.write_json(page.with_suffix(".json"), _numbers(facts, scores))
    return write_if_new(page, render_within(_contents(facts, scores)))


def _scores(facts: CaseFacts) -> Iterator[_Score]:
    """By every method, from the models of the partition that is asked."""
    fitting, partition = facts.fitting, facts.asked.partition
    classes = fitting.cohort.classes
    rows = facts.predictions
    rows = rows[(rows["patient_id"] == facts.patient_id) & (rows["cohort"] == facts.cohort)]
    if "repeat" in rows.columns:
        rows = rows[(rows["repeat"] == partition.repeat) & (rows["fold"] == partition.fold)]
    for row in rows.to_dict("records"):
        method = str(row["method"])
        folder = Layout(fitting.config.out).model(method, partition.name)
        threshold = store.read_model_record(folder)["threshold"]["value"]
        spread = row.get("spread")
        if "score" in row:
            scores = {classes[-1]: float(row["score"])}
            called = None if threshold is None else classes[int(row["score"] >= threshold)]
        else:
            scores = {name: float(row[f"score_{name}"]) for name in classes}
            called = max(scores, key=lambda name: scores[name])
        yield _Score(
            method,
            scores,
            None if spread is None or not math.isfinite(spread) else float(spread),
            threshold,
            called,
        )


def _contents(facts: CaseFacts, scores: list[_Score]) -> ReportContents:
    fitting, patient = facts.fitting, facts.asked.patient
    config = fitting.config
    method = case_method(config.methods)
    main = next(score for score in scores if score.method == method)
    drawn = (
        view_of(fitting, patient, slide, layout=facts.layout, score=main.text)
        for slide in patient.slides
    )
    # The patient's features stand once, in their own section.
    views = tuple(replace(view, features=None) for view in drawn if view is not None)
    nuclei = _nuclei_part(facts)
    return ReportContents(
        name=f"Patient {facts.patient_id}",
        endpoint=" against ".join(fitting.cohort.classes),
        created=config.name,
        kind="one case",
        generated=is_generated(config.cohort),
        summary=(
            f"Patient {facts.patient_id} is {facts.truth} and {_SIDES[facts.cohort]}.",
            SCORE,
        ),
        highlights=tuple(_highlight(score) for score in scores),
        warnings=facts.notes,
        flow=(),
        tables=(),
        figures=(),
        cases=views,
        cases_title="Slides",
        cases_intro=(cases_intro(fitting, views),) if views else (),
        published=None,
        parts=(*([nuclei] if nuclei else []), *_files_part(facts)),
        methods=(_MEASURED,) if explained_method(config.methods) else (),
        settings=_settings(facts, scores),
        versions={"axilla": __version__, "python": platform.python_version()},
    )


def _highlight(score: _Score) -> Highlight:
    title = method_title(score.method)
    if len(score.scores) > 1:
        told = ", ".join(f"{name} {value:.3f}" for name, value in score.scores.items())
        return Highlight(title, str(score.called), told)
    (name, value), *_ = score.scores.items()
    detail = f"score of {name}"
    if score.called is not None and score.threshold is not None:
        detail += f", called {score.called} at the threshold {score.threshold:.3f}"
    return Highlight(title, f"{value:.3f}", detail)


def _nuclei_part(facts: CaseFacts) -> Part | None:
    path = Layout(facts.fitting.config.out).case_nuclei(facts.patient_id)
    if NUCLEI not in facts.fitting.config.methods or not path.is_file():
        return None
    rows = read_patient_features(path.with_suffix(".csv"))
    groups = rows[0].feature.ranges
    told = rows[0].feature.contribution is not None
    heads = [f"Training, {own.group} (n = {own.n})" for own in groups]
    extra = ["Contribution"] if told else []
    notes = ["Training: median [10th, 90th percentile] of the patients' means."]
    if not groups:
        notes = [f"Groups under {SMALLEST_GROUP} training patients are withheld."]
    return Part(
        anchor="nuclei",
        title="Nuclei",
        after="cases",
        paragraphs=(
            (
                "Where this patient's nuclei lie among those of the training patients, and what "
                "the model of nucleus features made of each feature. Attention is no evidence: it "
                "says what the model looked at. A contribution is by how much the log-odds of "
                f"{facts.fitting.cohort.classes[-1]} fall without the feature."
            )
            if told
            else (
                "Where this patient's nuclei lie among those of the training patients, and how "
                "much the model of nucleus features weighs each. Attention is no evidence."
            ),
        ),
        figures=(features_figure(Layout(facts.fitting.config.out), facts.asked.patient),),
        tables=(
            Table(
                title="Nucleus features of this patient",
                columns=("Feature", "This patient", *heads, "Attention", *extra),
                rows=tuple(_feature_row(row, told=told) for row in rows),
                notes=tuple(notes),
                csv_name="nucleus_features.csv",
            ),
        ),
    )


def _feature_row(row: TableRow, *, told: bool) -> tuple[str, ...]:
    own = row.feature
    ranges = [f"{one.median:.4g} [{one.wide[0]:.4g}, {one.wide[1]:.4g}]" for one in own.ranges]
    title = f"{own.title} ({row.unit})" if row.unit else own.title
    value = "–" if math.isnan(own.value) else f"{own.value:.4g}"
    gives = [f"{own.contribution:+.3f}"] if told and own.contribution is not None else []
    return (title, value, *ranges, f"{own.attention:.2f}", *gives)


def _files(facts: CaseFacts) -> dict[str, list[str]]:
    """By slide, the files written of it, by their path under the study's folder."""
    own = Layout(facts.fitting.config.out)
    found: dict[str, list[str]] = {}
    for slide in facts.asked.patient.slides:
        here = facts.layout.out.relative_to(own.out)
        names = [
            (here / name).as_posix()
            for step in ("explain", "heatmaps", "nuclei-outlined")
            for name in store.step_files(facts.layout.out, f"{step}/{slide.slide_id}")
        ]
        names += store.step_files(own.out, f"nuclei/{slide.slide_id}")
        found[slide.slide_id] = [name for name in names if (own.out / name).is_file()]
    return found


def _kind(name: str) -> str:
    """What a file holds, by its place and its ending."""
    if name.startswith("nuclei/") and name.endswith(".geojson"):
        return "the same nuclei outlined; drag it onto the slide in QuPath"
    return next((told for end, told in _KINDS.items() if name.endswith(end)), "")


def _files_part(facts: CaseFacts) -> tuple[Part, ...]:
    rows = [(name, _kind(name)) for names in _files(facts).values() for name in names]
    if not rows:
        return ()
    return (
        Part(
            anchor="files",
            title="Files",
            after="methods",
            paragraphs=("In the study's output folder.",),
            tables=(Table("Files of this case", ("File", "What it is"), tuple(rows), listed=True),),
            numbered=False,
        ),
    )


def _settings(facts: CaseFacts, scores: list[_Score]) -> dict[str, Any]:
    config, partition = facts.fitting.config, facts.asked.partition
    layout = Layout(config.out)
    models = {}
    for score in scores:
        file = layout.model(score.method, partition.name) / "model.safetensors"
        if file.is_file():
            models[score.method] = store.file_identity(file, content=True)
    return {
        "study": config.name, "partition": partition.name,
        "heatmaps": config.heatmaps.model_dump(mode="json"), "models": models,
    }  # fmt: skip


def _numbers(facts: CaseFacts, scores: list[_Score]) -> dict[str, Any]:
    fitting = facts.fitting
    files = _files(facts)
    found: dict[str, Any] = {
        "schema": store.SCHEMA_VERSION,
        "study": fitting.config.name,
        "classes": list(fitting.cohort.classes),
        "generated": is_generated(fitting.config.cohort),
        "patient_id": facts.patient_id,
        "truth": facts.truth,
        "cohort": facts.cohort,
        "partition": facts.asked.partition.name,
        "notes": list(facts.notes),
        "scores": [
            {
                "method": s.method, "scores": s.scores, "spread": s.spread,
                "threshold": s.threshold, "called": s.called,
            }
            for s in scores
        ],
        "explained": explained_method(fitting.config.methods),
        "slides": [
            _slide_numbers(facts, slide) | {"files": files[slide.slide_id]}
            for slide in facts.asked.patient.slides
        ],
    }  # fmt: skip
    path = Layout(fitting.config.out).case_nuclei(facts.patient_id)
    if NUCLEI in fitting.config.methods and path.is_file():
        rows = read_patient_features(path.with_suffix(".csv"))
        found["nuclei"] = {
            "smallest_group": SMALLEST_GROUP,
            "features": [_feature_numbers(row) for row in rows],
        }
    return found


def _slide_numbers(facts: CaseFacts, slide: Slide) -> dict[str, Any]:
    """Patches with the most and the least attention, with their places."""
    found: dict[str, Any] = {"slide_id": slide.slide_id}
    path = facts.layout.attention(slide.slide_id)
    if explained_method(facts.fitting.config.methods) is None or not path.is_file():
        return found
    table = read_values(path)
    order = np.argsort(-table["attention"].to_numpy(), kind="stable")
    order = order[: int(np.isfinite(table["attention"]).sum())]
    return found | {
        "patches": len(table),
        "highest_attention": [_patch(table, i) for i in order[:GALLERY]],
        "lowest_attention": [_patch(table, i) for i in order[::-1][:GALLERY]],
    }


def _patch(table: pd.DataFrame, index: int) -> dict[str, Any]:
    row = table.iloc[int(index)].to_dict()
    return {"patch": int(index)} | {
        str(name): int(value) if str(name) in {"region", "x", "y"} else _finite(value)
        for name, value in row.items()
    }


def _feature_numbers(row: TableRow) -> dict[str, Any]:
    own = row.feature
    return {
        "feature": row.name,
        "title": FEATURES[row.name],
        "unit": row.unit,
        "value": _finite(own.value),
        "attention": _finite(own.attention),
        "contribution": _finite(own.contribution),
        "training": [
            {
                "group": one.group, "n": one.n, "median": one.median,
                "middle_half": list(one.middle), "middle_four_fifths": list(one.wide),
            }
            for one in own.ranges
        ],
    }  # fmt: skip


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
