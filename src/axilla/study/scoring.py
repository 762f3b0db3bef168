"""Predict with what was trained: every patient of every cohort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from axilla.core import store
from axilla.core.progress import Reporter
from axilla.core.types import CohortName, Partition, Patient, Prediction
from axilla.mil.bundle import Bundle, Member
from axilla.mil.clinical import Preprocessor
from axilla.mil.contribution import is_told, patch_contribution
from axilla.mil.ensemble import EnsembleScore, combine, mean_attention
from axilla.mil.prediction import patch_attention, predict_patients
from axilla.study.bundles import read_bundle
from axilla.study.clinical_telling import filled_sentences
from axilla.study.fitting import Fitting
from axilla.study.imported import refuse_other_features
from axilla.study.instances import bag_drawer, covering_drawer, instances_of
from axilla.study.layout import Layout
from axilla.study.nuclei_bags import seen_by
from axilla.study.trained_encoders import encode_of


def predict_all(
    fitting: Fitting, keys: Mapping[tuple[str, str], str], *, reporter: Reporter
) -> pd.DataFrame:
    """Scores of all patients of all cohorts; the first time that the test cohort is read."""
    config = fitting.config
    layout = Layout(config.out)
    people = [
        (p.patient_id, p.label, dict(p.clinical), fitting.slide_keys_of(p))
        for p in fitting.cohort.patients
    ]
    # Not sorted: figures, tables and comparisons follow the order of `methods` in the predictions.
    key = store.digest(
        "predict", list(keys.items()), people, [dict(p.cohort_of) for p in fitting.partitions],
        *([] if fitting.nuclei is None else [sorted(fitting.nuclei.keys.items())]),
    )  # fmt: skip
    if store.step_is_done(config.out, "predict", key=key):
        reporter.done("predict", "done before")
        return store.read_predictions(layout.predictions)
    for sentence in filled_sentences(fitting):
        reporter.say(f"note      {sentence}")
    predictions: list[Prediction] = []
    wanted = [(m, p) for m in config.methods for p in fitting.partitions]
    for method, partition in reporter.track(wanted, "Predicting"):
        bundle = load_bundle(fitting, method, partition)
        view = seen_by(fitting, method, partition)
        for cohort in ("train", "val", "test"):
            predictions.extend(predictions_of(view, bundle, partition, cohort))
    store.write_predictions(
        layout.predictions,
        predictions,
        classes=fitting.cohort.classes,
        folds=len(fitting.partitions) > 1,
    )
    store.write_step(config.out, "predict", key=key, files=[layout.predictions])
    reporter.done("predict", f"{len(fitting.cohort.patients):,} patients")
    return store.read_predictions(layout.predictions)


def predictions_of(
    fitting: Fitting, bundle: Bundle, partition: Partition, cohort: CohortName
) -> list[Prediction]:
    """What a bundle says of each patient of one cohort of a partition."""
    patients = fitting.patients(partition, cohort)
    scores = score_patients(fitting, bundle, patients)
    imputed = _imputed(bundle, patients)
    return [
        Prediction(
            patient_id=patient.patient_id,
            method=bundle.method,
            cohort=cohort,
            label=patient.label,
            scores=tuple(map(float, scores[patient.patient_id].mean)),
            spread=scores[patient.patient_id].spread,
            repeat=partition.repeat,
            fold=partition.fold,
            imputed=imputed.get(patient.patient_id),
        )
        for patient in patients
    ]


def _imputed(bundle: Bundle, patients: tuple[Patient, ...]) -> dict[str, tuple[str, ...]]:
    """Clinical columns that the model fills in, by patient id; empty where it reads none."""
    preprocessor = bundle.members[0].reads  # members of one partition have the same patients
    if not isinstance(preprocessor, Preprocessor):
        return {}
    return {p.patient_id: tuple(c.column for c in preprocessor.filled([p])) for p in patients}


def locked_thresholds(fitting: Fitting) -> dict[str, float]:
    """Thresholds as the bundles hold them, by method; folds choose their own."""
    if len(fitting.partitions) > 1:
        return {}
    found: dict[str, float] = {}
    for method in fitting.config.methods:
        folder = Layout(fitting.config.out).model(method, fitting.partitions[0].name)
        value = store.read_model(folder).record["threshold"]["value"]
        if value is not None:
            found[method] = float(value)
    return found


def scores_of(
    fitting: Fitting, bundle: Bundle, patients: tuple[Patient, ...]
) -> dict[str, tuple[float, ...]]:
    """Probability of each class by patient id."""
    found = score_patients(fitting, bundle, patients)
    return {patient: tuple(map(float, score.mean)) for patient, score in found.items()}


def score_patients(
    fitting: Fitting, bundle: Bundle, patients: tuple[Patient, ...]
) -> dict[str, EnsembleScore]:
    """Mean probability over the bundle's members, and their spread, by patient id."""
    if not patients:
        return {}
    if bundle.network is not None and fitting.imported is not None:
        refuse_other_features(bundle, fitting.imported)
    each = [_member_scores(fitting, member, patients) for member in bundle.members]
    return {p.patient_id: combine([scores[p.patient_id] for scores in each]) for p in patients}


def _member_scores(
    fitting: Fitting, member: Member, patients: tuple[Patient, ...]
) -> dict[str, NDArray[np.float64]]:
    if member.clinical_model is not None:
        rows = member.clinical_model.predict(patients)
        return {p.patient_id: rows[i] for i, p in enumerate(patients)}
    if member.network is None or fitting.slides is None:
        raise ValueError("an image method needs its network and slides")
    return predict_patients(
        member.network,
        instances_of(patients, preprocessor=member.preprocessor, bags=fitting.bags),
        slides=fitting.slides,
        draw=bag_drawer(fitting.config.bags),
        seed=fitting.config.training.seed,
        encode=encode_of(member.network, config=fitting.config.encoder),
    )


def slide_attention(
    fitting: Fitting,
    bundle: Bundle,
    patient: Patient,
    slide_id: str,
    *,
    draws: int | None = None,
) -> NDArray[np.float64]:
    """Attention of every patch of a slide, the mean over the bundle's members (`patch_attention`).

    All members look at the same bags, of so many covers of the slide; None takes as many as usual.
    """
    measure = patch_attention if draws is None else partial(patch_attention, draws=draws)
    maps = _by_member(fitting, bundle, patient, slide_id, measure=measure)
    return mean_attention(maps)


def slide_contribution(
    fitting: Fitting, bundle: Bundle, patient: Patient, slide_id: str
) -> NDArray[np.float64] | None:
    """Contribution of every patch of a slide, the mean over the bundle's members.

    None where it cannot be told (`is_told`).
    """
    if not all(m.network is not None and is_told(m.network) for m in bundle.members):
        return None
    maps = _by_member(fitting, bundle, patient, slide_id, measure=patch_contribution)
    return np.asarray(np.mean(maps, axis=0))


def _by_member(
    fitting: Fitting,
    bundle: Bundle,
    patient: Patient,
    slide_id: str,
    *,
    measure: Callable[..., NDArray[np.float64]],
) -> list[NDArray[np.float64]]:
    """What each member gives to every patch of a slide."""
    found = []
    for member in bundle.members:
        if member.network is None or fitting.slides is None:
            raise ValueError("patches are measured by a network, on slides")
        own = instances_of((patient,), preprocessor=member.preprocessor, bags=fitting.bags)[0]
        found.append(
            measure(
                member.network, own, slide_id,
                slides=fitting.slides,
                cover=covering_drawer(fitting.config.bags),
                seed=fitting.config.training.seed,
                encode=encode_of(member.network, config=fitting.config.encoder),
            )
        )  # fmt: skip
    return found


def load_bundle(fitting: Fitting, method: str, partition: Partition) -> Bundle:
    """A trained model of the study."""
    return read_bundle(Layout(fitting.config.out).model(method, partition.name))
