"""Distances of an external cohort's features: the study's own features, and who is called far."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from axilla.analysis.intervals import clopper_pearson
from axilla.analysis.reference_distance import fit_reference, project
from axilla.core import store
from axilla.core.cohort import read_cohort
from axilla.core.config import StudyConfig
from axilla.core.progress import Silent
from axilla.deploy.applying import apply_model, config_of
from axilla.deploy.feature_distance import FeatureDistances, drawn_distances, feature_distances
from axilla.study.bundles import read_bundle
from axilla.study.chain import StudyResult
from axilla.study.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_distances_are_of_each_patients_mean_features(
    trained: tuple[StudyConfig, StudyResult],
    elsewhere: Callable[..., StudyConfig],
    tmp_path: Path,
) -> None:
    study = elsewhere(encoder={"name": "small_cnn", "weights": trained[0].encoder.weights})
    bundle = read_bundle(Layout(trained[0].out).model("dl-cnb", "split"))
    assert bundle.network is not None
    length = bundle.network.features
    rows = np.random.default_rng(1).normal(0.3, 0.2, (60, length))
    reference = fit_reference(project(rows, seed=8888), features=length, seed=8888)
    told = {"member": None, "distance": reference.to_json()}
    bundle = replace(bundle, record={**bundle.record, "reference": told})
    config = config_of(bundle.record, base=study, encoder_weights=None, out=tmp_path / "out")
    application = apply_model(bundle, read_cohort(config).cohort, config=config, reporter=Silent())
    some = frozenset(p.patient_id for p in application.cohort.patients[:3])
    found = feature_distances(application, some)
    assert found is not None
    assert set(found.by_patient) == some, "of nobody else"
    for patient in some:
        path = Layout(config.out).features("small_cnn", patient)
        mean = store.read_features(path).features.astype(np.float64).mean(axis=0)
        assert found.by_patient[patient] == pytest.approx(reference.distance(mean), rel=1e-9)
    silent = replace(bundle, record={**bundle.record, "reference": None})
    assert feature_distances(replace(application, bundle=silent), some) is None


def test_the_share_beyond_and_the_histogram_hold_nobodys_distance() -> None:
    reference = fit_reference(np.random.default_rng(2).normal(size=(80, 8)), features=8, seed=1)
    limit = reference.quantiles["0.95"]
    values = {f"P{n}": limit * (1.5 if n < 6 else 0.5) + n / 1e4 for n in range(40)}
    found = FeatureDistances(values, reference)
    assert found.far() == clopper_pearson(6, 40)
    drawn = drawn_distances(found)
    assert drawn.numbers is not None
    assert list(drawn.numbers.columns) == ["from", "to", "patients"]
    assert drawn.numbers["patients"].sum() == 40
    assert drawn.numbers["to"].iloc[-1] > max(values.values())
