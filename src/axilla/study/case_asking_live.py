"""What a study's model would say of a patient with other clinical values: only the head is run."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla.core import store
from axilla.core.clinical_cells import cell_problem
from axilla.core.config_clinical import CategoricalColumn, NumericColumn
from axilla.core.errors import CohortError
from axilla.core.methods import method_spec, method_title
from axilla.core.recent import Recent
from axilla.core.table import parse_number
from axilla.core.types import Patient
from axilla.mil.bundle import Bundle, Member
from axilla.mil.clinical import Preprocessor
from axilla.mil.encoding import encode_rows, encodes_alone, head_of, own_encoding
from axilla.mil.ensemble import EnsembleScore, combine
from axilla.study.case_opened import OpenedCase, locked_threshold
from axilla.study.describing import TITLES
from axilla.study.fitting import Fitting
from axilla.study.instances import SlideArrays
from axilla.study.scoring import load_bundle, score_patients
from axilla.study.trained_encoders import encode_of

_HELD_MODELS = 8
_HELD_CASES = 32

Value = float | str | None


@dataclass(frozen=True, slots=True)
class FormColumn:
    """One clinical value to be filled in."""

    name: str
    title: str
    """As tables print it, with its unit."""
    value: Value
    """The patient's own; None where it is missing."""
    low: float | None = None
    high: float | None = None
    """Numbers outside are refused."""
    choices: tuple[str, ...] | None = None
    """Categories that training patients had, and the study's declared; None for a number."""


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """What a method says of the values."""

    method: str
    title: str
    scores: Mapping[str, float]
    spread: float | None
    threshold: float | None
    called: str | None
    remarks: tuple[str, ...]
    """What keeps the number from being believed: values out of the trained range, filled in."""


class LiveModels:
    """The models of an opened study, loaded when first asked, and each case's features."""

    def __init__(self) -> None:
        # One patient at a time: torch takes all cores for one, and a head takes milliseconds.
        self._lock = threading.Lock()
        self._bundles: Recent[Bundle] = Recent(_HELD_MODELS)
        self._encoded: Recent[list[tuple[Member, Fitting]]] = Recent(_HELD_CASES)

    def form(self, case: OpenedCase) -> tuple[FormColumn, ...]:
        """The clinical columns with the patient's own values; none where no method reads any."""
        methods = self._methods(case)
        if not methods:
            return ()
        seen = _categories(case, methods[0])
        columns = []
        for column in case.endpoint.config.clinical.columns:
            value = case.patient.clinical[column.name]
            title = TITLES.get(column.name, column.name)
            if isinstance(column, NumericColumn):
                unit = "" if column.shown_unit is None or "," in title else f", {column.shown_unit}"
                title += unit
                found = FormColumn(column.name, title, value, low=column.low, high=column.high)
            else:
                known = [*seen.get(column.name, ()), *column.known_values]
                own = [] if value is None else [str(value)]
                choices = tuple(dict.fromkeys([*known, *own]))
                found = FormColumn(column.name, title, value, choices=choices)
            columns.append(found)
        return tuple(columns)

    def ask(self, case: OpenedCase, values: Mapping[str, str]) -> tuple[LiveAnswer, ...]:
        """What every method that reads clinical data says, with these values in place of the own.

        Parameters
        ----------
        values
            A text by column, as typed; an empty one is missing.

        Raises
        ------
        CohortError
            A value is no number, outside of what the study takes for plausible, none of its
            categories, or missing where the study refuses that.
        """
        clinical = read_values(case, values)
        patient = replace(case.patient, clinical=clinical)
        with self._lock:
            return tuple(self._answer(case, method, patient) for method in self._methods(case))

    def _methods(self, case: OpenedCase) -> list[str]:
        return [m for m in case.endpoint.methods if method_spec(m).clinical]

    def _answer(self, case: OpenedCase, method: str, patient: Patient) -> LiveAnswer:
        bundle = self._bundle(case, method)
        score = self._score(case, method, bundle, patient)
        classes = case.endpoint.cohort.classes
        threshold = locked_threshold(case.endpoint, method, case.partition)
        if len(classes) == 2:
            scores = {classes[1]: float(score.mean[1])}
            called = None if threshold is None else classes[int(scores[classes[1]] >= threshold)]
        else:
            scores = dict(zip(classes, map(float, score.mean), strict=True))
            called = max(scores, key=lambda name: scores[name])
        return LiveAnswer(
            method=method,
            title=method_title(method),
            scores=scores,
            spread=score.spread,
            threshold=threshold,
            called=called,
            remarks=value_remarks(bundle, patient),
        )

    def _score(
        self, case: OpenedCase, method: str, bundle: Bundle, patient: Patient
    ) -> EnsembleScore:
        """As `predict` scores, from features that were computed once for the case."""
        heads = self._heads(case, method, bundle)
        each = [
            score_patients(fitting, replace(bundle, members=(member,)), (patient,))
            for member, fitting in heads
        ]
        return combine([scores[patient.patient_id].mean for scores in each])

    def _heads(self, case: OpenedCase, method: str, bundle: Bundle) -> list[tuple[Member, Fitting]]:
        """Each member without its encoder, and the study with the case's features in its place."""
        key = (case.endpoint.name, method, case.partition.name, case.patient.patient_id)
        return self._encoded.get(
            key,
            lambda: [
                _without_encoder(member, case.endpoint.fitting, case.patient)
                for member in bundle.members
            ],
        )

    def _bundle(self, case: OpenedCase, method: str) -> Bundle:
        return self._bundles.get(
            (case.endpoint.name, method, case.partition.name),
            lambda: load_bundle(case.endpoint.fitting, method, case.partition),
        )


def _categories(case: OpenedCase, method: str) -> dict[str, tuple[str, ...]]:
    """Categories that the model's training patients had, from its record: no weights are read."""
    folder = case.endpoint.layout.model(method, case.partition.name)
    record = store.read_model_record(folder)["clinical"]
    return dict(zip(record["categorical"], map(tuple, record["categories"]), strict=True))


def read_values(case: OpenedCase, values: Mapping[str, str]) -> dict[str, Value]:
    """Typed texts as the cells of the table are read, with the study's plausible ranges.

    Raises
    ------
    CohortError
        See `LiveModels.ask`; all that is wrong is in one sentence a column.
    """
    clinical = case.endpoint.config.clinical
    found: dict[str, Value] = {}
    wrong: list[str] = []
    for column in clinical.columns:
        text = values.get(column.name, "").strip()
        value, cause = _read(column, text)
        found[column.name] = value
        if cause is None and value is None and clinical.missing == "refuse":
            cause = f"`{column.name}` is missing, and this study refuses missing values."
        if cause is not None:
            wrong.append(cause)
    if wrong:
        raise CohortError(
            " ".join(wrong), "Correct it to see a score.", patient=case.patient.patient_id
        )
    return found


def _read(column: NumericColumn | CategoricalColumn, text: str) -> tuple[Value, str | None]:
    value: Value = text.lower() or None
    if isinstance(column, NumericColumn):
        value = parse_number(text) if text else None
        if text and value is None:
            return None, f"`{column.name}` is {text!r}, which is no number."
    problem = cell_problem(column, value)
    return value, None if problem is None else problem.cause


def value_remarks(bundle: Bundle, patient: Patient) -> tuple[str, ...]:
    """Values out of the trained range, and whatever the model fills in for missing ones.

    As a page shows them: without the marks about names of columns, which are for a terminal.
    """
    reads = bundle.preprocessor
    if not isinstance(reads, Preprocessor):
        return ()
    told = list(reads.out_of_range(patient))
    for cell in reads.filled([patient]):
        if cell.value is None:
            instead = "the training mean" if cell.column in reads.numeric else "the commonest value"
            told.append(f"`{cell.column}` is missing: the model takes {instead} in its place.")
        else:
            told.append(
                f"`{cell.column}` is {cell.value!r}, which no training patient had: the model "
                "takes it for none of the known ones."
            )
    return tuple(sentence.replace("`", "") for sentence in told)


def _without_encoder(member: Member, fitting: Fitting, patient: Patient) -> tuple[Member, Fitting]:
    network = member.network
    alone = network is not None and encodes_alone(network)
    if network is None or network.encoder is None or fitting.slides is None or not alone:
        return member, fitting
    encode = encode_of(network, config=fitting.config.encoder) or own_encoding(network.encoder)
    features: dict[str, NDArray[Any]] = {}
    for slide in patient.slides:
        patches = fitting.slides[slide.slide_id]
        rows = np.arange(len(patches))
        features[slide.slide_id] = encode_rows(patches, rows, encode=encode)
    slides = SlideArrays(list(features), lambda slide_id: features[slide_id])
    return replace(member, network=head_of(network)), replace(fitting, slides=slides)
