"""Predict with what was trained: every patient of every cohort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from torch import nn

from axilla.core import store
from axilla.core.config_encoder import Encoder
from axilla.core.progress import Reporter
from axilla.core.types import Partition, Patient, Prediction
from axilla.features.encoders import build_encoder
from axilla.mil.bundle import Bundle, from_stored
from axilla.mil.prediction import predict_patients
from axilla.study.clinical_telling import filled_sentences
from axilla.study.fitting import Fitting
from axilla.study.imported import refuse_other_features
from axilla.study.instances import bag_drawer, instances_of
from axilla.study.layout import Layout


def predict_all(
    fitting: Fitting, keys: Mapping[tuple[str, str], str], *, reporter: Reporter
) -> pd.DataFrame:
    """Scores of all patients of all cohorts; the first time that the test cohort is read."""
    config = fitting.config
    layout = Layout(config.out)
    people = [(p.patient_id, p.label, dict(p.clinical)) for p in fitting.cohort.patients]
    key = store.digest(
        "predict", sorted(keys.items()), people, sorted(fitting.slide_keys.items()),
        [dict(p.cohort_of) for p in fitting.partitions],
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
        for cohort in ("train", "val", "test"):
            patients = fitting.patients(partition, cohort)
            scores = scores_of(fitting, bundle, patients)
            predictions.extend(
                Prediction(
                    patient_id=patient.patient_id,
                    method=method,
                    cohort=cohort,
                    label=patient.label,
                    scores=scores[patient.patient_id],
                    repeat=partition.repeat,
                    fold=partition.fold,
                )
                for patient in patients
            )
    store.write_predictions(
        layout.predictions,
        predictions,
        classes=fitting.cohort.classes,
        folds=len(fitting.partitions) > 1,
    )
    store.write_step(config.out, "predict", key=key, files=[layout.predictions])
    reporter.done("predict", f"{len(fitting.cohort.patients):,} patients")
    return store.read_predictions(layout.predictions)


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
    if not patients:
        return {}
    if bundle.clinical_model is not None:
        rows = bundle.clinical_model.predict(patients)
        return {p.patient_id: tuple(map(float, rows[i])) for i, p in enumerate(patients)}
    if bundle.network is None or fitting.slides is None:
        raise ValueError("an image method needs its network and slides")
    if fitting.imported is not None:
        refuse_other_features(bundle, fitting.imported)
    scores = predict_patients(
        bundle.network,
        instances_of(patients, preprocessor=bundle.preprocessor, bags=fitting.bags),
        slides=fitting.slides,
        draw=bag_drawer(fitting.config.bags),
        seed=fitting.config.training.seed,
    )
    return {patient: tuple(map(float, row)) for patient, row in scores.items()}


def load_bundle(fitting: Fitting, method: str, partition: Partition) -> Bundle:
    """A trained model of the study."""
    stored = store.read_model(Layout(fitting.config.out).model(method, partition.name))
    return from_stored(stored, make_encoder=_encoder_from_record)


def _encoder_from_record(record: Mapping[str, Any]) -> nn.Module:
    # The bundle holds the trained weights: those the training started from are not needed.
    settings = {n: v for n, v in record.items() if n != "weights_sha256"}
    return build_encoder(Encoder.model_validate({**settings, "weights": "none"}))
