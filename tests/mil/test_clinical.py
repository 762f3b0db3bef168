from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from axilla.core.cohort import read_cohort
from axilla.core.config import Clinical, StudyConfig
from axilla.core.errors import CohortError, StoreError
from axilla.core.split import make_partitions
from axilla.mil.clinical import Filled, Preprocessor, fit_logistic, fit_preprocessor

COLUMNS = Clinical(numeric=("age", "size"), categorical=("er",))
IMPUTED = COLUMNS.model_copy(update={"missing": "impute"})


@pytest.fixture
def three(patient):
    return [
        patient("a", age=40.0, size=1.0, er="positive"),
        patient("b", age=50.0, size=2.0, er="negative"),
        patient("c", age=60.0, size=6.0, er="positive"),
    ]


def test_mean_and_sd_are_those_of_the_patients_it_was_fitted_on(three, patient):
    fitted = fit_preprocessor(three, config=COLUMNS)
    assert fitted.means == (50.0, 3.0)
    assert fitted.sds == (np.std([40, 50, 60]), np.std([1, 2, 6]))
    assert fitted.names == ("age", "size", "er=negative", "er=positive")
    assert fitted.width == 4
    other = patient("d", age=70.0, size=3.0, er="negative")
    np.testing.assert_allclose(
        fitted.transform([*three, other]),
        [
            [-10 / np.std([40, 50, 60]), -2 / np.std([1, 2, 6]), 0, 1],
            [0, -1 / np.std([1, 2, 6]), 1, 0],
            [10 / np.std([40, 50, 60]), 3 / np.std([1, 2, 6]), 0, 1],
            [20 / np.std([40, 50, 60]), 0, 1, 0],
        ],
    )


def test_json_round_trip_is_exact(patient):
    rng = np.random.default_rng(0)
    patients = [patient(str(i), age=rng.normal(), size=rng.normal()) for i in range(9)]
    fitted = fit_preprocessor(patients, config=COLUMNS)
    assert Preprocessor.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_an_unseen_category_is_an_error(three, patient):
    fitted = fit_preprocessor(three, config=COLUMNS)
    with pytest.raises(CohortError) as caught:
        fitted.transform([patient("z", er="unknown")])
    assert caught.value.problem.patient == "z"
    assert caught.value.problem.cause == (
        "`er` is 'unknown', which no training patient had (negative, positive)."
    )


@pytest.mark.parametrize("column", ["age", "er"])
def test_a_missing_value_is_refused(three, patient, column):
    fitted = fit_preprocessor(three, config=COLUMNS)
    with pytest.raises(CohortError, match=f"patient z: `{column}` is missing"):
        fitted.transform([patient("z", **{column: None})])


def test_a_missing_value_is_imputed_by_mean_and_mode_of_training(three, patient):
    gaps = [*three, patient("g", age=None, er=None)]
    fitted = fit_preprocessor(gaps, config=IMPUTED)
    assert fitted.means[0] == 50.0
    assert fitted.modes == ("positive",)
    assert fitted.flags == ("age", "er")
    assert fitted.names[-3:] == ("er=positive", "age_missing", "er_missing")
    assert fitted.width == 6
    # Nobody in training lacked the size: it is imputed, and no entry of the vector tells of it.
    missing = patient("z", age=None, size=None, er=None)
    whole = patient("y", age=50.0, size=2.75, er="negative")
    np.testing.assert_allclose(
        fitted.transform([missing, whole]), [[0, 0, 0, 1, 1, 1], [0, 0, 1, 0, 0, 0]]
    )
    assert fitted.filled([missing, whole]) == (
        Filled("z", "age", None, flagged=True),
        Filled("z", "size", None, flagged=False),
        Filled("z", "er", None, flagged=True),
    )


def test_complete_data_have_no_flags_under_either_policy(three):
    refusing, imputing = (fit_preprocessor(three, config=c) for c in (COLUMNS, IMPUTED))
    assert imputing.flags == ()
    np.testing.assert_array_equal(refusing.transform(three), imputing.transform(three))


def test_an_unseen_category_as_unknown_is_none_of_the_known(three, patient):
    fitted = fit_preprocessor(three, config=COLUMNS.model_copy(update={"unseen": "unknown"}))
    stranger = patient("z", age=50.0, size=3.0, er="equivocal")
    np.testing.assert_array_equal(fitted.transform([stranger]), [[0, 0, 0, 0]])
    assert fitted.filled([*three, stranger]) == (Filled("z", "er", "equivocal", flagged=False),)


def test_the_training_range_is_kept_of_groups_only(three, patient):
    assert fit_preprocessor(three, config=COLUMNS).ranges == (None, None)
    many = [patient(str(i), age=float(i), size=float(i % 2)) for i in range(101)]
    gaps = [patient(f"g{i}", age=None, size=1.0) for i in range(5)]
    declared = Clinical.model_validate(
        {
            "numeric": [{"name": "age", "unit": "years"}, "size"],
            "categorical": ["er"],
            "missing": "impute",
        }
    )
    fitted = fit_preprocessor([*many, *gaps], config=declared)
    # The means of 0 to 9 and of 91 to 100: no figure of a single patient.
    assert fitted.ranges == ((4.5, 95.5), (0.0, 1.0))
    assert fitted.units == ("years", None)
    assert fitted.out_of_range(patient("z", age=95.5, size=0.5)) == ()
    assert fitted.out_of_range(patient("z", age=None, size=None)) == ()
    little = "so the model knows little of such patients."
    ends = "the lowest and the highest ten training patients are at"
    assert fitted.out_of_range(patient("z", age=120.0, size=2.0)) == (
        f"`age` is 120 years; {ends} 4.5 to 95.5 years, {little}",
        f"`size` is 2; {ends} 0 to 1, {little}",
    )
    unknown = [patient(f"h{i}", age=None, size=1.0) for i in range(50)]
    for known in (9, 10, 29, 30):
        some = fit_preprocessor([*many[:known], *unknown], config=declared)
        assert some.ranges[0] == (None if known < 30 else (4.5, 24.5))


VERSION_1 = {
    "numeric": ["age", "size"], "means": [50.0, 3.0], "sds": [10.0, 2.0],
    "categorical": ["er"], "categories": [["negative", "positive"]], "modes": ["positive"],
    "missing": "impute",
}  # fmt: skip


def test_a_preprocessor_of_an_older_bundle_does_what_it_did(patient):
    fitted = Preprocessor.from_json(VERSION_1)
    assert fitted.names == ("age", "size", "er=negative", "er=positive")
    rows = fitted.transform([patient("a", age=60.0, size=1.0), patient("b", age=None, er=None)])
    np.testing.assert_allclose(rows, [[1, -1, 0, 1], [0, -0.5, 0, 1]])
    with pytest.raises(CohortError, match="which no training patient had"):
        fitted.transform([patient("c", er="equivocal")])
    assert fitted.out_of_range(patient("a", age=500.0)) == ()
    assert Preprocessor.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_ranges_of_an_older_bundle_are_told_as_the_centiles_that_they_are(patient):
    older = VERSION_1 | {"version": 2, "ranges": [[31.0, 78.0], None], "units": ["years", None]}
    fitted = Preprocessor.from_json(older)
    (told,) = fitted.out_of_range(patient("z", age=120.0))
    assert told == (
        "`age` is 120 years; 98% of the training patients have 31 to 78 years, so the model knows "
        "little of such patients."
    )
    again = Preprocessor.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted, "written again, they are still told as such"
    assert not Preprocessor.is_current(again.to_json())


def test_a_preprocessor_of_a_newer_axilla_is_refused():
    with pytest.raises(StoreError, match=r"is of version 9; .* up to 3\. Update axilla"):
        Preprocessor.from_json({**VERSION_1, "version": 9})


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"age": 0.1}, "`age` does not vary among the training patients."),
        ({"age": None}, "`age` does not vary among the training patients."),
        ({"er": None}, "`er` is missing for every training patient."),
    ],
)
def test_a_column_that_tells_nothing(patient, changes, cause):
    # The mean of many 0.1 is not 0.1: a standard deviation of 1e-17 must not be divided by.
    patients = [patient(str(i), **{"age": float(i), "size": float(i), **changes}) for i in range(6)]
    with pytest.raises(CohortError) as caught:
        fit_preprocessor(patients, config=IMPUTED)
    assert caught.value.problem.cause == cause


def test_nobody_gives_no_rows(three):
    assert fit_preprocessor(three, config=COLUMNS).transform([]).shape == (0, 4)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_equals_scikit_learn(patient, classes):
    rng = np.random.default_rng(1)
    patients = [
        patient(
            str(i), label=i % classes, age=50 + 5 * (i % classes) + 10 * rng.normal(),
            size=rng.normal(), er=("positive", "negative")[int(rng.integers(2))],
        )
        for i in range(120)
    ]  # fmt: skip
    model = fit_logistic(patients[:90], classes=classes, config=COLUMNS)
    x = fit_preprocessor(patients[:90], config=COLUMNS).transform(patients)
    y = [p.label for p in patients[:90]]
    peer = LogisticRegression(max_iter=10_000, tol=1e-10).fit(x[:90], y)
    found = model.predict(patients)
    np.testing.assert_allclose(found, peer.predict_proba(x), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert model.weights.shape == (classes, 4)


@pytest.mark.real_data
def test_clinical_data_only_comes_out_as_in_the_paper(data_dir: Path):
    config = StudyConfig(
        cohort=data_dir / "bcnb" / "clinical.csv", endpoint="n0-vs-npos", methods=("clinical",),
        split={"column": "split"},
    )  # fmt: skip
    cohort = read_cohort(config).cohort
    (partition,) = make_partitions(cohort, config=config)
    members = {
        name: [p for p in cohort.patients if partition.cohort_of[p.patient_id] == name]
        for name in ("train", "val", "test")
    }
    assert {name: len(people) for name, people in members.items()} == {
        "train": 630, "val": 210, "test": 218,
    }  # fmt: skip
    model = fit_logistic(members["train"], classes=2, config=config.clinical)
    # Table 2 of the paper: 0.661 / 0.709 / 0.613.
    for name, published in (("train", 0.661), ("val", 0.709), ("test", 0.613)):
        scores = model.predict(members[name])[:, 1]
        auc = roc_auc_score([p.label for p in members[name]], scores)
        assert auc == pytest.approx(published, abs=0.012)
