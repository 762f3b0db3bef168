from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from axilla.core.config import Clinical
from axilla.core.errors import StoreError
from axilla.core.store import StoredModel, read_model, write_model
from axilla.mil.boosting import BoostingModel, export_trees, fit_boosting, make_boosting
from axilla.mil.bundle import Bundle, from_stored, to_stored
from axilla.mil.clinical import fit_preprocessor

COLUMNS = Clinical(numeric=("age", "size"), categorical=("er",))


@pytest.fixture
def people(patient):
    """Patients of K classes; who has both a great age and a great size is of a class of its own."""

    def make(n: int, classes: int = 2, seed: int = 0):
        rng = np.random.default_rng(seed)
        found = []
        for i in range(n):
            age, size = rng.normal(50, 10), rng.exponential(2)
            label = int((age > 50) and (size > 1.5)) if rng.random() < 0.9 else 0
            found.append(
                patient(
                    str(i), label=label if classes == 2 else (label + i % 2) % classes, age=age,
                    size=size, er=("negative", "positive")[int(rng.integers(2))],
                )
            )  # fmt: skip
        return found

    return make


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(people, classes):
    patients = people(200, classes)
    model = fit_boosting(patients[:150], classes=classes, config=COLUMNS, seed=5)
    x = fit_preprocessor(patients[:150], config=COLUMNS).transform(patients)
    y = [p.label for p in patients[:150]]
    assert set(y) == set(range(classes))
    peer = make_boosting(150, seed=5).fit(x[:150], y)
    found = model.predict(patients)
    np.testing.assert_allclose(found, peer.predict_proba(x), rtol=0, atol=1e-12)
    assert np.ptp(found[:, 1]) > 0.2
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("depth", [1, 5, None])
def test_trees_of_any_depth_agree_with_scikit_learn(depth):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 4))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    peer = GradientBoostingClassifier(n_estimators=20, max_depth=depth, random_state=0).fit(x, y)
    trees = export_trees(peer, base=np.log([1 - y.mean(), y.mean()]))
    trees.check(width=4, classes=2)
    # On the thresholds themselves, where one bit more or less sends a value the other way.
    edges = np.tile(trees.threshold[trees.feature >= 0][:50, None], (1, 4))
    for points in (x, edges, edges.astype(np.float32).astype(float), np.zeros((0, 4))):
        scores = trees.scores(points)
        expected = peer.decision_function(points) if len(points) else np.zeros(0)
        np.testing.assert_allclose(scores[:, 1] - scores[:, 0], expected, rtol=0, atol=1e-12)


def test_one_seed_gives_one_model(people):
    patients = people(80)
    first, again, other = (
        fit_boosting(patients, classes=2, config=COLUMNS, seed=seed).predict(patients)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_missing_values_come_from_the_preprocessor(people, patient):
    config = COLUMNS.model_copy(update={"missing": "impute"})
    patients = people(80)
    gaps = [patient(p.patient_id, p.label, **{**p.clinical, "size": None}) for p in patients[:20]]
    model = fit_boosting([*gaps, *patients[20:]], classes=2, config=config, seed=1)
    assert model.preprocessor.names[-1] == "size_missing"
    assert np.isfinite(model.predict(gaps)).all()


def test_a_class_without_training_patients_gets_no_probability(people):
    patients = people(60)
    model = fit_boosting(patients, classes=3, config=COLUMNS, seed=1)
    found = model.predict(patients)
    assert found.shape == (60, 3)
    assert found[:, 2].max() < 1e-9
    two = fit_boosting(patients, classes=2, config=COLUMNS, seed=1).predict(patients)
    np.testing.assert_allclose(found[:, :2], two, atol=1e-9)


def bundle_of(model: BoostingModel) -> Bundle:
    record = {
        "endpoint": "n0-vs-npos", "members": [{"key": "k", "seed": 1}],
        "threshold": {"rule": 0.5, "value": 0.5}, "versions": {"axilla": "0"},
    }  # fmt: skip
    return Bundle.single("clinical-boosting", ("N0", "N(+)"), record, clinical_model=model)


@pytest.fixture
def stored(people):
    model = fit_boosting(people(60), classes=2, config=COLUMNS, seed=1)
    return to_stored(bundle_of(model))


def test_the_bundle_comes_back_without_a_pickle(people, tmp_path: Path):
    patients = people(60)
    model = fit_boosting(patients, classes=2, config=COLUMNS, seed=1)
    write_model(tmp_path, to_stored(bundle_of(model)), key="k")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    back = from_stored(read_model(tmp_path), make_encoder=pytest.fail)
    np.testing.assert_array_equal(back.clinical_model.predict(patients), model.predict(patients))
    assert back.clinical_model.preprocessor == model.preprocessor
    assert back.record["architecture"] == {"kind": "boosting"}


def _set(name: str, index: int, value: float):
    def change(tensors):
        tensors[name] = tensors[name].copy()
        tensors[name][index] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("value"),
        lambda t: t.update(value=t["value"].astype(np.float32)),
        lambda t: t.update(value=t["value"][:-1]),
        lambda t: t.update(base=t["base"][:1]),
        lambda t: t.update(roots=t["roots"][None]),
        _set("left", 0, 0),  # a path that never ends
        _set("right", 0, 10_000_000),
        _set("feature", 0, 99),
        _set("feature", 0, -2),
        _set("tree_class", 0, 2),
        _set("roots", 0, -1),
        _set("value", 0, np.nan),
    ],
    ids=[
        "missing", "dtype", "length", "classes", "shape", "circle", "outside", "column",
        "negative", "class", "root", "nan",
    ],
)  # fmt: skip
def test_arrays_that_are_no_trees_are_refused(stored, change):
    tensors = dict(stored.tensors)
    change(tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(StoreError, match="does not describe its weights"):
            from_stored(
                StoredModel(tensors=tensors, record=stored.record), make_encoder=pytest.fail
            )


def test_trees_are_checked_against_the_vector(stored):
    whole = from_stored(stored, make_encoder=pytest.fail).clinical_model
    with pytest.raises(ValueError, match="no trees over the clinical vector"):
        BoostingModel.from_tensors(stored.tensors, preprocessor=whole.preprocessor, classes=3)
