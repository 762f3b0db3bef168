"""How far the patients of an external cohort lie from a model's training cohort in its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from axilla.analysis.intervals import clopper_pearson
from axilla.analysis.plots.distances import distance_bins, draw_distances
from axilla.analysis.plots.look import COLUMN_IN
from axilla.analysis.reference_distance import ReferenceDistance
from axilla.core.types import Estimate
from axilla.deploy.applying import Application
from axilla.mil.encoding import own_encoding
from axilla.study.evaluation_figures import Drawn
from axilla.study.reference import SEED, distance_of, patient_vector
from axilla.study.trained_encoders import encode_of

FAR = "0.95"
"""The quantile of the training cohort beyond which a patient is called far off."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureDistances:
    """Distances by patient, and what they are measured against."""

    by_patient: Mapping[str, float]
    reference: ReferenceDistance

    def far(self) -> Estimate:
        """Share of the patients beyond the training cohort's 0.95 quantile."""
        limit = self.reference.quantiles[FAR]
        beyond = sum(value > limit for value in self.by_patient.values())
        return clopper_pearson(beyond, len(self.by_patient))


def feature_distances(
    application: Application, patients: frozenset[str]
) -> FeatureDistances | None:
    """Distance of these patients' mean features from the training cohort.

    None where the model tells nothing of its training cohort's features (`lacking_reference`).
    """
    record, fitting = application.bundle.record, application.fitting
    reference = distance_of(record)
    if reference is None or fitting.slides is None:
        return None
    member = application.bundle.members[record["reference"]["member"] or 0]
    network = member.network
    encode = None
    if network is not None and network.encoder is not None:
        encode = encode_of(network, config=fitting.config.encoder) or own_encoding(network.encoder)
    found = {}
    for patient in application.cohort.patients:
        if patient.patient_id in patients:
            slides = [fitting.slides[slide.slide_id] for slide in patient.slides]
            vector = patient_vector(slides, seed=SEED, encode=encode)
            found[patient.patient_id] = reference.distance(vector)
    return FeatureDistances(found, reference)


def drawn_distances(found: FeatureDistances) -> Drawn:
    """The histogram, with counts by bin: no single patient's distance leaves with the figure."""
    values = np.array(list(found.by_patient.values()))
    figure = Figure(figsize=(1.25 * COLUMN_IN, 0.9 * COLUMN_IN), layout="constrained")
    draw_distances(figure.subplots(), values, found.reference.quantiles)
    counts, edges = np.histogram(values, bins=distance_bins(values, found.reference.quantiles))
    numbers = pd.DataFrame({"from": edges[:-1], "to": edges[1:], "patients": counts})
    return Drawn("feature_distance", figure, numbers)
