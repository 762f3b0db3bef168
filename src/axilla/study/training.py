"""Train every method on every partition, and lock its threshold."""

from __future__ import annotations

import functools
import io
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from axilla import __version__
from axilla.analysis.thresholds import choose_threshold, is_chosen_on_validation
from axilla.core import store
from axilla.core.methods import method_spec
from axilla.core.progress import Reporter
from axilla.core.types import Partition
from axilla.features.encoders import build_encoder
from axilla.features.registry import encoder_spec
from axilla.mil.boosting import fit_boosting
from axilla.mil.bundle import Bundle, to_stored
from axilla.mil.clinical import Preprocessor, fit_logistic, fit_preprocessor
from axilla.mil.model import DLCNB
from axilla.mil.training import History, TrainingData, train
from axilla.study.fitting import Fitting, encoder_record
from axilla.study.given import bags_record
from axilla.study.instances import bag_drawer, instances_of
from axilla.study.layout import Layout
from axilla.study.scoring import load_bundle, scores_of


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


def _train_one(
    fitting: Fitting, method: str, partition: Partition, *, reporter: Reporter
) -> tuple[Bundle, History | None]:
    config = fitting.config
    classes = len(fitting.cohort.classes)
    train_patients = fitting.patients(partition, "train")
    history = None
    spec = method_spec(method)
    if method == "clinical-boosting":
        boosting = fit_boosting(
            train_patients, classes=classes, config=config.clinical, seed=partition.seed
        )
        bundle = Bundle(method=method, classes=fitting.cohort.classes, record={}, boosting=boosting)
    elif not spec.images:
        logistic = fit_logistic(train_patients, classes=classes, config=config.clinical)
        bundle = Bundle(method=method, classes=fitting.cohort.classes, record={}, logistic=logistic)
    else:
        preprocessor = (
            fit_preprocessor(train_patients, config=config.clinical) if spec.clinical else None
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
    record = _record(fitting, method, partition, history)
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
            config=config.aggregator_of(method),
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


def _record(
    fitting: Fitting, method: str, partition: Partition, history: History | None
) -> dict[str, Any]:
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
        "encoder": encoder_record(fitting),
        "aggregator": config.aggregator_of(method).model_dump(mode="json"),
        "patches": settings["patches"],
        "stain": None if fitting.stains is None else fitting.stains.record(),
        "bags": bags_record(config),
        "training": settings["training"],
        "partition": {"name": partition.name, "seed": partition.seed},
        "patients": counts,
        "best_epoch": None if history is None else history.best,
    }


def _threshold(fitting: Fitting, bundle: Bundle, partition: Partition) -> dict[str, Any]:
    """The threshold, chosen on validation and locked here (DESIGN, Threshold)."""
    rule = fitting.config.threshold
    stated = fitting.config.model_dump(mode="json")["threshold"]
    if len(bundle.classes) != 2 or rule == "youden-per-cohort":
        return {"rule": stated, "value": None}
    if not is_chosen_on_validation(rule):
        return {"rule": stated, "value": choose_threshold([0, 1], [0.0, 1.0], rule=rule)}
    patients = fitting.patients(partition, "val")
    scores = scores_of(fitting, bundle, patients)
    value = choose_threshold(
        [p.label for p in patients], [scores[p.patient_id][1] for p in patients], rule=rule
    )
    return {"rule": stated, "value": value, "validation_patients": len(patients)}


def _write_history(folder: Path, history: History) -> str:
    """Write `history.csv`; the digest of what it holds."""
    buffer = io.StringIO()
    pd.DataFrame([asdict(epoch) for epoch in history.epochs]).to_csv(buffer, index=False)
    path = folder / "history.csv"
    store.write_text(path, buffer.getvalue())
    return store.file_identity(path, content=True)
