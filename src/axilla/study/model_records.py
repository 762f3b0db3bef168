"""What a bundle says of itself besides its weights: aggregates only, nobody's row."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axilla import __version__
from axilla.analysis.cohort_metrics import binary_entry, multiclass_entry
from axilla.core import store
from axilla.core.cohort import is_generated
from axilla.core.config import StudyConfig
from axilla.core.config_heatmaps import Heatmaps
from axilla.core.encoder_names import WEIGHTS_WORDS
from axilla.core.methods import method_spec
from axilla.core.types import Partition
from axilla.features.availability import encoder_availability
from axilla.study.fitting import Fitting, encoder_record
from axilla.study.given import bags_record
from axilla.study.layout import Layout
from axilla.study.training_cohort import class_counts, cohort_summary

LIBRARIES = ("numpy", "scikit-learn", "torch", "torchvision")
_MEASURES = ("sensitivity", "specificity", "ppv", "npv", "confusion")


def model_record(
    fitting: Fitting, method: str, partition: Partition, *, first_weights: str | None
) -> dict[str, Any]:
    """The record of a model before its members and its threshold are known.

    Parameters
    ----------
    first_weights
        Digest of the weights that an encoder began with, where it was trained end to end.
    """
    config, spec = fitting.config, method_spec(method)
    cohorts = {name: fitting.patients(partition, name) for name in ("train", "val")}
    settings = config.model_dump(mode="json")
    record: dict[str, Any] = {
        "study": config.name,
        "endpoint": settings["endpoint"],
        "partition": {"name": partition.name, "seed": partition.seed},
        "patients": {
            name: class_counts(patients, fitting.cohort.classes)
            for name, patients in cohorts.items()
        },
        "training_cohort": cohort_summary(
            cohorts["train"], classes=fitting.cohort.classes, config=config.clinical
        ),
        "threshold": {"rule": settings["threshold"], "value": None},
        "generated": is_generated(config.cohort),
        "versions": versions(),
    }
    if spec.images:
        record |= {
            "encoder": _encoder(fitting, partition, first_weights=first_weights),
            "aggregator": config.aggregator_of(method).model_dump(mode="json"),
            "patches": None if config.imported is not None else settings["patches"],
            "stain": None if fitting.stains is None else fitting.stains.record(),
            "bags": bags_record(config),
            "outlined": _outlined(fitting, partition),
            "training": settings["training"],
            **heatmaps_record(config, method),
        }
    return record


def heatmaps_record(config: StudyConfig, method: str) -> dict[str, Any]:
    """Part `heatmaps`; not told where the scale is the usual one, as in models before it was."""
    spec, scale = method_spec(method), config.heatmaps.scale
    drawn = spec.images and not spec.nuclei and scale != Heatmaps().scale
    return {"heatmaps": {"scale": scale}} if drawn else {}


def _outlined(fitting: Fitting, partition: Partition) -> str | None:
    """Whether regions of the training slides came from annotations."""
    config = fitting.config
    if config.imported is not None or config.regions not in {"auto", "annotation", "tissue"}:
        return None
    slides = [s for p in fitting.patients(partition, "train") for s in p.slides]
    count = sum(s.annotation is not None for s in slides) if config.regions != "tissue" else 0
    return "all" if count == len(slides) else "some" if count else "none"


def versions() -> dict[str, str]:
    """What trains here."""
    return {
        "axilla": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def validation_entry(
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    *,
    classes: tuple[str, ...],
    threshold: float | None,
) -> dict[str, Any]:
    """How the model did on validation: AUC with intervals, and the counts at the threshold.

    Parameters
    ----------
    labels
        [n], index into `classes`.
    scores
        Probabilities [n, K].
    """
    if len(classes) != 2:
        found = multiclass_entry(labels, scores, classes=classes)
        return {name: found[name] for name in ("n", "auc", "confusion_matrix")}
    at = "each cohort chooses its own threshold" if threshold is None else threshold
    found = binary_entry(labels, scores[:, 1], threshold=at)
    shown = ("n", "positives", "auc", *(() if threshold is None else _MEASURES))
    return {name: found[name] for name in shown}


def _encoder(
    fitting: Fitting, partition: Partition, *, first_weights: str | None
) -> dict[str, Any]:
    record = encoder_record(fitting)
    if fitting.imported is not None:
        return record
    config = fitting.config.encoder
    computing = None
    if not config.trainable:
        slide = next(s for p in fitting.patients(partition, "train") for s in p.slides)
        layout = Layout(fitting.shared or fitting.config.out)
        path = layout.features(config.name, slide.slide_id)
        first_weights = store.read_weights_digest(path)
        computing = store.read_computing(path)
    # A file's terms are its own, not those of the published weights.
    published = config.weights in WEIGHTS_WORDS and config.weights != "none"
    return {
        **record,
        "weights_digest": first_weights,
        "licence": encoder_availability(config.name).terms if published else None,
        "computing": computing,
    }


def same_but(record: Mapping[str, Any], **changes: Any) -> dict[str, Any] | None:
    """The record with some fields changed; None where they are as they were."""
    if all(record.get(name) == value for name, value in changes.items()):
        return None
    return {**record, **changes}
