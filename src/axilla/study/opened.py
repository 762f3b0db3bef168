"""A study that was run, opened to be looked at: nothing is trained or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from axilla.analysis.score_table import ScoreTable, parse_predictions
from axilla.core import store
from axilla.core.cohort import is_generated, without
from axilla.core.cohort_union import Everybody, read_everybody
from axilla.core.config import StudyConfig, endpoint_name
from axilla.core.errors import StoreError
from axilla.core.progress import Silent
from axilla.core.recent import Recent
from axilla.core.split import cut_partitions, partitions_of
from axilla.core.types import Cohort, Partition, Patient, Region, Slide
from axilla.study.describing import subgroups_of
from axilla.study.fitting import Fitting
from axilla.study.given import find_given
from axilla.study.imported import import_features
from axilla.study.instances import imported_arrays, slide_arrays
from axilla.study.layout import Layout
from axilla.study.slide_checks import slides_of
from axilla.study.staining import estimate_stains, fit_stains
from axilla.study.tiling import StoredGrids, Tiles, regions_of

_RUN = "Run the study to its end: `axilla run study.yaml`."
_HELD_REGIONS = 64
_GONE = ("not served", "not among the predictions")


@dataclass(frozen=True, eq=False)
class OpenedEndpoint:
    """One endpoint of a study: its patients, their scores, and the models behind these."""

    name: str
    config: StudyConfig
    cohort: Cohort
    """The patients that have predictions."""
    partitions: tuple[Partition, ...]
    predictions: pd.DataFrame
    table: ScoreTable
    metrics: Mapping[str, Any]
    shared: Path
    """The study's own folder, where several endpoints share their patches."""
    notes: tuple[str, ...] = ()
    """What does not fit together any more."""
    _regions: Recent[tuple[Region, ...]] = field(default_factory=lambda: Recent(_HELD_REGIONS))

    @property
    def layout(self) -> Layout:
        """Where this endpoint's artefacts lie."""
        return Layout(self.config.out)

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that have predictions, in the study's order."""
        return self.table.methods

    @property
    def generated(self) -> bool:
        """Whether the cohort was drawn by a program."""
        return is_generated(self.config.cohort)

    @property
    def subgroups(self) -> dict[str, pd.Series[Any]]:
        """The paper's subgroups by title, as the report divides them."""
        return subgroups_of(self.cohort, config=self.config)

    @cached_property
    def tiles(self) -> Tiles | None:
        """The patch grids as `tile` wrote them; None where no method cuts slides."""
        if not self.config.uses_slides or self.config.imported is not None:
            return None
        ids = [slide.slide_id for slide in slides_of(self.cohort.patients)]
        return Tiles(cohort=self.cohort, grids=StoredGrids(ids, Layout(self.shared)), keys={})

    @cached_property
    def fitting(self) -> Fitting:
        """What scoring needs; features and patches are read when a patient is asked for.

        Raises
        ------
        AxillaError
            An artefact of the study is missing or damaged.
        """
        # Whatever endpoints share is read from the study's own folder.
        config = self.config.model_copy(update={"out": self.shared})
        tiles, slides, bags, stains, imported = self.tiles, None, None, None, None
        if config.imported is not None:
            imported = import_features(self.cohort, config=config, reporter=Silent())
            slides = imported_arrays(self.cohort, config=config)
        elif tiles is not None:
            everybody = slides_of(self.cohort.patients)
            bags, _ = find_given(everybody, tiles.grids, config=config)
            if config.encoder.trainable:
                tiles, sources = estimate_stains(
                    tiles, config=config, exclude_failed=True, reporter=Silent()
                )
                stains = fit_stains(sources, tiles, self.partitions, config=config)
            slides = slide_arrays(tiles, config=config, stains=stains)
        return Fitting(
            config=self.config,
            cohort=self.cohort,
            partitions=self.partitions,
            slides=slides,
            slide_keys={},
            stains=stains,
            bags=bags,
            imported=imported,
        )

    def regions(self, slide: Slide) -> tuple[Region, ...]:
        """The regions that a slide's patches were cut from; to find tissue takes a while.

        Raises
        ------
        AxillaError
            The slide or its annotation cannot be read.
        """
        return self._regions.get(slide.slide_id, lambda: regions_of(slide, config=self.config))

    def patient(self, patient_id: str) -> Patient:
        """A patient by id."""
        return next(p for p in self.cohort.patients if p.patient_id == patient_id)


def open_study(config: StudyConfig) -> tuple[OpenedEndpoint, ...]:
    """Read back what a run of the study left, an endpoint each.

    Raises
    ------
    StoreError
        The study was not run to its end, or its table or split changed since.
    AxillaError
        The table cannot be read.
    """
    everybody = read_everybody(config)
    found = [_read(study) for study in everybody.studies]
    scored = {str(p) for predictions, _ in found for p in predictions["patient_id"]}
    everybody = _only(everybody, scored)
    shared = partitions_of(everybody.cohort, config=config)
    opened = []
    for study, part, (predictions, metrics) in zip(
        everybody.studies, everybody.parts, found, strict=True
    ):
        here = set(map(str, predictions["patient_id"]))
        cohort = without(
            part, {p.patient_id: _GONE for p in part.patients if p.patient_id not in here}
        )
        partitions = cut_partitions(shared, cohort, config=study)
        _refuse_moved(predictions, partitions, file=Layout(study.out).predictions)
        opened.append(
            OpenedEndpoint(
                name=endpoint_name(study.endpoint),
                config=study,
                cohort=cohort,
                partitions=partitions,
                predictions=predictions,
                table=parse_predictions(predictions),
                metrics=metrics,
                shared=config.out,
                notes=_notes(config),
            )
        )
    return tuple(opened)


def _read(study: StudyConfig) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    layout = Layout(study.out)
    for path in (layout.predictions, layout.metrics):
        if not path.is_file():
            raise StoreError("the study has not been run to its end.", _RUN, file=path)
    return store.read_predictions(layout.predictions), store.read_json(layout.metrics)


def _only(everybody: Everybody, scored: set[str]) -> Everybody:
    """Those who have scores: whoever left the study left its split as well."""
    cohort = everybody.cohort
    gone = {p.patient_id: _GONE for p in cohort.patients if p.patient_id not in scored}
    return everybody.following(without(cohort, gone))


def _refuse_moved(
    predictions: pd.DataFrame, partitions: tuple[Partition, ...], *, file: Path
) -> None:
    """Raise StoreError where the patients are split otherwise than when they were scored."""
    split = {
        (p.repeat, p.fold, patient): cohort
        for p in partitions
        for patient, cohort in p.cohort_of.items()
    }
    columns = ["repeat", "fold"]
    missing = {name: 0 for name in columns if name not in predictions.columns}
    rows = predictions.assign(**missing)
    for repeat, fold, patient, cohort in zip(
        rows["repeat"], rows["fold"], rows["patient_id"], rows["cohort"], strict=True
    ):
        now = split.get((int(repeat), int(fold), str(patient)))
        if now != cohort:
            raise StoreError(
                f"the predictions do not go with the table and the split as they are now: patient "
                f"{patient} was in `{cohort}` when scored, and is "
                + ("no longer in the study." if now is None else f"in `{now}` now."),
                "Run the study again, or put table and study.yaml back as they were.",
                file=file,
            )


def _notes(config: StudyConfig) -> tuple[str, ...]:
    report = Layout(config.out).report
    return () if report.is_file() else ("The report is not written yet: `axilla run study.yaml`.",)
