"""The loss weighted by patient against by bag, where patients have very unequal numbers of bags.

Generated features: patients have 1 to 291 bags of 10 patches (log-normal, mean about 7, as in
BCNB), patches of a patient resemble one another, and in positive patients some carry a signal.
Measured is the AUC over 400 test patients whom training never saw, by the best validation epoch.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_auc_score

from axilla.core.config import Aggregator, Bags, Training
from axilla.mil.batches import PatientInstances
from axilla.mil.feeding import TrainingData
from axilla.mil.model import DLCNB
from axilla.mil.prediction import predict_patients
from axilla.mil.training import train

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = range(8)
WIDTH, BAG = 24, 10
TRAIN, VAL, TEST = 160, 60, 400


def draw(patches: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Bags of ten without replacement."""
    return list(rng.permutation(patches).reshape(-1, BAG))


def cohort(
    count: int, *, name: str, larger_are_positive: bool, rng: np.random.Generator
) -> tuple[list[PatientInstances], dict[str, NDArray[np.float32]]]:
    """Patients and their patches' features."""
    sizes = np.clip(np.exp(rng.normal(1.1, 1.2, count)), 1, 291).astype(int)
    order = np.argsort(np.log(sizes) + rng.normal(0, 2.5, count))
    labels = np.zeros(count, int)
    labels[
        order[-count // 3 :] if larger_are_positive else rng.permutation(count)[: count // 3]
    ] = 1
    patients, slides = [], {}
    for i, (size, label) in enumerate(zip(sizes, labels, strict=True)):
        slide = f"{name}{i}"
        x = rng.normal(size=(BAG * size, WIDTH)) + rng.normal(0, 0.7, WIDTH)  # a look of their own
        if label:
            x[rng.random(len(x)) < 0.3, :2] += 1.2
        slides[slide] = x.astype(np.float32)
        patients.append(PatientInstances(slide, int(label), (slide,), None))
    return patients, slides


def auc(seed: int, weight_by: str, *, larger_are_positive: bool) -> float:
    """AUC over the test patients of one training."""
    rng = np.random.default_rng([seed, larger_are_positive])
    parts = [
        cohort(n, name=name, larger_are_positive=larger_are_positive, rng=rng)
        for n, name in ((TRAIN, "t"), (VAL, "v"), (TEST, "x"))
    ]
    slides = {k: v for _, part in parts for k, v in part.items()}
    fit, validate, test = (patients for patients, _ in parts)
    model, _ = train(
        lambda: DLCNB(
            encoder=None, features=WIDTH, clinical=0, classes=2,
            config=Aggregator(width=32, attention=16),
        ),
        TrainingData(fit, validate, slides, draw, 2),
        config=Training(epochs=15, lr=1e-3, weight_by=weight_by, restarts=None),
        bags=Bags(size=BAG), seed=seed,
    )  # fmt: skip
    scores = predict_patients(model, test, slides=slides, draw=draw, seed=seed)
    return float(roc_auc_score([p.label for p in test], [scores[p.patient_id][1] for p in test]))


def main() -> int:
    """Train both ways on the same cohorts and print the difference with its standard error."""
    for larger in (False, True):
        cohorts = "larger tumours more often positive" if larger else "label and size apart"
        both = np.array(
            [
                [auc(seed, way, larger_are_positive=larger) for way in ("patient", "bag")]
                for seed in SEEDS
            ]
        )
        gain = both[:, 0] - both[:, 1]
        print(
            f"weight_by, {cohorts}: test AUC {both[:, 0].mean():.3f} by patient, "
            f"{both[:, 1].mean():.3f} by bag; difference {gain.mean():+.3f} (standard error "
            f"{gain.std(ddof=1) / np.sqrt(len(gain)):.3f}, {len(gain)} seeds, patient ahead in "
            f"{int((gain > 0).sum())})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
