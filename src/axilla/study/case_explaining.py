"""Explain one case: the patient's slides and nuclei only, with the models that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from axilla.core import store
from axilla.core.progress import Reporter
from axilla.core.types import CohortName
from axilla.study.case_asking import Case, asked_partition
from axilla.study.case_page import CaseFacts, write_case
from axilla.study.explaining import (
    Selection,
    explain_all,
    explained_method,
    shown_slides,
    table_key,
)
from axilla.study.explaining_imported import explain_imported
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout
from axilla.study.nuclei_showing import Asked, show_nuclei
from axilla.study.tiling import Tiles

HAD_A_PART: Mapping[CohortName, str] = {
    "train": "The model learned from this patient. What it says of the patient is no test of it, "
    "and is likely to look better than on somebody new.",
    "val": "This patient had a part in the model: its epoch and threshold were chosen on the "
    "validation patients. What it says of the patient is no test of it.",
}
_OWN_COLOURS = (
    "The study asks for one colour scale over all test slides, and not all of them are measured "
    "yet: the colours here are those of each slide alone. `axilla explain` without --patient "
    "measures all."
)
_NO_COORDINATES = (
    "There is no heat map of slide {slide}: its file of features holds no coordinates."
)


def explain_case(
    fitting: Fitting,
    tiles: Tiles | None,
    predictions: pd.DataFrame,
    keys: Mapping[tuple[str, str], str],
    *,
    case: Case,
    reporter: Reporter,
) -> Path:
    """Measure and draw what is not done yet of one patient's slides, and write the page.

    Files of a test patient are those of the study's own `explain`; those of a patient who had a
    part in the model lie apart.

    Parameters
    ----------
    keys
        Of the trained models, by method and partition.

    Returns
    -------
    Path
        The page; its numbers lie beside it, as .json.
    """
    config = fitting.config
    asked, cohort = asked_of(fitting, case.patient_id)
    layout = Layout(config.out)
    out = config.out if cohort == "test" else layout.learned_from(case.patient_id)
    notes = [HAD_A_PART[cohort]] if cohort in HAD_A_PART else []
    drawing = fitting
    beside: tuple[Path, ...] = ()
    if explained_method(config.methods) is not None and config.heatmaps.scale == "cohort":
        tables = _measured_tables(fitting, tiles, keys)
        if tables is None:
            notes.append(_OWN_COLOURS)
            own = config.heatmaps.model_copy(update={"scale": "slide"})
            drawing = replace(fitting, config=config.model_copy(update={"heatmaps": own}))
        else:
            beside = tables
    selection = Selection(
        slides={s.slide_id: (asked.partition, asked.patient, s) for s in asked.patient.slides},
        out=out,
        beside=beside,
        title=f"slide{'s' if len(asked.patient.slides) > 1 else ''} of patient {case.patient_id}",
    )
    if tiles is not None:
        explain_all(drawing, tiles, keys, reporter=reporter, selection=selection)
        show_nuclei(fitting, tiles, keys, [asked], out=out, reporter=reporter)
    elif fitting.imported is not None:
        explain_imported(drawing, keys, reporter=reporter, selection=selection)
        facts = fitting.imported.facts
        bare = [slide for slide in selection.slides if not facts[slide].coords]
        notes += [_NO_COORDINATES.format(slide=slide) for slide in bare]
    page = case.page or layout.case(case.patient_id)
    written = write_case(
        CaseFacts(fitting, asked, cohort, predictions, Layout(out), tuple(notes)), page
    )
    reporter.done("case", str(page) if written else "done before")
    return page


def asked_of(fitting: Fitting, patient_id: str) -> tuple[Asked, CohortName]:
    """The patient with the partition whose model is asked, as `asked_partition` chooses it."""
    patient = next(p for p in fitting.cohort.patients if p.patient_id == patient_id)
    partition, cohort = asked_partition(fitting.partitions, patient_id)
    return Asked(partition, patient), cohort


def _measured_tables(
    fitting: Fitting, tiles: Tiles | None, keys: Mapping[tuple[str, str], str]
) -> tuple[Path, ...] | None:
    """The tables of patches of all test slides; None where some are not measured yet."""
    layout = Layout(fitting.config.out)
    found = []
    for slide_id, (partition, _, _) in shown_slides(fitting).items():
        if tiles is not None and not len(tiles.grids[slide_id]):
            continue
        key = table_key(fitting, keys, slide_id, partition)
        if not store.step_is_done(layout.out, f"explain/{slide_id}", key=key):
            return None
        found.append(layout.attention(slide_id))
    return tuple(found)
