"""Train every method on every partition, and predict with what was trained."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from axilla import __version__
from axilla.analysis.thresholds import choose_threshold, is_chosen_on_validation
from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.config_encoder import Encoder
from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.progress import Reporter
from axilla.core.types import Cohort, CohortName, Partition, Patient, Prediction
from axilla.features.encoders import build_encoder
from axilla.features.registry import encoder_spec
from axilla.mil.bundle import Bundle, from_stored, to_stored
from axilla.mil.clinical import Preprocessor, fit_logistic, fit_preprocessor
from axilla.mil.model import DLCNB
from axilla.mil.prediction import predict_patients
from axilla.mil.training import History, TrainingData, train
from axilla.study.given import BagIndices, bags_record
from axilla.study.imported import Imported, refuse_other_features
from axilla.study.instances import SlideArrays, bag_drawer, instances_of
from axilla.study.layout import Layout
from axilla.study.staining import Stains


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """Everything that training and predicting need."""

    config: StudyConfig
    cohort: Cohort
    partitions: tuple[Partition, ...]
    slides: SlideArrays | None
    slide_keys: Mapping[str, str]
    stains: Stains | None = None
    bags: BagIndices | None = None
    """Bags that a file gives; None where they are drawn."""
    imported: Imported | None = None
    """The features made elsewhere, where the study has such."""

    def patients(self, partition: Partition, cohort: CohortName) -> tuple[Patient, ...]:
        """Patients of one cohort of a partition."""
        members = set(partition.members(cohort))
        return tuple(p for p in self.cohort.patients if p.patient_id in members)

    def key(self, method: str, partition: Partition) -> str:
        """What a trained model depends on: its patients, their slides, the settings; no test.

        The threshold is not among them: it is chosen on what was trained, without training anew.
        """
        config = self.config
        used = ("endpoint", "bags", "encoder", "aggregator", "clinical", "training")
        people = [
            (
                cohort,
                [
                    (p.patient_id, p.label, dict(p.clinical) if method != "dl-cnb" else None)
                    for p in self.patients(partition, cohort)
                ],
            )
            for cohort in ("train", "val")
        ]
        slides = [
            self.slide_keys[slide.slide_id]
            for cohort in ("train", "val")
            for p in self.patients(partition, cohort)
            for slide in p.slides
            if method != "clinical"
        ]
        settings = {n: v for n, v in config.model_dump(mode="json").items() if n in used}
        settings["encoder"] = _encoder_record(self)
        settings["bags"] = bags_record(config)
        if method == "clinical":
            settings = {n: settings[n] for n in ("endpoint", "clinical")}
        elif method == "dl-cnb":
            del settings["clinical"]
        return store.digest("train", method, partition.seed, settings, people, slides)


def train_all(fitting: Fitting, *, reporter: Reporter) -> dict[tuple[str, str], str]:
    """Train what is not trained yet; the key of each (method, partition)."""
    layout = Layout(fitting.config.out)
    wanted = [(m, p) for m in fitting.config.methods for p in fitting.partitions]
    keys: dict[tuple[str, str], str] = {(m, p.name): fitting.key(m, p) for m, p in wanted}
    todo = [
        (method, partition)
        for method, partition in wanted
        if store.read_model_key(layout.model(method, partition.name))
        != keys[method, partition.name]
    ]
    for method, partition in todo:
        folder = layout.model(method, partition.name)
        bundle, history = _train_one(fitting, method, partition, reporter=reporter)
        if history is not None:
            sha = _write_history(folder, history)
            bundle = replace(bundle, record={**bundle.record, "history_sha256": sha})
        store.write_model(folder, to_stored(bundle), key=keys[method, partition.name])
    for method, partition in wanted:
        _lock_threshold(fitting, method, partition, key=keys[method, partition.name])
    models = f"{len(wanted)} model{'s' if len(wanted) != 1 else ''}"
    reporter.done("train", models + (f", {len(todo)} now" if todo else ", done before"))
    return keys


def _lock_threshold(fitting: Fitting, method: str, partition: Partition, *, key: str) -> None:
    """Choose the threshold of a trained model anew where the study now asks for another rule."""
    folder = Layout(fitting.config.out).model(method, partition.name)
    record = store.read_json(folder / "model.json")
    if record["threshold"]["rule"] == fitting.config.model_dump(mode="json")["threshold"]:
        return
    bundle = load_bundle(fitting, method, partition)
    threshold = _threshold(fitting, bundle, partition)
    bundle = replace(bundle, record={**bundle.record, "threshold": threshold})
    store.write_model(folder, to_stored(bundle), key=key)


def load_bundle(fitting: Fitting, method: str, partition: Partition) -> Bundle:
    """A trained model of the study."""
    stored = store.read_model(Layout(fitting.config.out).model(method, partition.name))
    return from_stored(stored, make_encoder=_encoder_from_record)


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
    predictions: list[Prediction] = []
    wanted = [(m, p) for m in config.methods for p in fitting.partitions]
    for method, partition in reporter.track(wanted, "Predicting"):
        bundle = load_bundle(fitting, method, partition)
        for cohort in ("train", "val", "test"):
            patients = fitting.patients(partition, cohort)
            scores = _scores(fitting, bundle, patients)
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


def _train_one(
    fitting: Fitting, method: str, partition: Partition, *, reporter: Reporter
) -> tuple[Bundle, History | None]:
    config = fitting.config
    classes = len(fitting.cohort.classes)
    train_patients = fitting.patients(partition, "train")
    history = None
    if method == "clinical":
        logistic = fit_logistic(train_patients, classes=classes, config=config.clinical)
        bundle = Bundle(method=method, classes=fitting.cohort.classes, record={}, logistic=logistic)
    else:
        preprocessor = (
            fit_preprocessor(train_patients, config=config.clinical) if "+c" in method else None
        )
        network, history = _train_network(
            fitting, method, partition, preprocessor, reporter=reporter
        )
        bundle = Bundle(
            method=method,
            classes=fitting.cohort.classes,
            record={},
            network=network,
            preprocessor=preprocessor,
        )
    record = _record(fitting, partition, history)
    record["threshold"] = _threshold(fitting, bundle, partition)
    return replace(bundle, record=record), history


def _train_network(
    fitting: Fitting,
    method: str,
    partition: Partition,
    preprocessor: Preprocessor | None,
    *,
    reporter: Reporter,
) -> tuple[DLCNB, History]:
    config = fitting.config
    if fitting.slides is None:
        raise ValueError("an image method needs slides")
    make_instances = functools.partial(instances_of, preprocessor=preprocessor, bags=fitting.bags)
    data = TrainingData(
        train=make_instances(fitting.patients(partition, "train")),
        val=make_instances(fitting.patients(partition, "val")),
        slides=fitting.slides,
        draw=bag_drawer(config.bags),
        classes=len(fitting.cohort.classes),
    )
    encoder_config, seed = config.encoder, partition.seed
    imported = fitting.imported
    length = encoder_spec(encoder_config.name).features if imported is None else imported.dimension

    def make_model() -> DLCNB:
        trained = build_encoder(encoder_config, seed=seed) if encoder_config.trainable else None
        return DLCNB(
            encoder=trained,
            features=length,
            clinical=0 if preprocessor is None else preprocessor.width,
            classes=data.classes,
            config=config.aggregator,
        )

    title = f"Training {method}" + ("" if partition.name == "split" else f" {partition.name}")
    with reporter.epochs(config.training.epochs, title) as on_epoch:
        return train(
            make_model,
            data,
            config=config.training,
            bags=config.bags,
            seed=seed,
            on_epoch=on_epoch,
        )


def _record(fitting: Fitting, partition: Partition, history: History | None) -> dict[str, Any]:
    """What a bundle says of itself besides its weights; counts only, nobody's row."""
    config = fitting.config
    counts = {
        cohort: {
            name: sum(p.label == index for p in fitting.patients(partition, cohort))
            for index, name in enumerate(fitting.cohort.classes)
        }
        for cohort in ("train", "val")
    }
    settings = config.model_dump(mode="json")
    return {
        "axilla": __version__,
        "study": config.name,
        "endpoint": settings["endpoint"],
        "encoder": _encoder_record(fitting),
        "aggregator": settings["aggregator"],
        "patches": settings["patches"],
        "stain": None if fitting.stains is None else fitting.stains.record(),
        "bags": bags_record(config),
        "training": settings["training"],
        "partition": {"name": partition.name, "seed": partition.seed},
        "patients": counts,
        "best_epoch": None if history is None else history.best,
    }


def _encoder_record(fitting: Fitting) -> dict[str, Any]:
    """The encoder's settings; a file of weights by its name and content, not by its place."""
    if fitting.imported is not None:
        return fitting.imported.record()
    config = fitting.config
    record = config.encoder.model_dump(mode="json")
    weights = Path(config.encoder.weights)
    if config.encoder.weights not in WEIGHTS_WORDS and weights.is_file():
        record["weights"] = weights.name
        record["weights_sha256"] = store.file_identity(weights, content=True)
    return record


def _threshold(fitting: Fitting, bundle: Bundle, partition: Partition) -> dict[str, Any]:
    """The threshold, chosen on validation and locked here (DESIGN, Threshold)."""
    rule = fitting.config.threshold
    stated = fitting.config.model_dump(mode="json")["threshold"]
    if len(bundle.classes) != 2 or rule == "youden-per-cohort":
        return {"rule": stated, "value": None}
    if not is_chosen_on_validation(rule):
        return {"rule": stated, "value": choose_threshold([0, 1], [0.0, 1.0], rule=rule)}
    patients = fitting.patients(partition, "val")
    scores = _scores(fitting, bundle, patients)
    value = choose_threshold(
        [p.label for p in patients], [scores[p.patient_id][1] for p in patients], rule=rule
    )
    return {"rule": stated, "value": value, "validation_patients": len(patients)}


def _scores(
    fitting: Fitting, bundle: Bundle, patients: tuple[Patient, ...]
) -> dict[str, tuple[float, ...]]:
    if not patients:
        return {}
    if bundle.logistic is not None:
        rows = bundle.logistic.predict(patients)
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


def _encoder_from_record(record: Mapping[str, Any]) -> nn.Module:
    # The bundle holds the trained weights: those the training started from are not needed.
    settings = {n: v for n, v in record.items() if n != "weights_sha256"}
    return build_encoder(Encoder.model_validate({**settings, "weights": "none"}))


def _write_history(folder: Path, history: History) -> str:
    """Write `history.csv`; the digest of what it holds."""
    buffer = io.StringIO()
    pd.DataFrame([asdict(epoch) for epoch in history.epochs]).to_csv(buffer, index=False)
    path = folder / "history.csv"
    store.write_text(path, buffer.getvalue())
    return store.file_identity(path, content=True)
